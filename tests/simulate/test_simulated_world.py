from __future__ import annotations

import random
from collections import Counter

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from probes.reading import Device
from scheduler.core import high_water
from scheduler.core.actions import Action, Note, Settle, Start
from scheduler.core.core import Core
from scheduler.core.events import Event, Exited, Ruled, Sampled
from scheduler.core.model import Budget, Evidence, Rule, Run, Trial
from scheduler.loop import run
from scheduler.simulate import Card, Script, SimulatedWorld

GIB = 1 << 30


class Tape(Core):
    """A core that checks itself, and keeps what it took and said."""

    def __init__(self) -> None:
        super().__init__()
        self.events: list[Event] = []
        self.said: list[Action] = []

    def append(self, event: Event) -> None:
        self.events.append(event)

    def handle(self, event: Event) -> tuple[Action, ...]:
        actions = super().handle(event)
        self.check()
        self.said += actions
        return actions

    def changes(self) -> Counter[str]:
        return Counter(said.change.what for said in self.said if isinstance(said, Note))


def card(key: str = "0000:03:00.0", total: int = 16, reserve: int = 2, **more: object) -> Card:
    kind = more.pop("kind", "amd")
    device = Device(
        key=key, kind=kind, name=key, total_bytes=total * GIB, source="simulated", because=""
    )
    budget = Budget(
        device=device, reserve_bytes=reserve * GIB, promise_bytes=6 * GIB, max_attempts=None
    )
    return Card(budget=budget, **more)


def script(peak: float, run_s: float = 100, ramp_s: float = 20, **more: object) -> Script:
    return Script(peak_bytes=int(peak * GIB), ramp_s=ramp_s, run_s=run_s, **more)


def play(
    *scripts: Script, cards: tuple[Card, ...] = (), runs: tuple[Run, ...] = (Run(id="r"),), **more
) -> tuple[SimulatedWorld, Tape]:
    """All scripts offered at once, dealt to the runs in turn."""
    trials = [
        (Trial(run=runs[number % len(runs)].id, number=number), one)
        for number, one in enumerate(scripts)
    ]
    world = SimulatedWorld(cards=cards or (card(),), runs=runs, trials=trials, **more)
    tape = Tape()
    run(tape, world, tape)
    return world, tape


def settlements(tape: Tape) -> list[str]:
    return [said.settlement for said in tape.said if isinstance(said, Settle)]


def test_two_of_six_run_side_by_side_on_sixteen():
    world, tape = play(script(6), script(6), script(6), script(6))
    assert set(world.ended.values()) == {"done"}
    assert world.attempts == 4
    assert world.now_s == pytest.approx(200, abs=5)
    assert tape.changes() == {}


def test_a_cap_that_is_hit_is_an_overrun_and_comes_back_larger():
    _, tape = play(script(8))
    assert settlements(tape) == ["again", "done"]
    first, second = [said.attempt for said in tape.said if isinstance(said, Start)]
    assert first.promise_bytes == 6 * GIB
    assert second.promise_bytes == int(1.25 * first.cap_bytes)
    assert tape.changes() == {"promise": 1}


def test_a_trial_larger_than_the_card_ends_as_capacity_and_the_others_go_on():
    world, tape = play(script(20), script(3), script(3))
    assert Counter(world.ended.values()) == {"done": 2, "capacity": 1}
    assert settlements(tape).count("again") == 2  # with a larger promise, then alone


def test_uncapped_trials_that_outgrow_their_promises_come_back_and_end():
    world, tape = play(*[script(7.9)] * 6, runs=(Run(id="r", contain=False),), period_s=5.0)
    assert set(world.ended.values()) == {"done"}
    assert tape.changes()["promise"] > 0


def test_an_overflow_takes_the_one_that_grew():
    world, tape = play(
        script(15.5, ramp_s=50),
        script(5.9, ramp_s=1),
        runs=(Run(id="r", contain=False),),
        cards=(card(reserve=0),),
    )
    exits = [event for event in tape.events if isinstance(event, Exited)]
    assert exits[0].attempt == "r/0.1"
    assert set(world.ended.values()) == {"done"}


