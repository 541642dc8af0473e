"""What a run says of itself."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import optuna
import pytest

from scheduler.machine.runs import Best, RunStatus, read_whole
from scheduler.study.board import Board, best_of, counted_as, progress_line, time_left_s
from scheduler.study.record import CAPACITY, PUT_BACK


def status(**fields: Any) -> RunStatus:
    return RunStatus(run="r", state="running", host_pid=1, updated_at_s=0.0, **fields)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_progress_line() -> None:
    """All that a glance should tell; what is zero is left out."""
    whole = status(
        study_name="s", n_trials=400, complete=8, pruned=4, failed=1, capacity=2, retried=1,
        running={"a": 1, "b": 2, "c": 3}, best=Best(number=7, value=0.123, params={}),
        started_at_s=1000.0, done_before=5,
    )  # fmt: skip
    assert progress_line(whole, 1100.0) == (
        "[15/400] 3 running, best 0.123 (trial 7), 4 pruned, 1 failed, "
        "2 too big for the device, 1 came back, about 1 h 4 min left"
    )
    assert progress_line(status(), 0.0) == "[0] running"
    assert progress_line(status(hold="waits for memory"), 0.0) == "[0] waits for memory"
    busy = status(hold="waits for memory", running={"a": 1})
    assert "waits" not in progress_line(busy, 0.0)


def test_time_left_is_said_when_it_can_be_known() -> None:
    """Not without an end, not before three trials of this life are done."""
    known = status(n_trials=10, started_at_s=0.0, done_before=2)
    assert time_left_s(known, 4, 30.0) is None
    assert time_left_s(known, 5, 30.0) == 50.0
    assert time_left_s(known, 12, 30.0) == 0.0
    assert time_left_s(status(n_trials=None, started_at_s=0.0), 50, 30.0) is None


def test_what_a_trial_counts_as() -> None:
    """Our own ends apart from the user's; one that still runs counts nowhere."""
    states = optuna.trial.TrialState

    def counted(state: optuna.trial.TrialState, mark: str | None = None) -> str | None:
        attrs = {mark: {}} if mark else {}
        value = 1.0 if state == states.COMPLETE else None
        trial = optuna.trial.create_trial(state=state, value=value, system_attrs=attrs)
        return counted_as(trial)

    assert counted(states.COMPLETE) == "complete"
    assert counted(states.PRUNED) == "pruned"
    assert counted(states.PRUNED, CAPACITY) == "capacity"
    assert counted(states.FAIL) == "failed"
    assert counted(states.FAIL, PUT_BACK) == "retried"
    assert counted(states.RUNNING) is None
    assert counted(states.WAITING) is None


def test_best_of() -> None:
    """None before there is one and with several objectives."""
    study = optuna.create_study(direction="maximize")
    assert best_of(study) is None
    study.optimize(lambda trial: trial.suggest_int("n", 1, 1) * 2.0, n_trials=2)
    assert best_of(study) == Best(number=0, value=2.0, params={"n": 1})
    odd = optuna.create_study()
    odd.enqueue_trial({"f": abs})
    with pytest.warns(UserWarning, match="Choices for a categorical"):
        odd.optimize(lambda trial: float(trial.suggest_categorical("f", [len, abs]) is abs), 1)
    assert best_of(odd) == Best(number=0, value=1.0, params={"f": repr(abs)})
    two = optuna.create_study(directions=["minimize", "minimize"])
    two.optimize(lambda trial: (1.0, 2.0), n_trials=1)
    assert best_of(two) is None


def test_terminal_line_is_drawn_over_itself(tmp_path: Path) -> None:
    """Other lines get room; the same line is not drawn twice."""
    terminal = Terminal()
    board = Board(tmp_path / "status.json", status(study_name="s"), terminal)
    board.refresh()
    board.refresh()
    assert terminal.getvalue() == "\r\x1b[K[0] running"
    board.say("a line")
    assert terminal.getvalue().endswith("\r\x1b[Ka line\n")
    board.refresh()
    assert terminal.getvalue().endswith("a line\n\r\x1b[K[0] running")


def test_warnings_are_said_once(tmp_path: Path) -> None:
    """On the terminal and in the status."""
    terminal = io.StringIO()
    board = Board(tmp_path / "status.json", status(), terminal)
    board.warn("watch out")
    board.warn("watch out")
    board.write()
    assert terminal.getvalue() == "scheduler: watch out\n"
    written = read_whole(tmp_path / "status.json", RunStatus)
    assert written is not None
    assert written.warnings == ("watch out",)
