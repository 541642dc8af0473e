"""Attempts that share a device: how fast each gets on, and that no work is made or lost."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from probes.reading import Device
from scheduler import loop
from scheduler.core.core import Core
from scheduler.core.events import Progressed, Ruled, Saved
from scheduler.core.model import Budget, Rule, Run, Trial
from scheduler.simulate import Card, Script, SimulatedWorld
from scheduler.simulate.contention import by_count, fitted, taking_turns, unhindered

GIB = 1 << 30


def card(total: int = 64) -> Card:
    device = Device(
        key="card", kind="amd", name="card", total_bytes=total * GIB, source="", because=""
    )
    budget = Budget(device=device, reserve_bytes=0, promise_bytes=GIB, max_attempts=None)
    return Card(budget=budget)


class Tape(Core):
    def __init__(self) -> None:
        super().__init__()
        self.events = []

    def append(self, event) -> None:
        self.events.append(event)


def play(*scripts: Script, run: Run | None = None, **more) -> tuple[SimulatedWorld, Tape]:
    trials = [(Trial(run="r", number=number), one) for number, one in enumerate(scripts)]
    world = SimulatedWorld(cards=[card()], runs=[run or Run(id="r")], trials=trials, **more)
    tape = Tape()
    loop.run(tape, world, tape)
    return world, tape


def script(run_s: float, use: float = 0.5, **more) -> Script:
    return Script(peak_bytes=GIB // 2, ramp_s=1.0, run_s=run_s, use=use, **more)


def test_a_pair_is_as_it_was_measured_and_one_is_alone():
    assert [fitted(2, use) for use in (0.2, 0.6, 1.1, 2.0)] == pytest.approx([2, 2, 1.8, 1.44])
    assert fitted(1, 1.0) == 1.0
    assert fitted(0, 0.0) == 0.0


def test_a_third_can_lower_the_total_and_turns_can_always_be_taken():
    totals = [fitted(count, float(count)) for count in range(1, 9)]
    assert totals[:4] == pytest.approx([1, 1.44, 1.32, 1.0])
    assert min(totals) == 1.0


def test_two_trials_by_hand():
    """150 s and 60 s of work, together 1.5 times what one does: each at 0.75. The short one is
    done at 60 / 0.75 = 80 s; the long one has 150 - 60 = 90 s left, and does them alone."""
    world, _ = play(script(150), script(60), contention=by_count(1.0, 1.5))
    ends = {span.trial: span.ended_s for span in world.spans}
    assert ends == pytest.approx({0: 170.0, 1: 80.0})


@pytest.mark.parametrize(
    ("contention", "took_s"), [(unhindered, 100.0), (taking_turns, 300.0), (fitted, 100 * 3 / 2.4)]
)
def test_three_alike(contention, took_s):
    world, _ = play(*[script(100, use=0.55)] * 3, contention=contention)
    assert world.now_s == pytest.approx(took_s)


lengths = st.lists(st.tuples(st.floats(1, 300), st.floats(0, 1)), min_size=1, max_size=6)


@settings(max_examples=40, deadline=None)
@given(lengths, st.sampled_from([fitted, taking_turns, unhindered]), st.integers(1, 4))
def test_work_adds_up(lengths, contention, at_once):
    """What all have done is what was asked, and what the totals over time come to."""
    run = Run(id="r", max_attempts=at_once)
    world, _ = play(*[script(*one) for one in lengths], run=run, contention=contention)
    assert sum(span.work_s for span in world.spans) == pytest.approx(sum(s for s, _ in lengths))
    uses = {number: use for number, (_, use) in enumerate(lengths)}
    edges = sorted({edge for span in world.spans for edge in (span.began_s, span.ended_s)})
    done = 0.0
    for from_s, to_s in pairwise(edges):
        there = [uses[one.trial] for one in world.spans if one.began_s <= from_s < one.ended_s]
        done += (to_s - from_s) * contention(len(there), sum(there))
    assert done == pytest.approx(sum(s for s, _ in lengths), rel=1e-6)


def test_memory_follows_work_and_is_seen_by_polls():
    """With two at once at half speed, the peak comes at 200 s."""
    late = Script(
        peak_bytes=GIB, ramp_s=0, run_s=110, curve=((0.0, 1), (100.0, 1), (100.0, GIB)), use=1.0
    )
    _, tape = play(late, late, contention=taking_turns)
    seen = [
        event.at_s
        for event in tape.events
        if getattr(event, "readings", None) and (event.readings[0].used_bytes or 0) >= GIB
    ]
    assert seen[0] == pytest.approx(200, abs=1)


def test_reports_are_told_as_they_come_and_a_checkpoint_is_where_the_next_attempt_goes_on():
    """100 s of work in 50 reports, saved every 30 s, stopped after 50 s and let go on at 60."""
    nothing = Rule(source="you", max_attempts=0, stops=True, because="a game")
    also = (Ruled(at_s=50.0, rules=(nothing,)), Ruled(at_s=60.0, rules=()))
    world, tape = play(script(100, steps=50, saves_every_s=30.0), also=also, progress_s=5.0)
    told = [event.reports for event in tape.events if isinstance(event, Progressed)]
    assert told[:3] == [2, 5, 7]
    assert told[-1] > 45
    saved_s = [event.saved_at_s for event in tape.events if isinstance(event, Saved)]
    assert saved_s == pytest.approx([30, 90, 120], abs=5)
    first, second = world.spans
    assert (first.how, second.how) == ("stopped", "finished")
    assert (first.work_s, first.kept_work_s, second.work_s) == pytest.approx((50, 30, 70))
    assert first.lost_s() == pytest.approx(20)


def test_polls_that_would_see_nothing_new_change_nothing():
    some = [script(250 + 7 * n, curve=((0.0, 1), (20.0, GIB), (40.0, GIB // 3))) for n in range(9)]
    run = Run(id="r", max_attempts=3)
    every, _ = play(*some, run=run, contention=fitted)
    fewer, _ = play(*some, run=run, contention=fitted, calm_s=15.0)
    assert fewer.events < every.events / 2
    for one, other in zip(every.spans, fewer.spans, strict=True):
        assert (one.trial, one.how) == (other.trial, other.how)
        assert other.ended_s <= one.ended_s


def test_a_spike_between_two_polls_overflows_the_card():
    """Half a second at 40 GiB, twice at the same moment on 64 GiB."""
    points = ((0.0, GIB), (10.2, GIB), (10.2, 40 * GIB), (10.7, 40 * GIB), (10.7, GIB))
    spiky = Script(peak_bytes=40 * GIB, ramp_s=0, run_s=20, curve=points)
    world, _ = play(spiky, spiky, run=Run(id="r", contain=False), period_s=5.0)
    assert [one.at_s for one in world.overflows] == pytest.approx([10.2], abs=1e-3)
    assert [span.how for span in world.spans].count("out of memory") == 1
    assert set(world.ended.values()) == {"done"}
