"""The command line in this process, on a state folder of the test's own."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from scheduler.interfaces.cli import main
from scheduler.machine import processes
from scheduler.machine import state as folder
from scheduler.machine.state import StateFolder, find, open_state
from scheduler.machine.summon import ensure_supervisor


@dataclass(frozen=True)
class Said:
    code: int
    out: str
    err: str


Scheduler = Callable[..., Said]


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> StateFolder:
    """Named, not made."""
    monkeypatch.setenv(folder.VARIABLE, str(tmp_path / "state"))
    return find()


@pytest.fixture
def scheduler(state: StateFolder, capfd: pytest.CaptureFixture[str]) -> Scheduler:
    """Calls ``scheduler`` with arguments."""

    def call(*arguments: str) -> Said:
        with pytest.raises(SystemExit) as leaving:
            main(list(arguments))
        said = capfd.readouterr()
        assert isinstance(leaving.value.code, int)
        return Said(leaving.value.code, said.out, said.err)

    return call


@pytest.fixture
def supervisor(state: StateFolder) -> Iterator[int]:
    """A real one; its pid."""
    ensure_supervisor(open_state())
    found = processes.identify(int(state.lock.read_text()))
    assert found is not None
    yield found.pid
    processes.send(found, signal.SIGKILL)
    assert processes.wait_gone(found, 30.0)
