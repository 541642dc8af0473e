"""What holds of promises that follow, for attempts of any shape, on the virtual clock."""

from __future__ import annotations

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st
from scene import (
    CRASHED,
    DONE,
    GIB,
    MIB,
    OOM,
    STOPPED,
    CheckedCore,
    Scene,
    assert_replays,
    budget,
    starts,
)

from scheduler import loop
from scheduler.core.actions import Action, Stop
from scheduler.core.core import Core
from scheduler.core.events import Event, Progressed, Sampled
from scheduler.core.model import Run, Trial
from scheduler.simulate import Card, Script, SimulatedWorld

RESERVE = 2 * GIB


class Nowhere:
    def append(self, event: Event) -> None: ...


class Watched(Core):
    """Promises never exceed the device; ``least`` is the smallest that was ever set aside for a
    trial."""

    def __init__(self) -> None:
        super().__init__()
        self.least: dict[int, int] = {}

    def handle(self, event: Event) -> tuple[Action, ...]:
        actions = super().handle(event)
        if isinstance(event, Sampled):
            for device in self.view().devices:
                assert device.promised_bytes <= 16 * GIB - RESERVE
                for one in device.attempts:
                    number = one.attempt.trial.number
                    so_far = self.least.get(number, one.promise_bytes)
                    self.least[number] = min(so_far, one.promise_bytes)
        return actions


def played(scripts: list[Script]) -> tuple[SimulatedWorld, Watched]:
    world = SimulatedWorld(
        cards=[Card(budget=budget(reserve=RESERVE, promise=6 * GIB))],
        runs=[Run(id="r")],
        trials=[(Trial(run="r", number=n), one) for n, one in enumerate(scripts)],
        calm_s=15.0,
        progress_s=5.0,
    )
    core = Watched()
    loop.run(core, world, Nowhere())
    return world, core


def script(peak: int, run_s: float, curve: list[tuple[float, float]], steps: int) -> Script:
    """*curve*: shares of its time and of its peak."""
    points = tuple((at * run_s, int(part * peak)) for at, part in curve)
    return Script(peak_bytes=peak, ramp_s=0.0, run_s=run_s, curve=points, steps=steps)


SHARES = st.lists(st.tuples(st.floats(0.01, 1), st.floats(0.1, 1)), min_size=1, max_size=4)
PEAKS = st.lists(st.integers(300 * MIB, 6 * GIB), min_size=11, max_size=13)


@settings(max_examples=10, deadline=None)
@given(SHARES, PEAKS, st.floats(60, 200), st.integers(0, 20))
def test_of_trials_with_curves_of_one_shape_none_is_ever_short_of_memory(
    shares, peaks, run_s, steps
):
    """Whatever that shape, and whatever their sizes: also on the card that is packed by it."""
    curve = sorted((at, part) for at, part in shares)
    top = max(part for _, part in curve)
    curve = [(0.0, 0.05), *((at, part / top) for at, part in curve)]
    world, _ = played([script(peak, run_s, curve, steps) for peak in peaks])
    assert {span.how for span in world.spans} == {"finished"}
    assert len(world.spans) == len(peaks)


@settings(max_examples=10, deadline=None)
@given(
    st.lists(st.tuples(st.integers(GIB, 6 * GIB), st.floats(60, 240)), min_size=12, max_size=14),
    st.floats(0.3, 0.9),
    st.floats(0.82, 0.98),
    st.integers(0, 20),
)
def test_no_promise_ever_goes_under_a_spike_that_comes_at_the_end_of_each(sizes, before, at, steps):
    """Also where one takes four times as long as another."""
    curve = [(0.0, 0.0), (0.05, before), (at, before), (at, 1.0), (1.0, 1.0)]
    world, core = played([script(peak, run_s, curve, steps) for peak, run_s in sizes])
    assert {span.how for span in world.spans} == {"finished"}
    for number, least in core.least.items():
        assert least >= min(sizes[number][0], 6 * GIB)


def test_where_promises_follow_more_run_at_once():
    """3 GiB of 6 promised: without it two at a time for 50 minutes, with it three after the first
    eight; the one that starts needs 6."""
    flat = [script(3 * GIB, 300, [(0, 0.1), (0.05, 1)], 0) for _ in range(20)]
    world, _ = played(flat)
    assert world.now_s < 2600


ASKS = st.lists(
    st.tuples(
        st.sampled_from(["poll"] * 6 + ["offer", "offer", "exit", "silent", "set back", "sleep"]),
        st.integers(0, 5),
        st.integers(0, 5),
    ),
    max_size=40,
)
ENDS = (DONE, OOM, STOPPED, CRASHED)


@settings(max_examples=40, deadline=None)
@given(ASKS)
def test_whatever_attempts_hold_after_that_the_invariants_hold_and_the_journal_replays(asks):
    """Two of 3 GiB that less is set aside for; then they and others hold what they like of what
    they were promised first."""
    scene = Scene()
    scene.sample()
    for number in range(8):
        live(scene, scene.runs(number, pid=100 + number).id, {100 + number: 3 * GIB}, 10)
        scene.exited(f"r/{number}.1")
        scene.sample()
    scene.runs(50, pid=50)
    scene.runs(51, pid=51)
    live(scene, "r/50.1", {50: 3 * GIB, 51: 3 * GIB}, 6)
    for kind, which, how in asks:
        ask(scene, kind, which, how)
        (device,) = scene.core.view().devices
        assert device.promised_bytes <= 14 * GIB
    stops = [one for said in scene.core.said for one in said if isinstance(one, Stop)]
    assert not [one for one in stops if "promised" in one.because.partition("it holds")[2]]
    other = CheckedCore()
    other.handle(msgspec.json.decode(msgspec.json.encode(scene.core.remember()), type=Event))
    scene.sample()
    assert other.handle(scene.core.events[-1]) == scene.core.said[-1]
    assert_replays(scene.core)


def live(scene: Scene, attempt: str, held: dict[int, int], polls: int) -> None:
    for _ in range(polls):
        scene.sample(sum(held.values()), held, after_s=10)
        scene.handle(Progressed(at_s=scene.now_s, attempt=attempt, reports=polls))


def ask(scene: Scene, kind: str, which: int, how: int) -> None:
    (device,) = scene.core.view().devices
    here = [one for one in device.attempts if one.process is not None]
    match kind:
        case "poll":
            held = {one.process.pid: one.held_bytes or 0 for one in here}
            for one in here[which : which + 2]:
                held[one.process.pid] = one.attempt.promise_bytes * how // 5
            scene.sample(min(16 * GIB, sum(held.values())), held, after_s=10)
        case "offer":
            number = 60 + len(scene.core.events)
            for attempt in starts(scene.offer(number)):
                scene.started(attempt.id, number)
        case "exit" if here:
            scene.exited(here[which % len(here)].attempt.id, ENDS[how % len(ENDS)])
        case "silent":
            scene.sample(None if how else 3 * GIB, None)
        case "set back":
            scene.now_s -= 100.0 * how
        case "sleep":
            scene.now_s += 1000.0 * how
