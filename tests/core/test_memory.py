"""A core that is told all that another knows goes on as that one; times when the clock is set."""

from __future__ import annotations

import msgspec
from scene import (
    CARD,
    FAULTED,
    GIB,
    OOM,
    STOPPED,
    CheckedCore,
    Scene,
    budget,
    names,
    starts,
    trial,
)

from scheduler.core.actions import Settle, Stop
from scheduler.core.core import Core
from scheduler.core.events import Event
from scheduler.core.model import Rule, Run

HOUR_S = 3600.0
SMALL = Run(id="r", promise_bytes=2 * GIB)


def recalled(scene: Scene) -> Scene:
    """The same scene, with a core that knows only what a shortened journal says."""
    line = msgspec.json.encode(scene.core.remember())
    again = msgspec.structs.replace(msgspec.json.decode(line, type=Event))
    other = Scene.__new__(Scene)
    other.core, other.now_s, other.budgets = CheckedCore(), scene.now_s, scene.budgets
    assert other.core.handle(again) == ()
    assert other.core.view() == scene.core.view()
    return other


def test_what_was_learned_and_what_changed_are_kept(scenes):
    scene = scenes(budget(promise=14 * GIB // 4))
    scene.sample()
    for number in range(4):
        scene.runs(number, pid=10 + number)
    scene.sample(16 * GIB - 1, {10 + n: 14 * GIB // 4 for n in range(4)})
    scene.saved("r/3.1")
    told = scene.exited("r/0.1", OOM)
    scene.rule(Rule(source="you", max_attempts=3, because="x"))
    other = recalled(scene)
    view = other.core.view()
    assert (view.devices[0].at_most, len(view.changes), len(view.rules)) == (2, 2, 1)
    assert other.exited("r/0.1", OOM) == told[-1:]  # its host asks again
    assert other.core.remember() == scene.core.remember()


def test_the_one_that_says_it_is_not_changed_by_the_one_that_hears_it(scenes):
    scene = scenes()
    scene.sample()
    event = scene.core.remember()
    lines = [msgspec.json.encode(event)]
    other = Core()
    other.handle(event)
    other.handle(scene.core.events[-1])
    scene.runs(0, pid=10)
    lines.append(msgspec.json.encode(event))
    assert lines[0] == lines[1]


# -- the clock -----------------------------------------------------------------------------------


def test_a_clock_set_back_by_hours_keeps_nobody_waiting_for_hours(scenes):
    """A device that rests after a fault, and memory that is waited for."""
    scene = scenes(budget(CARD), runs=(SMALL,))
    scene.sample()
    scene.runs(0, pid=10)
    scene.runs(1, pid=11)
    scene.sample(4 * GIB, {10: 2 * GIB, 11: 2 * GIB})
    scene.exited("r/0.1", FAULTED)
    scene.offer(2)
    scene.now_s -= 3 * HOUR_S
    for _ in range(2):
        assert scene.sample(2 * GIB, {11: 2 * GIB}) == ()
    (attempt,) = scene.core.view().devices[0].attempts
    assert attempt.attempt.id == "r/1.1"
    assert 0 <= scene.now_s - attempt.attempt.started_at_s < 10
    assert scene.sample(2 * GIB, {11: 2 * GIB}, after_s=58) == ()
    assert names(scene.sample(2 * GIB, {11: 2 * GIB}, after_s=1)) == ["Start"]


def test_a_clock_set_back_while_a_card_is_over_stops_the_same_one(scene):
    scene.sample()
    scene.runs(0, pid=10)
    scene.sample(15 * GIB, {10: 6 * GIB})
    scene.now_s -= 3 * HOUR_S
    assert scene.sample(15 * GIB, {10: 6 * GIB}) == ()
    (stop, _) = scene.sample(15 * GIB, {10: 6 * GIB})
    assert isinstance(stop, Stop)


def test_events_that_are_a_little_out_of_order_change_no_time(scene):
    scene.sample()
    attempt = scene.runs(0, pid=10)
    scene.now_s -= 2.0
    scene.sample(0, {10: 0}, after_s=0)
    assert scene.core.view().devices[0].attempts[0].attempt == attempt


def test_a_machine_that_was_suspended_is_looked_at_anew(scene):
    """Promises and strangers are too much for a moment, then for one after an hour of sleep."""
    scene.sample()
    scene.runs(0, pid=10, want_bytes=7 * GIB)
    scene.runs(1, pid=11, want_bytes=7 * GIB)
    held = {10: GIB, 11: GIB}
    assert scene.sample(4 * GIB, held) == ()
    assert scene.sample(4 * GIB, held, after_s=HOUR_S) == ()
    actions = [scene.sample(4 * GIB, held, after_s=10) for _ in range(3)]
    assert [names(one) for one in actions] == [[], [], ["Stop", "Note"]]


# -- the machine was started anew ----------------------------------------------------------------


def test_after_a_reboot_nothing_of_the_former_boot_counts(scenes):
    """No process is left, and no memory is waited for."""
    scene = scenes()
    scene.found(boot_id="one")
    scene.joined()
    scene.sample()
    scene.runs(0, pid=10)
    scene.runs(1, pid=11)
    scene.sample(12 * GIB, {10: 6 * GIB, 11: 6 * GIB})
    scene.exited("r/1.1", STOPPED)
    scene.found(boot_id="two")
    view = scene.core.view()
    assert (view.devices[0].attempts, view.devices[0].promised_bytes) == ((), 0)
    assert (view.runs[0].active, view.runs[0].connected) == (0, False)
    scene.joined()
    (start,) = starts(scene.again(trial(0)) + scene.sample(0))
    assert start.id == "r/0.2"


def test_the_same_boot_or_one_that_is_not_known_keeps_what_runs(scene):
    scene.found(boot_id="one")
    scene.joined()
    scene.sample()
    scene.runs(0, pid=10)
    for boot_id in ("one", "", "one"):
        scene.found(boot_id=boot_id)
        assert len(scene.core.view().devices[0].attempts) == 1
    scene.found(boot_id="two")
    assert scene.core.view().devices[0].attempts == ()


def test_a_host_that_asks_after_a_reboot_how_an_attempt_ended_is_answered(scene):
    scene.found(boot_id="one")
    scene.joined()
    scene.sample()
    scene.runs(0, pid=10)
    scene.found(boot_id="two")
    scene.joined()
    (settle,) = scene.exited("r/0.1")
    assert isinstance(settle, Settle)


# -- a supervisor that stays for a year ----------------------------------------------------------


def test_runs_and_trials_that_are_long_over_are_forgotten(scenes):
    scene = scenes(budget(promise=GIB))
    kept = scenes(budget(promise=GIB)).core
    sizes = []
    for number in range(700):
        name = f"run{number}"
        scene.joined(Run(id=name))
        scene.sample()
        (attempt,) = starts(scene.offer(0, name))
        scene.exited(attempt.id)
        scene.leave(name)
        sizes.append(len(msgspec.json.encode(scene.core.remember())))
    assert len(scene.core.view().runs) <= 68
    assert max(sizes) < 1.2 * sizes[200]
    assert len(kept.view().runs) == 1


def test_a_long_run_of_short_trials_takes_no_more_memory_with_time(scene):
    sizes = []
    for number in range(1500):
        scene.sample()
        (attempt,) = starts(scene.offer(number))
        scene.exited(attempt.id)
        if number in (400, 1499):
            sizes.append(len(msgspec.json.encode(scene.core.remember())))
    assert sizes[1] < 1.05 * sizes[0]
