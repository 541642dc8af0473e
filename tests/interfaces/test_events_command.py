"""``scheduler events``: what happened, with or without a supervisor, and what happens now."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest

from scheduler.interfaces.client import order
from scheduler.interfaces.events import SHOWN
from scheduler.machine.chronicle.chronicle import NAME, Chronicle
from scheduler.machine.state import StateFolder, new_run, open_state

Scheduler = Callable[..., Any]


@pytest.fixture
def told(state: StateFolder) -> StateFolder:
    """Sixty entries, every third of them about train-1."""
    chronicle = Chronicle(open_state().path / NAME)
    assert new_run(state, "train") == "train-1"
    for number in range(1, 61):
        run = "train-1" if number % 3 == 0 else None
        chronicle.tell("run", "started", f"thing {number}\x1b[2J", run=run)
    chronicle.close()
    return state


def test_the_last_are_shown(scheduler: Scheduler, told: StateFolder) -> None:
    said = scheduler("events")
    assert said.code == 0
    assert [line.split()[0] for line in said.out.splitlines()] == [str(n) for n in range(11, 61)]
    assert len(said.out.splitlines()) == SHOWN
    assert "\x1b" not in said.out


def test_all_after_a_number_or_of_a_run(scheduler: Scheduler, told: StateFolder) -> None:
    lines = scheduler("events", "--since", "57", "--json").out.splitlines()
    assert [json.loads(line)["number"] for line in lines] == [58, 59, 60]
    lines = scheduler("events", "--run", "train-1", "--since", "0").out.splitlines()
    assert [line.split()[0] for line in lines] == [str(n) for n in range(3, 61, 3)]
    assert scheduler("events", "--run", "train-9").code == 2


def test_without_any_it_says_nothing(scheduler: Scheduler) -> None:
    said = scheduler("events")
    assert (said.code, said.out, said.err) == (0, "", "")


def test_without_a_supervisor_nothing_can_be_followed(
    scheduler: Scheduler, told: StateFolder
) -> None:
    said = scheduler("events", "--follow")
    assert said.code == 1
    assert len(said.out.splitlines()) == SHOWN
    assert "scheduler start" in said.err


@pytest.mark.processes
def test_what_happens_is_shown_as_it_does(state: StateFolder, supervisor: int) -> None:
    """A run is cancelled in the queue: that is told by the supervisor."""
    ours, theirs = os.pipe()
    command = [sys.executable, "-m", "scheduler", "events", "--follow", "--since", "0", "--json"]
    following = subprocess.Popen(command, stdout=theirs)
    os.close(theirs)
    with open(ours, encoding="utf-8") as lines:
        run = _queue_one_that_cannot_start(state)
        entry = json.loads(lines.readline())
        assert (entry["kind"], entry["run"]) == ("run", run)
        following.send_signal(signal.SIGINT)
        assert following.wait(20.0) == 0


def _queue_one_that_cannot_start(state: StateFolder) -> str:
    from scheduler.core.model import Run
    from scheduler.machine.runs import RunSpec, write_whole

    run = new_run(state, "train")
    spec = RunSpec(
        run=Run(id=run),
        kind="script",
        target="t.py",
        folder="/nowhere",
        created_at_s=1.0,
        kept=True,
    )
    write_whole(state.run(run) / "run.json", spec)
    assert order(state, "/v1/runs", {"run": run})
    return run
