"""A disk that is full, or read-only, while a kept run runs: nothing is lost, and it goes on.

Real processes on a disk of their own.
"""

from __future__ import annotations

import contextlib
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from desk import Desk, sitting_down
from script_runs import wait_for

from scheduler.machine import processes
from scheduler.machine.state import StateFolder
from tests.emulated.disk import NoDisk, OwnDisk

pytestmark = pytest.mark.processes
DISK_BYTES = 8 << 20
TRIALS = 24

SCRIPT = f"""
import time
import optuna

def objective(trial):
    x = trial.suggest_float("x", 0, 1)
    for step in range(3):
        time.sleep(0.03)
        trial.report(x, step)
        print("a line of its own", flush=True)
    return x

study = optuna.create_study(pruner=optuna.pruners.NopPruner())
study.optimize(objective, n_trials={TRIALS}, callbacks=[lambda study, trial: print(trial.number)])
"""


@pytest.fixture
def disk(state: Path) -> Iterator[OwnDisk]:
    state.mkdir(mode=0o700)
    try:
        one = OwnDisk(state, DISK_BYTES)
    except NoDisk as reason:
        pytest.skip(str(reason))
    with contextlib.closing(one):
        yield one


@pytest.fixture
def desk(tmp_path: Path, state: Path, disk: OwnDisk) -> Iterator[Desk]:
    """At which a run is under way."""
    with sitting_down(tmp_path, state) as one:
        one.state, one.prefix = StateFolder(disk.here), disk.prefix(one.own)
        (one.own / "train.py").write_text(SCRIPT)
        one.submit("train.py")
        goes_on(one)
        yield one


def goes_on(desk: Desk) -> None:
    before = done(desk)
    wait_for(lambda: done(desk) > before + 2, "more trials")


def done(desk: Desk) -> int:
    status = desk.status("train-1")
    return status.complete if status else 0


def complete(desk: Desk) -> int:
    """By a copy of what the run has left: SQLite looks for a file where its name leads out here."""
    copy = desk.own / "copy"
    shutil.copytree(desk.state.runs, copy / "runs", ignore=shutil.ignore_patterns("*.sock"))
    return Desk(desk.own, copy).complete("train-1")


def problem(desk: Desk) -> str:
    status = desk.view()
    assert status is not None
    return status.supervisor.problem or ""


def test_on_a_full_disk_a_run_waits_and_goes_on_when_there_is_room(
    desk: Desk, disk: OwnDisk
) -> None:
    """First with the same host, then with the next one: it was killed, and no other can begin."""
    host = desk.host("train-1")
    disk.fill()
    wait_for(lambda: "No space left on device" in problem(desk), "the full disk in the status")
    assert "nothing new starts: the journal cannot be written: No space" in desk("status")
    disk.make_room()
    goes_on(desk)
    assert desk.host("train-1") == host
    disk.fill()
    processes.send(host, signal.SIGKILL)
    wait_for(lambda: not desk.attempts(), "the end of its attempts: polls have gone by")
    disk.make_room()
    desk.wait_for("train-1", "finished")
    assert complete(desk) == TRIALS
    assert not problem(desk)


def test_a_state_folder_that_becomes_read_only_is_waited_for(desk: Desk, disk: OwnDisk) -> None:
    host = desk.host("train-1")
    disk.make_read_only()
    wait_for(lambda: "Read-only file system" in problem(desk), "the disk in the status")
    assert "Read-only file system" in desk("status")
    disk.make_writable()
    goes_on(desk)
    assert desk.host("train-1") == host
    desk.wait_for("train-1", "finished")
    assert complete(desk) == TRIALS
