"""``scheduler submit``, ``start`` and ``stop``: what they say where nothing can be done."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from scheduler.interfaces import submit as submit_command
from scheduler.machine.runs import RunSpec, read_whole
from scheduler.machine.state import StateFolder
from scheduler.machine.summon import NoSupervisor

Scheduler = Callable[..., Any]


@pytest.fixture(autouse=True)
def script(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "here").mkdir()
    (tmp_path / "here/train.py").touch()
    monkeypatch.chdir(tmp_path / "here")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((), "say what to run"),
        (("missing.py",), "there is no script 'missing.py'"),
        (("--after", "gone-1", "train.py"), "--after gone-1: there is no such run"),
        (("--priority", "high", "train.py"), "priority"),
        (("--resume", "train-1"), "--resume"),
    ],
)
def test_bad_input_is_told_and_changes_nothing(
    scheduler: Scheduler, state: StateFolder, arguments: tuple[str, ...], words: str
) -> None:
    said = scheduler("submit", *arguments)
    assert (said.code, said.out) == (2, "")
    assert words in said.err
    assert not state.path.exists()


def test_without_a_supervisor_no_run_is_left_behind(
    scheduler: Scheduler, state: StateFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: StateFolder, *, lasting: bool) -> None:
        assert lasting
        raise NoSupervisor("it ended at once", "/log", "Traceback")

    monkeypatch.setattr(submit_command, "ensure_supervisor", fail)
    said = scheduler("submit", "train.py")
    assert said.code == 1
    assert "it ended at once; it said:\nTraceback" in said.err
    assert state.run_ids() == []


def test_what_is_asked_is_written_down(
    scheduler: Scheduler, state: StateFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(submit_command, "ensure_lasting", lambda state: None)
    monkeypatch.setattr(submit_command, "_order", lambda *_: None)
    first = scheduler("submit", "train.py")
    assert (first.code, first.out) == (0, "train-1\n")
    second = scheduler(
        "submit", "--priority", "3", "--after", "train-1", "--name", "b", "train.py", "--priority"
    )
    assert second.out == "b-1\n"
    spec = read_whole(state.run("b-1") / "run.json", RunSpec)
    assert spec is not None
    assert (spec.kept, spec.priority, spec.run.priority, spec.after) == (True, 3, 3, ("train-1",))
    assert spec.arguments == ("--priority",)


def test_there_is_nothing_to_stop(scheduler: Scheduler, state: StateFolder) -> None:
    said = scheduler("stop")
    assert (said.code, said.out) == (0, "no supervisor runs\n")
    said = scheduler("stop", "--drain", "--now")
    assert said.code == 2
    assert "choose one" in said.err


def test_a_wrong_configuration_is_told_by_start(
    scheduler: Scheduler, state: StateFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tmp_path / "config.toml"
    config.write_text("[queue]\nruns_at_onec = 2\n")
    monkeypatch.setenv("SCHEDULER_CONFIG", str(config))
    said = scheduler("start")
    assert said.code == 1
    assert "runs_at_onec" in said.err
    assert "Traceback" not in said.err
