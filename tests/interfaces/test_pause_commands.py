"""``pause``, ``resume``, ``cancel`` and their like: orders to a supervisor, and how they fail."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import Any

import pytest

from scheduler.core.model import Run
from scheduler.interfaces.client import ask, order
from scheduler.machine.api.answers import Status
from scheduler.machine.runs import RunSpec, RunStatus, State, read_whole, write_whole
from scheduler.machine.state import StateFolder, new_run, open_state

Scheduler = Callable[..., Any]


def add(state: StateFolder, now: State | None, *, kept: bool) -> str:
    run = new_run(open_state(), "train")
    spec = RunSpec(
        run=Run(id=run), kind="script", target="t.py", folder="/", created_at_s=1.0, kept=kept
    )
    write_whole(state.run(run) / "run.json", spec)
    if now is not None:
        status = RunStatus(run=run, state=now, host_pid=os.getpid(), updated_at_s=1.0)
        write_whole(state.run(run) / "status.json", status)
    return run


@pytest.mark.parametrize(
    "words",
    [
        ["pause", "train-1"],
        ["resume", "train-1"],
        ["cancel", "train-1"],
        ["pause-device", "host"],
        ["resume-device", "host"],
    ],
)
def test_without_a_supervisor_it_says_what_to_do(
    scheduler: Scheduler, state: StateFolder, words: list[str]
) -> None:
    add(state, "finished", kept=True)
    said = scheduler(*words)
    assert (said.code, said.out) == (1, "")
    assert "scheduler start" in said.err


@pytest.mark.parametrize("verb", ["pause", "resume", "cancel"])
def test_an_unknown_run_is_told_which_there_are(
    scheduler: Scheduler, state: StateFolder, verb: str
) -> None:
    add(state, "finished", kept=True)
    said = scheduler(verb, "train-9")
    assert said.code == 2
    assert "the latest are: train-1" in said.err


def test_one_that_was_interrupted_in_a_terminal_goes_on_in_one(
    scheduler: Scheduler, state: StateFolder
) -> None:
    add(state, "interrupted", kept=False)
    said = scheduler("resume", "train-1")
    assert said.code == 2
    assert "scheduler run --resume train-1" in said.err


@pytest.mark.processes
def test_a_device_is_paused_and_used_again(
    scheduler: Scheduler, state: StateFolder, supervisor: int
) -> None:
    assert "scheduler resume-device host" in scheduler("pause-device", "host", "--stop").out
    status = ask(state, "/v1/status", Status)
    assert status is not None
    assert [(rule.device, rule.stops) for rule in status.view.rules] == [("host", True)]
    assert scheduler("resume-device", "host").code == 0
    status = ask(state, "/v1/status", Status)
    assert status is not None
    assert status.view.rules == ()
    again = scheduler("resume-device", "host")
    assert (again.code, "not paused" in again.err) == (2, True)


@pytest.mark.processes
@pytest.mark.parametrize("device", ["0000:99:00.0", "../x y%2f", "ü"])
def test_an_unknown_device_is_told_which_there_are(
    scheduler: Scheduler, supervisor: int, device: str
) -> None:
    said = scheduler("pause-device", device)
    assert said.code == 2
    assert "there is no" in said.err


@pytest.mark.processes
def test_a_queued_run_is_paused_resumed_and_cancelled(
    scheduler: Scheduler, state: StateFolder, supervisor: int
) -> None:
    """It waits for another one, so that it never starts."""
    first = add(state, "running", kept=False)
    run = new_run(state, "later")
    spec = RunSpec(
        run=Run(id=run),
        kind="script",
        target="t.py",
        folder="/",
        created_at_s=time.time(),
        after=(first,),
        kept=True,
    )
    write_whole(state.run(run) / "run.json", spec)
    assert order(state, "/v1/runs", {"run": run})
    assert f"scheduler resume {run}" in scheduler("pause", run).out
    assert "paused" in next(
        line for line in scheduler("runs").out.splitlines() if line.startswith(run)
    )
    assert "goes on" in scheduler("resume", run).out
    refused = scheduler("resume", run)
    assert (refused.code, "not paused" in refused.err) == (2, True)
    assert "cancelled" in scheduler("cancel", run).out
    status = read_whole(state.run(run) / "status.json", RunStatus)
    assert status is not None
    assert status.state == "cancelled"
    assert scheduler("cancel", run).code == 2
