"""What tests of all parts share: a private state folder, real runs, waiting with a deadline."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import script_runs
from script_runs import Runner

# A shell that starts the tests in the background has Ctrl-C ignored, and with them all they start.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A state folder of this test's own, in force for it and for all that it starts."""
    path = tmp_path / "state"
    monkeypatch.setenv(script_runs.VARIABLE, str(path))
    return path


@pytest.fixture(autouse=True)
def _no_configuration(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of whoever runs the tests."""
    monkeypatch.setenv("SCHEDULER_CONFIG", os.devnull)


@pytest.fixture(name="wait_for")
def _wait_for() -> Callable[..., Any]:
    return script_runs.wait_for


@pytest.fixture
def run_script(tmp_path: Path, state: Path) -> Iterator[Runner]:
    """Runs scripts through ``scheduler run``; in the end nothing may be left behind."""
    own = tmp_path / "own"
    own.mkdir()
    runner = Runner(own, state)
    yield runner
    runner.kill_what_runs()
    try:
        script_runs.assert_nothing_left(state)
    finally:
        for pid in script_runs.processes_of(state):
            os.kill(pid, signal.SIGKILL)
