"""A host on the virtual clock: the real forecasts, the real candidates, the real core."""

from __future__ import annotations

import random
from collections import Counter
from itertools import count

import pytest

from scheduler.core.actions import Refuse, Settle, Start
from scheduler.core.core import Core
from scheduler.core.events import Offered
from scheduler.core.forecast.observation import Observation
from scheduler.simulate.outcome import play
from scheduler.simulate.workload import CardSpec, Drawn, Job, Workload

GIB = 1 << 30
CARD = CardSpec(total_bytes=16 * GIB, reserve_bytes=GIB, promise_bytes=6 * GIB)
SMALL = Workload(
    cards=(CARD,),
    drawn=Drawn(count=16, peak_bytes=(2 * GIB, int(2.2 * GIB)), duration_s=(100, 120)),
)


class Tape(Core):
    def __init__(self) -> None:
        super().__init__()
        self.events, self.said = [], []

    def handle(self, event):
        self.events.append(event)
        actions = super().handle(event)
        self.said += actions
        return actions


def played(workload: Workload, n_trials: int | None = None, **more):
    jobs = iter(workload.jobs(1000, seed=1))
    cards = [card.card(number) for number, card in enumerate(workload.cards)]
    wanted = workload.n_trials if n_trials is None else n_trials
    return play(cards, workload.run(), lambda: next(jobs), wanted, **more)


def test_what_trials_held_is_learned_and_more_run_at_once():
    learned, fixed = played(SMALL), played(SMALL, forecasts=False)
    assert (learned.done, fixed.done) == (16, 16)
    assert learned.spans[-1].promise_bytes < 3 * GIB
    assert {span.promise_bytes for span in fixed.spans} == {6 * GIB}
    assert learned.makespan_s < fixed.makespan_s
    assert learned.held_share() > fixed.held_share()


def test_exactly_as_many_begin_as_were_asked_for():
    tape = Tape()
    outcome = played(SMALL, 7, brain=tape)
    assert [one.number for one in outcome.trials] == list(range(7))
    assert outcome.lost == 0
    assert len({said.attempt.trial.number for said in tape.said if isinstance(said, Start)}) == 7


