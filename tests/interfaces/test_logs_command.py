"""``scheduler logs``: an attempt's output as it was written, or what there is instead."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from scheduler.interfaces.logs import format_ranges
from scheduler.machine.runs import RunStatus, write_whole
from scheduler.machine.state import StateFolder, open_state

Scheduler = Callable[..., Any]


@pytest.fixture
def logs(state: StateFolder) -> Path:
    logs = open_state().run("train-1") / "logs"
    logs.mkdir(parents=True)
    return logs


def test_what_was_printed_comes_out_unchanged(scheduler: Scheduler, logs: Path) -> None:
    (logs / "7.log").write_bytes(b"epoch 1\r\xff\xfeepoch 2")
    said = scheduler("logs", "train-1", "7")
    assert said.code == 0
    assert said.out == b"epoch 1\r\xff\xfeepoch 2".decode("utf-8", "replace")


def test_an_unknown_trial_is_told_which_there_are(scheduler: Scheduler, logs: Path) -> None:
    said = scheduler("logs", "train-1", "9")
    assert (said.code, said.out) == (2, "")
    assert "no trial has printed anything yet" in said.err
    for number in (0, 1, 2, 5):
        (logs / f"{number}.log").touch()
    assert "there are: 0-2, 5" in scheduler("logs", "train-1", "9").err


def test_an_unknown_run_is_told_which_there_are(scheduler: Scheduler, logs: Path) -> None:
    said = scheduler("logs", "other-1", "0")
    assert said.code == 2
    assert "the latest are: train-1" in said.err


@pytest.mark.parametrize("trial", ["-1", "x"])
def test_a_trial_is_a_number(scheduler: Scheduler, logs: Path, trial: str) -> None:
    assert scheduler("logs", "train-1", trial).code == 2


@pytest.mark.parametrize(
    ("numbers", "text"), [([], ""), ([3], "3"), ([0, 1], "0-1"), ([0, 2, 3, 4, 9], "0, 2-4, 9")]
)
def test_ranges(numbers: list[int], text: str) -> None:
    assert format_ranges(numbers) == text


def follow(*arguments: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-c", "from scheduler.interfaces.cli import main; main()"]
    return subprocess.Popen([*command, "logs", "--follow", *arguments], stdout=subprocess.PIPE)


def live(state: StateFolder, at_s: float) -> None:
    """A run whose host is this test, or was somebody else's at *at_s*."""
    status = RunStatus(run="train-1", state="running", host_pid=os.getpid(), updated_at_s=at_s)
    write_whole(state.run("train-1") / "status.json", status)


@pytest.mark.processes
def test_followed_it_goes_on_until_the_run_ends(state: StateFolder, logs: Path) -> None:
    live(state, time.time())
    with open(logs / "0.log", "wb", buffering=0) as log:
        log.write(b"one\n")
        with follow("train-1", "0") as reader:
            assert reader.stdout is not None
            assert reader.stdout.readline() == b"one\n"
            log.write(b"two\n")
            assert reader.stdout.readline() == b"two\n"
            log.write(b"last")
            live(state, 1.0)
            assert reader.stdout.read() == b"last"
    assert reader.returncode == 0


@pytest.mark.processes
def test_ctrl_c_ends_it_quietly(state: StateFolder, logs: Path) -> None:
    live(state, time.time())
    (logs / "0.log").write_bytes(b"one\n")
    with follow("train-1", "0") as reader:
        assert reader.stdout is not None
        assert reader.stdout.readline() == b"one\n"
        reader.send_signal(signal.SIGINT)
        assert reader.stdout.read() == b"\n"
    assert reader.returncode == 0