def test_strangers_that_come_get_their_memory_and_the_trials_end_when_they_have_gone():
    guests = card(strangers=((0, 1 * GIB), (50, 4 * GIB), (60, 11 * GIB), (600, 1 * GIB)))
    world, tape = play(*[script(6, run_s=200)] * 4, cards=(guests,))
    assert set(world.ended.values()) == {"done"}
    assert tape.changes()["stopped"] >= 1
    for event in tape.events:
        if isinstance(event, Sampled) and 70 < event.at_s < 600:
            assert event.readings[0].used_bytes <= 14 * GIB
    begun = [said.attempt.started_at_s for said in tape.said if isinstance(said, Start)]
    assert not [at_s for at_s in begun if 50 < at_s < 600]


@pytest.mark.parametrize("run_s", [5, 40])
@pytest.mark.parametrize("lag_s", [0.0, 0.7, 4.0])
def test_our_own_ends_make_nobody_wait_for_what_strangers_held_lately(monkeypatch, run_s, lag_s):
    """Memory that is freed late is nobody's for some readings. As many trials an hour as if only
    what strangers hold now was looked at."""
    some = [script(5.5, run_s=run_s + n % 7, ramp_s=n % 4) for n in range(60)]

    def took_s() -> float:
        world, _ = play(*some, cards=(card(lag_s=lag_s, strangers=((0, GIB),)),))
        assert set(world.ended.values()) == {"done"}
        return world.now_s

    lately_s = took_s()
    monkeypatch.setattr(high_water, "HIGH_WATER_S", 0.0)
    assert lately_s == took_s()


