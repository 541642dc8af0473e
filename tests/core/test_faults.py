"""A GPU fault and what it takes along; a set-up in which no trial can run."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scene import (
    CARD,
    CRASHED,
    DONE,
    FAULTED,
    GIB,
    KILLED,
    OOM,
    UNSET,
    Scene,
    budget,
    names,
    reading,
    starts,
    trial,
)

from scheduler.core import faults
from scheduler.core.actions import Action, Halt, Hold, Note, Settle
from scheduler.core.core import Core
from scheduler.core.events import Event
from scheduler.core.model import Change, Evidence, Run
from scheduler.loop import run
from scheduler.simulate import Card, Script, SimulatedWorld

SMALL = Run(id="r", promise_bytes=2 * GIB)


def settlement(actions: tuple[Action, ...]) -> Settle:
    (settle,) = (action for action in actions if isinstance(action, Settle))
    return settle


def told(actions: tuple[Action, ...]) -> list[Change]:
    return [action.change for action in actions if isinstance(action, Note)]


@pytest.fixture
def crowd(scenes) -> Scene:
    """Four attempts of 2 GiB, trials 0 to 3."""
    scene = scenes(runs=(SMALL,))
    scene.sample()
    for number in range(4):
        scene.runs(number, pid=10 + number)
    scene.sample(8 * GIB, {10 + number: 2 * GIB for number in range(4)})
    return scene


# -- what a fault takes along ------------------------------------------------------------------


def test_a_fault_counts_for_the_first_that_tells_of_it_alone(crowd):
    first = settlement(crowd.exited("r/0.1", FAULTED))
    assert (first.verdict.kind, first.again.faults, first.again.unexplained) == ("gpu_fault", 1, 0)
    for number, evidence in ((1, FAULTED), (2, CRASHED), (3, Evidence(signal=6))):
        actions = crowd.exited(f"r/{number}.1", evidence)
        taken = settlement(actions)
        assert (taken.verdict.kind, taken.settlement) == ("gpu_fault", "again")
        assert taken.verdict.because.startswith("taken along by a GPU fault of trial 0: ")
        assert (taken.again.faults, taken.again.unexplained, taken.again.attempts) == (0, 0, 1)
        (change,) = told(actions)
        assert (change.what, change.run, change.trial) == ("fault", "r", number)
        assert change.after == "comes back, not counted against it"
        assert change.because == taken.verdict.because


def test_a_crash_shortly_before_the_fault_was_its_doing(crowd):
    """It waits to be explained: told at once, its last try would have been used up."""
    assert crowd.exited("r/1.1", CRASHED) == ()
    assert names(crowd.sample(8 * GIB, after_s=2.0)) == []
    assert crowd.exited("r/1.1", CRASHED) == ()  # its host asks again
    crowd.exited("r/0.1", FAULTED)
    taken = settlement(crowd.sample(0, after_s=0.1))
    assert taken.attempt.id == "r/1.1"
    assert taken.verdict.because.startswith("taken along by a GPU fault of trial 0: crashed")
    assert (taken.again.faults, taken.again.unexplained) == (0, 0)


def test_nothing_starts_where_a_crash_may_be_a_faults(crowd):
    """A card that is being reset would fail it too."""
    assert crowd.exited("r/1.1", CRASHED) == ()
    (hold,) = crowd.offer(4)
    assert "watched for a GPU fault" in hold.because
    assert starts(crowd.sample(6 * GIB, after_s=4.9)) == []
    assert [one.id for one in starts(crowd.sample(6 * GIB, after_s=0.1))] == ["r/4.1"]


def test_a_crash_that_no_fault_follows_is_unexplained_five_seconds_later(crowd):
    assert crowd.exited("r/1.1", CRASHED) == ()
    assert crowd.sample(8 * GIB, after_s=4.9) == ()
    told = settlement(crowd.sample(0, after_s=0.1))
    assert (told.verdict.kind, told.settlement) == ("unknown_kill", "again")
    assert told.again.unexplained == 1
    later = crowd.exited("r/0.1", FAULTED)
    assert settlement(later).again.faults == 1


def test_a_crash_is_judged_by_what_was_so_when_it_came(crowd):
    """Neighbours that fill the card while it waits do not make it an end for want of memory."""
    assert crowd.exited("r/1.1", CRASHED) == ()
    assert crowd.sample(16 * GIB, {}, after_s=4.0) == ()
    crowd.sample(16 * GIB, {}, after_s=0.5)
    told = settlement(crowd.sample(16 * GIB - 1, {}, after_s=0.5))
    assert told.verdict.kind == "unknown_kill"


@pytest.mark.parametrize("evidence", [DONE, OOM, KILLED, UNSET, Evidence(exit_code=3)])
def test_other_ends_are_not_kept_waiting(crowd, evidence):
    assert settlement(crowd.exited("r/1.1", evidence)).attempt.id == "r/1.1"


def test_a_crash_in_no_company_is_not_kept_waiting(scenes):
    scene = scenes(runs=(SMALL,))
    scene.sample()
    scene.runs(0, pid=10)
    scene.sample(2 * GIB, {10: 2 * GIB})
    assert settlement(scene.exited("r/0.1", CRASHED)).verdict.kind == "unknown_kill"


def test_a_crash_on_the_hosts_ram_is_not_kept_waiting(scenes):
    scene = scenes(budget("host", kind="host"), runs=(SMALL,))
    scene.sample(key="host")
    for number in range(2):
        scene.runs(number, pid=10 + number)
    scene.sample(2 * GIB, {10: GIB, 11: GIB}, key="host")
    assert settlement(scene.exited("r/0.1", CRASHED)).verdict.kind == "unknown_kill"
    assert settlement(scene.exited("r/1.1", FAULTED)).verdict.kind == "gpu_fault"
    (device,) = scene.core.view().devices
    assert device.out_because is None
    scene.sample(key="host", after_s=20)
    assert starts(scene.offer(2))


@pytest.mark.parametrize(("evidence", "kind"), [(DONE, "finished"), (OOM, "device_oom")])
def test_an_end_with_a_reason_of_its_own_is_not_the_faults(crowd, evidence, kind):
    crowd.exited("r/0.1", FAULTED)
    assert settlement(crowd.exited("r/1.1", evidence)).verdict.kind == kind


def test_a_neighbour_on_another_card_or_later_is_not_taken_along(scenes):
    scene = scenes(budget(CARD), budget("b"), runs=(SMALL,))
    both = (reading(), reading(key="b"))
    scene.poll(*both)
    for number in range(4):
        scene.runs(number, pid=10 + number)
    there = {one.attempt.id: one.attempt.device for one in attempts(scene)}
    first = next(one for one, device in there.items() if device == CARD)
    here = next(one for one, device in there.items() if device == CARD and one != first)
    other = next(one for one, device in there.items() if device == "b")
    scene.exited(first, FAULTED)
    scene.exited(other, CRASHED)
    assert settlement(scene.poll(*both, after_s=5.0)).verdict.kind == "unknown_kill"
    scene.poll(*both)
    assert settlement(scene.exited(here, FAULTED)).again.faults == 1


def attempts(scene):
    return [one for device in scene.core.view().devices for one in device.attempts]


# -- what the device gets for it ---------------------------------------------------------------


def test_nothing_starts_for_a_minute(crowd):
    (change,) = told(crowd.exited("r/0.1", FAULTED))
    assert (change.what, change.trial, change.after) == ("fault", 0, "is tried once more")
    (hold,) = crowd.offer(4)
    assert hold == Hold(
        run="r",
        trial=4,
        because=f"{CARD} had a GPU fault (trial 0 of r); it is left alone for a minute",
    )
    held = {11: 2 * GIB, 12: 2 * GIB, 13: 2 * GIB}
    assert starts(crowd.sample(6 * GIB, held, after_s=59.0)) == []
    assert [one.id for one in starts(crowd.sample(6 * GIB, held, after_s=1.0))] == ["r/4.1"]


def test_strangers_that_come_meanwhile_do_not_shorten_the_minute(crowd):
    crowd.exited("r/0.1", FAULTED)
    held = {11: 2 * GIB, 12: 2 * GIB, 13: 2 * GIB}
    crowd.sample(31 * GIB // 2, held)
    assert "Stop" in names(crowd.sample(31 * GIB // 2, held))
    crowd.offer(4)
    assert starts(crowd.sample(6 * GIB, held, after_s=40.0)) == []


def faulty(scene: Scene, number: int, after_s: float = 100.0) -> tuple[Action, ...]:
    """A trial starts, runs and faults; what is said to that."""
    scene.sample(after_s=after_s)
    scene.runs(number, pid=100 + number)
    scene.sample(2 * GIB, {100 + number: 2 * GIB})
    return scene.exited(f"r/{number}.1", FAULTED)


def test_the_third_fault_within_an_hour_takes_the_device_out_of_service(scenes):
    small = Run(id="r", promise_bytes=2 * GIB, device=CARD)
    runs = (small, Run(id="s"), Run(id="t", device="b"))
    scene = scenes(budget(CARD), budget("b", kind="amd"), runs=runs)
    faulty(scene, 0)
    faulty(scene, 1)
    scene.sample(after_s=100.0)
    scene.runs(7, pid=70)
    actions = faulty(scene, 2)
    service = [change for change in told(actions) if change.what == "service"]
    assert [change.run for change in service] == ["r", "s"]
    assert {(change.before, change.after) for change in service} == {
        ("in service", "out of service")
    }
    card = scene.core.view().devices[0]
    assert card.out_because.startswith("3 GPU faults within an hour; last: ")
    assert card.out_since_s == scene.now_s
    (hold,) = scene.offer(4)
    assert hold.because.startswith(f"{CARD} is out of service: 3 GPU faults within an hour; last:")
    assert starts(scene.sample(after_s=7200.0)) == []
    scene.sample(2 * GIB, {70: 2 * GIB})
    assert settlement(scene.exited("r/7.1")).settlement == "done"  # what runs there goes on


def test_a_supervisor_that_was_killed_puts_no_device_right_and_a_reboot_does(scenes):
    """Nor does it forget what faults there were."""
    scene = scenes(runs=(SMALL,))
    scene.found(boot_id="one")
    scene.joined(SMALL)
    faulty(scene, 0)
    faulty(scene, 1)
    scene.found(boot_id="one")
    scene.joined(SMALL)
    faulty(scene, 2)
    assert scene.core.view().devices[0].out_because is not None
    for boot_id in ("one", ""):
        assert scene.found(boot_id=boot_id) == ()
        scene.joined(SMALL)
        scene.sample(after_s=7200.0)
        assert "out of service" in scene.offer(4)[0].because
    (change,) = told(scene.found(boot_id="two"))
    assert (change.run, change.after) == (None, "in service")
    assert change.because == "the machine was started anew"
    scene.joined(SMALL)
    scene.sample()
    assert [one.id for one in starts(scene.offer(4))] == ["r/4.1"]
    faulty(scene, 5)
    assert scene.core.view().devices[0].out_because is None


def test_a_reboot_spares_a_device_its_cool_down(scenes):
    scene = scenes(runs=(SMALL,))
    for boot_id in ("one", "one", "two"):
        scene.found(boot_id=boot_id)
        scene.joined(SMALL)
        faulty(scene, len(scene.core.events), after_s=70.0)
        assert "had a GPU fault" in scene.offer(999)[0].because
    scene.found(boot_id="three")
    scene.joined(SMALL)
    scene.sample()
    assert names(scene.offer(999)) == ["Start"]


def test_a_device_that_is_asked_for_is_in_service_again_at_once(scenes):
    """Its faults are forgiven: the next one is the first. Told to all runs that may use it."""
    runs = (SMALL, Run(id="s"), Run(id="t", device="b"))
    scene = scenes(budget(CARD), budget("b"), runs=runs)
    only = {"device": CARD}
    scene.joined(msgspec.structs.replace(SMALL, **only))
    for number in range(3):
        faulty(scene, number)
    scene.sample()
    assert "out of service" in scene.offer(4)[0].because
    *notes, start = scene.serve()
    assert start.attempt.id == "r/4.1"  # the minute after the last fault is over as well
    changes = told(tuple(notes))
    assert [(one.run, one.before, one.after) for one in changes] == [
        ("r", "out of service", "in service"),
        ("s", "out of service", "in service"),
    ]
    assert scene.core.view().devices[0].out_because is None
    faulty(scene, 5)
    assert scene.core.view().devices[0].out_because is None


def test_a_device_in_service_is_spared_its_cool_down(scenes):
    scene = scenes(runs=(SMALL,))
    faulty(scene, 0)
    scene.sample()
    assert "had a GPU fault" in scene.offer(1)[0].because
    assert names(scene.serve()) == ["Start"]
    assert scene.serve("nobody's") == ()


def test_a_device_that_no_run_waits_for_comes_back_all_the_same(scenes):
    scene = scenes(runs=(SMALL,))
    for number in range(3):
        faulty(scene, number)
    scene.leave()
    (change,) = told(scene.serve())
    assert (change.run, change.after) == (None, "in service")


def test_faults_that_are_further_apart_leave_it_in_service(scenes):
    scene = scenes(runs=(SMALL,))
    for number in range(6):
        faulty(scene, number, after_s=1801.0)
    assert scene.core.view().devices[0].out_because is None


def test_a_fault_that_took_seven_along_is_one(scenes):
    scene = scenes(runs=(Run(id="r", promise_bytes=GIB),))
    scene.sample()
    for number in range(8):
        scene.runs(number, pid=10 + number)
    for number in range(8):
        scene.exited(f"r/{number}.1", FAULTED)
    assert scene.core.view().devices[0].out_because is None


@pytest.fixture
def out(scenes) -> Scene:
    """Two cards, of which one is out of service; trials 0 to 2 of its own run had the faults."""
    runs = (Run(id="r", promise_bytes=2 * GIB, device=CARD), Run(id="s", promise_bytes=2 * GIB))
    scene = scenes(budget(CARD), budget("b", total=8 * GIB), runs=runs)
    for number in range(3):
        scene.poll(*BOTH, after_s=100.0)
        scene.runs(number, pid=100 + number)
        scene.exited(f"r/{number}.1", FAULTED)
    assert scene.core.view().devices[0].out_because is not None
    scene.poll(*BOTH, after_s=100.0)
    return scene


BOTH = (reading(), reading(key="b", total=8 * GIB))


def test_what_fills_all_other_cards_does_not_wait_for_one_out_of_service(out):
    (attempt,) = starts(out.offer(9, run="s", alone=True))
    assert attempt.device == "b"
    assert settlement(out.exited(attempt.id, OOM)).settlement == "capacity"


def overtake(scene: Scene, run: str = "s") -> None:
    """Small trials pass the first that waits until a device is kept for that."""
    for number in range(20, 28):
        (attempt,) = starts(scene.offer(number, run=run))
        scene.exited(attempt.id)
        scene.poll(*BOTH)


def test_a_device_out_of_service_is_kept_for_nobody(out):
    """The one that is overtaken gets one that it can run on."""
    out.offer(8, run="s")
    out.offer(9, run="s", want_bytes=5 * GIB)
    overtake(out)
    (hold,) = out.offer(30, run="r")
    assert "out of service" in hold.because
    out.exited("s/8.1")
    assert [one.id for one in starts(out.poll(*BOTH))] == ["s/9.1"]


def test_a_device_that_was_kept_for_one_is_not_any_more(scenes):
    scene = scenes(budget(CARD), runs=(SMALL, Run(id="s", promise_bytes=2 * GIB)))
    scene.sample()
    for number in range(3):
        scene.sample(after_s=100.0)
        scene.runs(number, pid=100 + number)
        if number == 2:
            scene.offer(9, want_bytes=13 * GIB)
            for small in range(20, 28):
                (attempt,) = starts(scene.offer(small, run="s"))
                scene.exited(attempt.id)
                scene.sample()
            assert "is kept for trial 9 of r" in scene.offer(30, run="s")[0].because
        scene.exited(f"r/{number}.1", FAULTED)
    waits = [run.waiting[0].because for run in scene.core.view().runs]
    assert all("out of service" in because for because in waits)


# -- a set-up in which no trial can run ----------------------------------------------------------


def test_a_wrong_set_up_halts_its_run_once_and_puts_the_trial_back(scenes):
    scene = scenes(runs=(SMALL, Run(id="s", promise_bytes=2 * GIB)))
    scene.sample()
    scene.runs(0, pid=10)
    scene.runs(1, pid=11)
    scene.runs(2, pid=12, run="s")
    scene.offer(5, want_bytes=14 * GIB)
    settle, halt = scene.exited("r/0.1", UNSET)
    assert (settle.settlement, settle.again) == ("again", trial(attempts=1))
    assert isinstance(halt, Halt)
    assert (halt.run, "No HIP GPUs are available" in halt.because) == ("r", True)
    assert scene.again(settle.again) == scene.offer(6) == ()
    assert names(scene.exited("r/1.1", UNSET)) == ["Settle"]
    assert names(scene.exited("r/0.1", UNSET)) == ["Settle"]
    assert scene.sample(2 * GIB, {12: 2 * GIB}) == ()
    view = scene.core.view().runs[0]
    assert (view.waiting, view.halted) == ((), halt.because)
    assert starts(scene.offer(7, run="s"))


def test_the_run_that_joins_again_starts_again(scenes):
    """Its user has mended what was wrong; or its host missed what it was told, and asks again."""
    scene = scenes(runs=(SMALL,))
    scene.sample()
    scene.runs(0, pid=10)
    again = settlement(scene.exited("r/0.1", UNSET)).again
    scene.joined(SMALL)
    assert names(scene.exited("r/0.1", UNSET)) == ["Settle", "Halt"]
    scene.joined(SMALL)
    scene.sample()
    assert [one.id for one in starts(scene.again(again))] == ["r/0.2"]


def test_once_a_trial_has_finished_the_users_catch_is_heard(scenes):
    scene = scenes(runs=(SMALL,))
    scene.sample()
    scene.runs(0, pid=10)
    proven = msgspec.structs.replace(UNSET, proven=True)
    (settle,) = scene.exited("r/0.1", proven)
    assert (settle.settlement, settle.again) == ("done", None)


def test_a_crash_for_want_of_a_set_up_has_no_exception_that_could_be_caught(scenes):
    scene = scenes(runs=(SMALL,))
    scene.sample()
    scene.runs(0, pid=10)
    crashed = Evidence(signal=6, stderr_tail="ROCk module is NOT loaded\n", proven=True)
    assert names(scene.exited("r/0.1", crashed)) == ["Settle", "Halt"]


# -- whole runs ----------------------------------------------------------------------------------


class Tape(Core):
    """Checks itself after each event."""

    def __init__(self) -> None:
        super().__init__()
        self.notes: list[Change] = []

    def append(self, event: Event) -> None:
        pass

    def handle(self, event: Event) -> tuple[Action, ...]:
        actions = super().handle(event)
        self.check()
        self.notes += told(actions)
        return actions


def play(*scripts: Script, until_s: float = 1e5, period_s: float = 1.0, runs=(SMALL,)):
    trials = [(trial(n, runs[n % len(runs)].id), one) for n, one in enumerate(scripts)]
    world = SimulatedWorld(
        cards=(Card(budget=budget()),),
        runs=runs,
        trials=trials,
        until_s=until_s,
        period_s=period_s,
    )
    tape = Tape()
    run(tape, world, tape)
    return world, tape


GOOD = Script(peak_bytes=GIB, ramp_s=5, run_s=100)
BAD = Script(peak_bytes=GIB, ramp_s=5, run_s=20, evidence=FAULTED, resets=True)


def test_one_bad_trial_makes_two_faults_and_costs_its_neighbours_no_try():
    world, tape = play(*[GOOD] * 5, BAD, *[GOOD] * 5)
    assert world.ended.pop(("r", 5)) == "failed"
    assert set(world.ended.values()) == {"done"}
    assert len(world.ended) == 10
    ends = [change.after for change in tape.notes if change.trial == 5]
    assert ends == ["is tried once more", "failed"]
    assert {change.what for change in tape.notes} == {"fault"}


def test_two_bad_trials_take_the_card_out_of_service_and_the_others_wait():
    world, tape = play(BAD, *[GOOD] * 5, BAD, *[GOOD] * 20, until_s=3600)
    assert [change.what for change in tape.notes].count("service") == 1
    (device,) = tape.view().devices
    assert device.out_because is not None
    assert 0 < len(world.ended) < 27


ENDS = [
    Evidence(outcome="complete", exit_code=0),
    Evidence(outcome="complete", exit_code=0),
    CRASHED,
    FAULTED,
    UNSET,
]
scripts = st.builds(
    Script,
    peak_bytes=st.integers(1, 4 * GIB),
    ramp_s=st.floats(0, 20),
    run_s=st.floats(0.1, 50),
    evidence=st.sampled_from(ENDS),
    resets=st.booleans(),
)


@settings(max_examples=60, deadline=None)
@given(st.lists(scripts, min_size=1, max_size=8), st.sampled_from([1.0, 10.0]))
def test_every_run_ends_or_is_halted_or_waits_for_a_device_to_be_put_right(scripts, period_s):
    runs = (SMALL, Run(id="s", promise_bytes=3 * GIB))
    world, tape = play(*scripts, runs=runs, period_s=period_s, until_s=20_000)
    (device,) = tape.view().devices
    if device.out_because is None:
        names = [runs[number % 2].id for number in range(len(scripts))]
        ended = [run for run, _ in world.ended]
        for name in ("r", "s"):
            assert name in world.halted or ended.count(name) == names.count(name)


def test_what_is_recent_and_what_explains():
    """Both ends of both spans are within."""
    scene = Scene(runs=(SMALL,))
    scene.sample()
    attempt = scene.runs(0, pid=1)
    fault = faults.Fault(at_s=2000.0, attempt=attempt, because="")
    other = msgspec.structs.replace(attempt, id="r/1.1")
    late = msgspec.structs.replace(other, started_at_s=2000.1)
    seen = [faults.explaining([fault], other, at_s) for at_s in (1994.9, 1995.0, 2005.0, 2005.1)]
    assert seen == [None, fault, fault, None]
    assert faults.explaining([fault], attempt, 2000.0) is None
    assert faults.explaining([fault], late, 2001.0) is None
    assert faults.recent([fault], 5600.0) == (fault,)
    assert faults.recent([fault], 5600.1) == ()
