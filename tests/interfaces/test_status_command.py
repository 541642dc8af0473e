"""``scheduler status`` and ``devices``: what is so, in words for a newcomer and as JSON."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from scheduler.core.model import Run
from scheduler.interfaces.overview import OVER_SHOWN, Overview
from scheduler.machine import state as folder
from scheduler.machine.runs import RunSpec, RunStatus, State, write_whole
from scheduler.machine.state import StateFolder, new_run, open_state

Scheduler = Callable[..., Any]
LONG_AGO_S = 1.0


def add_run(state: StateFolder, now: State | None, at_s: float, **fields: Any) -> str:
    """A run's folder as a host leaves it, of a host that is this test."""
    run = new_run(open_state(), "train")
    spec = RunSpec(run=Run(id=run), kind="script", target="train.py", folder="/", created_at_s=at_s)
    write_whole(state.run(run) / "run.json", spec)
    if now is not None:
        status = RunStatus(run=run, state=now, host_pid=os.getpid(), updated_at_s=at_s, **fields)
        write_whole(state.run(run) / "status.json", status)
    return run


def test_with_nothing_there_it_says_how_to_begin(scheduler: Scheduler, state: StateFolder) -> None:
    said = scheduler("status")
    assert said.code == 0
    assert "no supervisor is running" in said.out
    assert "scheduler run SCRIPT" in said.out
    assert not state.path.exists()


@pytest.mark.parametrize(
    ("now", "at_s", "shown"),
    [
        ("running", None, "train-1  running"),
        ("finished", LONG_AGO_S, "train-1  finished"),
        (
            "running",
            LONG_AGO_S,
            "train-1  interrupted  its process is gone; to go on: scheduler run --resume",
        ),
        ("interrupted", None, "; to go on: scheduler run --resume train-1"),
        ("failed", LONG_AGO_S, "train-1  failed"),
        (None, None, "train-1  starting"),
        (None, LONG_AGO_S, "train-1  interrupted"),
    ],
)
def test_a_run_is_what_it_is_now_not_what_it_last_said(
    scheduler: Scheduler, state: StateFolder, now: State | None, at_s: float | None, shown: str
) -> None:
    add_run(state, now, time.time() if at_s is None else at_s)
    assert shown in scheduler("status").out


def test_a_status_that_cannot_be_read_harms_nothing(
    scheduler: Scheduler, state: StateFolder
) -> None:
    run = add_run(state, "running", time.time())
    (state.run(run) / "status.json").write_text("{")
    told = scheduler("status").out
    assert "train-1  unknown\n  problem its status.json cannot be read" in told


def test_of_the_runs_that_are_over_the_last_are_shown(
    scheduler: Scheduler, state: StateFolder
) -> None:
    for age in range(OVER_SHOWN + 3):
        run = add_run(state, "finished" if age % 2 else "running", LONG_AGO_S)
        os.utime(state.run(run) / "run.json", (age, age))
    report = msgspec.json.decode(scheduler("status", "--json").out, type=Overview)
    assert [run.id for run in report.runs] == [f"train-{n}" for n in (8, 7, 6, 5, 4)]
    assert "train-2  finished" in scheduler("status", "train-2").out


def test_an_unknown_run_is_told_which_there_are(scheduler: Scheduler, state: StateFolder) -> None:
    add_run(state, "finished", LONG_AGO_S)
    said = scheduler("status", "train-9")
    assert said.code == 2
    assert "the latest are: train-1" in said.err


@pytest.mark.processes
def test_a_supervisor_is_asked(scheduler: Scheduler, supervisor: int) -> None:
    said = scheduler("status")
    assert f"supervisor: pid {supervisor}, up " in said.out
    assert "host RAM" in said.out
    report = json.loads(scheduler("status", "--json").out)
    assert report["supervisor"]["pid"] == supervisor


def test_one_that_answers_wrongly_is_told(scheduler: Scheduler, state: StateFolder) -> None:
    with folder.listen(open_state(), folder.CONTROL) as listener:
        command = [sys.executable, "-c", "from scheduler.interfaces.cli import main; main()"]
        asking = subprocess.Popen([*command, "status"], stderr=subprocess.PIPE, text=True)
        peer, _ = listener.accept()
        with peer:
            peer.recv(4096)
            peer.sendall(b"HTTP/1.1 200 OK\r\n\r\n{}")
        _, said = asking.communicate(timeout=60)
    assert asking.returncode == 1
    assert "the supervisor does not answer as it should" in said


@pytest.mark.processes
@pytest.mark.parametrize("on_terminal", [True, False])
def test_watched_it_is_shown_again_and_ends_with_ctrl_c(
    state: StateFolder, supervisor: int, on_terminal: bool
) -> None:
    ours, theirs = os.openpty() if on_terminal else os.pipe()
    command = [sys.executable, "-c", "from scheduler.interfaces.cli import main; main()"]
    watching = subprocess.Popen([*command, "status", "--watch"], stdout=theirs)
    os.close(theirs)
    seen = b""
    while seen.count(b"supervisor: pid") < 2 or b"free" not in seen:
        seen += os.read(ours, 4096)
    watching.send_signal(signal.SIGINT)
    assert watching.wait(20.0) == 0
    assert (b"\x1b[H" in seen) == on_terminal
    os.close(ours)


@pytest.mark.parametrize("command", ["status", "devices", "logs"])
def test_it_imports_nothing_heavy(state: StateFolder, command: str, tmp_path: Path) -> None:
    """That is what keeps it under 200 ms (bench/ measures it)."""
    code = (
        "import sys\n"
        "from scheduler.interfaces.cli import main\n"
        "try: main()\n"
        "finally: print(sorted(sys.modules), file=sys.stderr)\n"
    )
    arguments = [command, *(["x", "1"] if command == "logs" else [])]
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True)
    modules = done.stderr.rpartition("[")[2]
    for heavy in ("optuna", "numpy", "torch", "rich", "asyncio", "http.client", "uvicorn"):
        assert f"'{heavy}'" not in modules
    assert "'click'" in modules


def test_the_version_and_the_commands(scheduler: Scheduler) -> None:
    assert scheduler("--version").out.startswith("scheduler 0.")
    helped = scheduler("--help").out
    assert all(name in helped for name in ("run", "status", "devices", "logs"))
    assert scheduler("unheard-of").code == 2