@pytest.mark.parametrize(("lately_s", "stops"), [(30.0, False), (0.0, True)])
def test_nobody_is_stopped_for_strangers_that_only_breathe(monkeypatch, lately_s, stops):
    """Between 6 and 3.5 GiB every nine seconds. The second case is what it prevents."""
    monkeypatch.setattr(high_water, "HIGH_WATER_S", lately_s)
    breaths = tuple((9.0 * n, 6 * GIB if n % 2 == 0 else 7 * GIB // 2) for n in range(400))
    promise = Run(id="r", promise_bytes=5 * GIB)
    world, tape = play(
        *[script(4.9, run_s=60 + n, ramp_s=2) for n in range(10)],
        cards=(card(strangers=breaths),),
        runs=(promise,),
    )
    assert set(world.ended.values()) == {"done"}
    assert (tape.changes()["stopped"] > 0) is stops


def test_a_window_lets_fewer_run_and_what_it_stopped_ends_all_the_same():
    """Four at once, one at a time from 100 to 400 s."""
    few = Rule(source="window", max_attempts=1, stops=True, because="working hours")
    also = (Ruled(at_s=100.0, rules=(few,)), Ruled(at_s=400.0, rules=()))
    runs = (Run(id="r", promise_bytes=3 * GIB),)
    world, tape = play(*[script(2.9, run_s=150)] * 12, runs=runs, also=also)
    assert set(world.ended.values()) == {"done"}
    assert (tape.changes(), world.attempts) == ({"stopped": 3}, 15)
    begun = [said.attempt.started_at_s for said in tape.said if isinstance(said, Start)]
    assert len([at_s for at_s in begun if 100 <= at_s < 400]) == 2


def test_a_run_of_a_larger_priority_goes_first_and_the_other_ends_too():
    runs = (Run(id="low"), Run(id="high", priority=1))
    world, tape = play(*[script(5, run_s=50)] * 20, runs=runs)
    assert set(world.ended.values()) == {"done"}
    ends = [event.attempt.split("/")[0] for event in tape.events if isinstance(event, Exited)]
    assert ends == ["high"] * 10 + ["low"] * 10


def test_nothing_starts_while_a_card_is_silent():
    dumb = card(silent=((30, 300),))
    world, tape = play(*[script(6, run_s=60)] * 4, cards=(dumb,))
    begun = [said.attempt.started_at_s for said in tape.said if isinstance(said, Start)]
    assert not [at_s for at_s in begun if 30 <= at_s < 300]
    assert set(world.ended.values()) == {"done"}


@pytest.mark.parametrize("contain", [True, False])
def test_a_card_that_cannot_tell_processes_apart_is_used_all_the_same(contain):
    world, _ = play(
        *[script(5.5)] * 4,
        script(20),
        cards=(card(can_tell=False, strangers=((0, GIB),)),),
        runs=(Run(id="r", contain=contain),),
    )
    assert Counter(world.ended.values()) == {"done": 4, "capacity": 1}


def test_host_ram_is_a_device_like_any_other():
    world, _ = play(script(3), script(20), script(8), cards=(card("host", kind="host"),))
    assert Counter(world.ended.values()) == {"done": 2, "capacity": 1}


def test_the_larger_card_is_tried_before_a_trial_is_given_up():
    world, _ = play(script(18), *[script(2)] * 5, cards=(card("a"), card("b", total=24)))
    assert set(world.ended.values()) == {"done"}


def test_the_users_own_errors_are_final():
    raised = Evidence(outcome="failed", exit_code=1, exception=("ValueError",), message="no")
    world, _ = play(script(2, evidence=raised), script(2))
    assert set(world.ended.values()) == {"done"}
    assert world.attempts == 2


@pytest.mark.parametrize(("signal", "attempts"), [(11, 3), (9, 6)])
def test_an_end_that_nobody_explains_is_tried_some_times_more(signal, attempts):
    world, _ = play(script(2, evidence=Evidence(signal=signal)))
    assert world.ended == {("r", 0): "failed"}
    assert world.attempts == attempts


def test_the_same_world_gives_the_same_events():
    scripts = [script(1 + n % 9, run_s=50 + n) for n in range(30)]
    (_, first), (_, second) = play(*scripts), play(*scripts)
    assert first.events == second.events
    assert first.said == second.said


scripts = st.builds(
    Script,
    peak_bytes=st.integers(1, 20 * GIB),
    ramp_s=st.floats(0, 100),
    run_s=st.floats(0.1, 300),
    evidence=st.sampled_from(
        [Evidence(outcome="complete", exit_code=0)] * 8
        + [Evidence(signal=9), Evidence(signal=11), Evidence(exit_code=1)]
    ),
)
sizes = st.integers(0, 14).map(lambda size: size * GIB)
strangers = st.lists(st.tuples(st.floats(0, 500), sizes), max_size=4).map(
    lambda steps: (*sorted(steps), (600.0, GIB))
)
cards = st.builds(
    card,
    total=st.sampled_from([10, 16, 24]),
    strangers=strangers,
    silent=st.lists(st.floats(0, 500).map(lambda at_s: (at_s, at_s + 20)), max_size=2).map(tuple),
    can_tell=st.booleans(),
    lag_s=st.sampled_from([0.0, 3.0]),
)


rules = st.builds(
    Rule,
    source=st.just("window"),
    because=st.just("x"),
    device=st.sampled_from([None, "card0"]),
    run=st.sampled_from([None, "s"]),
    max_attempts=st.sampled_from([None, 0, 1, 2]),
    reserve_bytes=st.none() | sizes,
    stops=st.booleans(),
)
in_force = st.lists(st.tuples(st.floats(0, 600), st.lists(rules, max_size=3)), max_size=5).map(
    lambda sets: tuple(Ruled(at_s=at_s, rules=tuple(some)) for at_s, some in [*sets, (600.0, [])])
)


@settings(max_examples=40, deadline=None)
@given(
    st.lists(scripts, min_size=1, max_size=8),
    st.lists(cards, min_size=1, max_size=3),
    st.booleans(),
    st.sampled_from([2.0, 10.0]),
    in_force,
)
def test_every_trial_ends_in_one_outcome_and_the_journal_replays(
    scripts, cards, contain, period_s, in_force
):
    """However rules come and go, if they go at last."""
    named = tuple(
        msgspec.structs.replace(
            one,
            budget=msgspec.structs.replace(
                one.budget, device=msgspec.structs.replace(one.budget.device, key=f"card{number}")
            ),
        )
        for number, one in enumerate(cards)
    )
    runs = (Run(id="r", contain=contain), Run(id="s", contain=contain, max_attempts=1))
    world, tape = play(
        *scripts, cards=named, runs=runs, also=in_force, period_s=period_s, until_s=1e5
    )
    assert len(world.ended) == len(scripts), tape.view()
    again = Core()
    lines = [msgspec.json.encode(event) for event in tape.events]
    said = [a for line in lines for a in again.handle(msgspec.json.decode(line, type=Event))]
    assert said == tape.said


class Quiet(Core):
    """As fast as the core is."""

    def append(self, event: Event) -> None:
        pass


def test_a_thousand_trials_all_end():
    rng = random.Random(1)
    trials = [
        (
            Trial(run="r", number=number),
            script(rng.uniform(1, 10), run_s=rng.uniform(60, 600), ramp_s=rng.uniform(5, 60)),
        )
        for number in range(1000)
    ]
    world = SimulatedWorld(
        cards=(card(total=24),), runs=(Run(id="r"),), trials=trials, period_s=10.0
    )
    core = Quiet()
    run(core, world, core)
    assert Counter(world.ended.values()) == {"done": 1000}