def test_one_that_is_too_big_is_told_and_the_others_end():
    jobs = [Job(peak_bytes=(40 if n == 3 else 2) * GIB, duration_s=50, ramp_s=20) for n in range(8)]
    became = []
    outcome = played(
        Workload(cards=(CARD,), trials=tuple(jobs)),
        tell=lambda job, how: became.append((job.peak_bytes // GIB, how)),
    )
    assert Counter(how for _, how in became) == {"done": 7, "capacity": 1}
    assert (40, "capacity") in became
    assert outcome.ran_out() >= 1
    assert outcome.redone_share() > 0


def test_a_trial_that_comes_back_counts_once_and_what_it_lost_is_known():
    """7 GiB under a promise of 6: it runs into its cap, half a GiB above, and again with more."""
    one = Workload(cards=(CARD,), trials=(Job(peak_bytes=7 * GIB, duration_s=100, ramp_s=70),))
    outcome = played(one)
    (trial,) = outcome.trials
    assert (trial.attempts, trial.ran_out, trial.settlement) == (2, 1, "done")
    first, second = outcome.spans
    assert first.lost_s() == pytest.approx(65.0)
    assert second.lost_s() == 0
    assert outcome.redone_share() == pytest.approx(65 / 165)
    assert outcome.ran_out_share() == 0.5
    assert outcome.ran_out(after=1) == 0


def test_what_waits_is_offered_anew_once_more_is_known():
    tape = Tape()
    played(SMALL, brain=tape)
    wishes = [event.trial.want_bytes for event in tape.events if isinstance(event, Offered)]
    assert wishes[0] is None
    assert wishes[-1] is not None
    assert wishes[-1] < 3 * GIB


def test_who_comes_back_is_offered_what_was_learned_since():
    """All need 3 GiB; the large trial that came back with 1.25 times its cap waits for them."""
    tape = Tape()
    jobs = [Job(peak_bytes=GIB * size, duration_s=100, ramp_s=10) for size in (9, 3, 3, 3)]
    played(Workload(cards=(CARD,), trials=tuple(jobs), promise_bytes=2 * GIB), brain=tape)
    offers = [event.trial for event in tape.events if isinstance(event, Offered)]
    back = [(one.number, one.overruns, one.want_bytes) for one in offers if one.overruns]
    renewed = [one for n, one in enumerate(back) if n and one[:2] in [it[:2] for it in back[:n]]]
    assert renewed


def test_refused_ones_are_answered_and_the_next_is_drawn():
    """Another brain on the same world: it refuses each even trial, and runs the others. Memory is
    known to follow a parameter, so trials are asked before they are offered."""
    core, numbers = Tape(), count(1)

    class Picky:
        def handle(self, event):
            if isinstance(event, Offered) and event.trial.number % 2 == 0:
                run, trial = event.trial.run, event.trial.number
                return (Refuse(run=run, trial=trial, want_bytes=1, most_bytes=0, because=""),)
            return core.handle(event)

    def job(n: int) -> Job:
        return Job(peak_bytes=n % 16 * GIB // 8 + GIB, duration_s=10, params={"n": n % 16})

    became = []
    outcome = play(
        [CARD.card(0)],
        SMALL.run(),
        lambda: job(next(numbers)),
        4,
        brain=Picky(),
        tell=lambda job, how: became.append(how),
        known=[Observation(params=job(n).params, bytes=job(n).peak_bytes) for n in range(48)],
    )
    assert [one.number for one in outcome.trials] == [1, 3, 5, 7]
    assert outcome.refused[:4] == (0, 2, 4, 6)
    assert Counter(became) == {"done": 4, "refused": len(outcome.refused)}
    assert outcome.unfinished == 0


def test_what_only_its_margin_makes_too_big_runs_beside_others():
    """3 GiB, and every eighth needs twice what its parameter says: 8.5 GiB are wanted of 8 for some
    that need half of it. Alone they would hold up all the others."""
    chance, tape = random.Random(1), Tape()

    def job() -> Job:
        x, unlucky = chance.random(), 2 if chance.random() < 0.125 else 1
        size = (2 + 2.2 * x) * unlucky * chance.gauss(1, 0.01)
        return Job(peak_bytes=int(min(size, 8) * GIB), duration_s=100, ramp_s=10, params={"x": x})

    card = CardSpec(total_bytes=9 * GIB, reserve_bytes=GIB, promise_bytes=4 * GIB)
    known = [
        Observation(params=one.params, bytes=one.peak_bytes) for one in (job() for _ in range(60))
    ]
    play([card.card(0)], SMALL.run(), job, 40, brain=tape, known=known)
    refused = {one.trial for one in tape.said if isinstance(one, Refuse)}
    first = [
        one.attempt
        for one in tape.said
        if isinstance(one, Start) and not one.attempt.trial.attempts
    ]
    assert refused
    assert not any(one.alone for one in first)
    assert refused & {one.trial.number for one in first}


def test_the_devices_memory_adds_up():
    outcome = played(SMALL, traced=True)
    trace = outcome.traces["card0"]
    held = sum(one.peak_bytes * (one.ended_s - one.began_s) for one in outcome.spans)
    assert 0.7 * held < trace.held_byte_s <= held
    assert trace.attempt_s == pytest.approx(sum(s.ended_s - s.began_s for s in outcome.spans))
    assert outcome.at_once() == pytest.approx(trace.attempt_s / outcome.makespan_s)
    assert all(sum(one.held_bytes.values()) <= 16 * GIB for one in trace.moments)


def test_the_same_seed_gives_the_same_outcome():
    first, second = Tape(), Tape()
    played(SMALL, brain=first)
    played(SMALL, brain=second)
    assert first.said == second.said
    assert [one for one in first.said if isinstance(one, Settle)]
