"""What the user orders of runs and devices: pauses, priorities, what is refused and why."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from probes.reading import Device
from scheduler.core.core import Core
from scheduler.core.events import Found, Joined, Prioritised, Ruled, Served
from scheduler.core.model import Budget, Rule, Run
from scheduler.core.view import View
from scheduler.machine.orders import (
    CancelRun,
    Leave,
    Order,
    PauseDevice,
    PauseRun,
    Prioritise,
    Refused,
    ResumeDevice,
    ResumeRun,
    Stay,
    TakeRun,
)
from scheduler.machine.runs import RunSpec, RunStatus, read_whole, write_whole
from scheduler.machine.state import StateFolder, open_state
from scheduler.machine.steward import Steward

GIB = 1 << 30
DEVICE = Device(
    key="host", kind="host", name="host RAM", total_bytes=8 * GIB, source="host", because="test"
)
BUDGET = Budget(device=DEVICE, reserve_bytes=GIB, promise_bytes=GIB, max_attempts=2)
WINDOW = Rule(source="window", max_attempts=1, because="it is day")


class Scene:
    """A run "a-1" with a host, in a terminal, and one that was submitted."""

    def __init__(self, state: StateFolder) -> None:
        self.state = state
        self.others: tuple[Rule, ...] = ()
        core = Core()
        core.handle(Found(at_s=1.0, budgets=(BUDGET,)))
        core.handle(Joined(at_s=2.0, run=Run(id="a-1")))
        self.view: View = core.view()
        for run, kept in (("a-1", False), ("b-1", True)):
            state.run(run).mkdir(exist_ok=True)
            spec = RunSpec(
                run=Run(id=run),
                kind="script",
                target="x.py",
                folder="/",
                created_at_s=1.0,
                kept=kept,
            )
            write_whole(state.run(run) / "run.json", spec)
        self.steward = self.new_steward()

    def new_steward(self) -> Steward:
        return Steward(self.state, lambda: None, rules=lambda: self.others)

    def do(self, order: Order) -> tuple[object, ...]:
        return self.steward.carry_out(order, self.view, {})

    def rules(self, order: Order) -> tuple[Rule, ...]:
        (event,) = self.do(order)
        assert isinstance(event, Ruled)
        return event.rules

    def refused(self, order: Order) -> tuple[int, str]:
        with pytest.raises(Refused) as refused:
            self.do(order)
        return refused.value.status, str(refused.value)


@pytest.fixture
def scene(state: Path) -> Scene:
    return Scene(open_state())


def test_rules_are_told_first_and_when_they_change(scene: Scene) -> None:
    (first,) = scene.steward.ruled()
    assert first.rules == ()
    assert scene.steward.ruled() == ()
    scene.others = (WINDOW,)
    (second,) = scene.steward.ruled()
    assert second.rules == (WINDOW,)


def test_rules_that_cannot_be_found_out_stay_as_they_were(scene: Scene) -> None:
    scene.others = (WINDOW,)
    scene.steward.ruled()
    steward, raised = scene.steward, ZeroDivisionError()

    def fails() -> tuple[Rule, ...]:
        raise raised

    steward._rules = fails
    assert steward.ruled() == ()


def test_a_pause_is_a_rule_and_survives_the_supervisor(scene: Scene) -> None:
    scene.steward.ruled()
    (rule,) = scene.rules(PauseRun(run="a-1", stop=True))
    assert (rule.source, rule.run, rule.max_attempts, rule.stops) == ("you", "a-1", 0, True)
    run, device = scene.rules(PauseDevice(device="host"))
    assert (device.device, device.run, device.stops) == ("host", None, False)
    (event,) = scene.new_steward().ruled()
    assert event.rules == (run, device)
    assert scene.rules(ResumeRun(run="a-1")) == (device,)
    assert scene.rules(ResumeDevice(device="host")) == ()
    assert not (scene.state.path / "pauses.json").exists()


def test_a_pause_that_cannot_be_written_down_does_not_hold(scene: Scene) -> None:
    scene.steward.ruled()
    (scene.state.path / "pauses.json").mkdir()
    status, sentence = scene.refused(PauseRun(run="a-1"))
    assert status == 503
    assert "cannot be written" in sentence
    assert scene.steward.ruled() == ()


def test_a_run_that_is_over_is_paused_no_longer(scene: Scene) -> None:
    scene.do(PauseRun(run="a-1"))
    status = RunStatus(run="a-1", state="finished", host_pid=1, updated_at_s=1.0)
    write_whole(scene.state.run("a-1") / "status.json", status)
    (event,) = scene.new_steward().ruled()
    assert event.rules == ()


def test_a_device_out_of_service_is_taken_into_service(scene: Scene) -> None:
    scene.steward.ruled()
    assert scene.refused(ResumeDevice(device="host"))[0] == 409
    (device,) = scene.view.devices
    out = msgspec.structs.replace(device, out_because="three faults", out_since_s=1.0)
    scene.view = msgspec.structs.replace(scene.view, devices=(out,))
    (served,) = scene.do(ResumeDevice(device="host"))
    assert isinstance(served, Served)
    assert served.device == "host"


def test_a_priority_is_written_down_and_told_to_the_core(scene: Scene) -> None:
    scene.steward.ruled()
    (event,) = scene.do(Prioritise(run="a-1", priority=7))
    assert isinstance(event, Prioritised)
    assert (event.run, event.priority) == ("a-1", 7)
    spec = read_whole(scene.state.run("a-1") / "run.json", RunSpec)
    assert spec is not None
    assert (spec.priority, spec.run.priority) == (7, 7)
    assert scene.steward.priority("a-1") == 7
    assert scene.steward.priority("../a-1") is None


@pytest.mark.parametrize(
    ("order", "status", "words"),
    [
        (TakeRun(run="../../etc"), 404, "there is no run '../../etc'"),
        (TakeRun(run="a-1"), 409, "begun in a terminal"),
        (PauseRun(run="c-1"), 404, "there is no run 'c-1'"),
        (PauseRun(run="b-1"), 409, "there is nothing to pause"),
        (ResumeRun(run="a-1"), 409, "scheduler run --resume a-1"),
        (CancelRun(run="b-1"), 409, "it is not begun"),
        (Prioritise(run="c-1", priority=1), 404, "there is no run"),
        (PauseDevice(device="gpu7"), 404, "there is no device 'gpu7' here; there are: host"),
        (ResumeDevice(device="host"), 409, "not paused, and in service"),
    ],
)
def test_what_makes_no_sense_is_refused(
    scene: Scene, order: Order, status: int, words: str
) -> None:
    found, sentence = scene.refused(order)
    assert found == status
    assert words in sentence


def test_who_takes_a_run_stays(scene: Scene) -> None:
    assert not scene.steward.is_lasting
    scene.do(TakeRun(run="b-1"))
    assert scene.steward.is_lasting
    assert scene.state.lasting.exists()


def test_one_that_leaves_takes_nothing_more(scene: Scene) -> None:
    scene.do(Leave(how="drain"))
    for order in (TakeRun(run="b-1"), Stay()):
        status, sentence = scene.refused(order)
        assert status == 503
        assert "is being stopped" in sentence
