"""What a run says of itself."""

from __future__ import annotations

import datetime
import io
import math
import time
from pathlib import Path
from typing import Any

import optuna
import pytest

from scheduler.core.model import Attempt, Evidence, Trial
from scheduler.machine.runs import Best, LiveTrial, RunStatus, read_whole
from scheduler.study.board import (
    TIMES_KEPT,
    Board,
    best_of,
    counted_as,
    progress_line,
    time_left_s,
)
from scheduler.study.keeping.record import CAPACITY, PUT_BACK
from scheduler.study.serving.live import Live
from scheduler.study.wall_clock import WallClock


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
    done = study.trials[0].datetime_complete
    assert done is not None
    first = Best(number=0, value=2.0, params={"n": 1}, at_s=done.timestamp())
    assert best_of(study) == first
    assert time.time() - done.timestamp() < 60
    odd = optuna.create_study()
    odd.enqueue_trial({"f": abs})
    with pytest.warns(UserWarning, match="Choices for a categorical"):
        odd.optimize(lambda trial: float(trial.suggest_categorical("f", [len, abs]) is abs), 1)
    best = best_of(odd)
    assert best is not None
    assert (best.number, best.value, best.params) == (0, 1.0, {"f": repr(abs)})
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


def finished(
    state: optuna.trial.TrialState, took_s: float, **attrs: Any
) -> optuna.trial.FrozenTrial:
    value = 1.0 if state == optuna.trial.TrialState.COMPLETE else None
    trial = optuna.trial.create_trial(state=state, value=value, system_attrs=attrs)
    trial.datetime_start = datetime.datetime(2026, 11, 23, 9)
    trial.datetime_complete = trial.datetime_start + datetime.timedelta(seconds=took_s)
    return trial


def test_when_trials_ended_is_kept(tmp_path: Path) -> None:
    """Of every final outcome, not of what came back; how long only where the trial itself decided;
    the last ones only."""
    states = optuna.trial.TrialState
    board = Board(tmp_path / "status.json", status(), io.StringIO())
    before_s = time.time()
    board.count(finished(states.COMPLETE, 7))
    board.count(finished(states.PRUNED, 2))
    board.count(finished(states.PRUNED, 1, **{CAPACITY: "too big"}))
    board.count(finished(states.FAIL, 3))
    board.count(finished(states.FAIL, 4, **{PUT_BACK: {}}))
    assert board.status.durations_s == (7.0, 2.0)
    times = board.status.finished_at_s
    assert len(times) == 4
    assert before_s <= times[0] <= times[-1] <= time.time()
    for _ in range(TIMES_KEPT + 3):
        board.count(finished(states.COMPLETE, 5))
    assert len(board.status.finished_at_s) == len(board.status.durations_s) == TIMES_KEPT
    assert set(board.status.durations_s) == {5.0}


def live(study: optuna.Study) -> Live:
    trial = Trial(run="r", number=0)
    attempt = Attempt(
        id="r/0.1", trial=trial, device="d", promise_bytes=1, cap_bytes=None, started_at_s=0.0
    )
    return Live(attempt=attempt, asked=study.ask())


def test_what_an_attempt_has_reported_is_shown() -> None:
    """Nothing before it is asked for or when its process is gone; params on one line, and no
    number that JSON does not have."""
    study = optuna.create_study()
    one = live(study)
    assert one.shown() == LiveTrial(number=0)
    assert one.asked is not None
    one.asked.suggest_float("x", 0.5, 0.5)
    one.asked.suggest_categorical("long", ["y" * 100])
    with pytest.warns(UserWarning, match="Choices for a categorical"):
        one.asked.suggest_categorical("odd", [abs])  # type: ignore[list-item]
    one.asked.suggest_categorical("none", [None])
    one.asked.suggest_categorical("large", [2**70])
    one.asked.suggest_categorical("infinite", [math.inf])
    for number in range(5):
        one.asked.suggest_int(f"n{number}", 3, 3)
    one.reported(4, 0.25)
    shown = one.shown()
    assert shown is not None
    assert (shown.step, shown.value) == (4, 0.25)
    assert shown.reported_at_s is not None
    assert shown.params == {
        "x": 0.5, "long": "y" * 39 + "…", "odd": repr(abs), "none": None,
        "large": str(2**70), "infinite": "inf", "n0": 3, "n1": 3,
    }  # fmt: skip
    one.reported(5, math.nan)
    shown = one.shown()
    assert shown is not None
    assert (shown.step, shown.value) == (5, None)
    one.evidence = Evidence(exit_code=0)
    assert one.shown() is None
    one.evidence, one.asked = None, None
    assert one.shown() is None


def test_live_values_are_written_with_the_status_and_cost_a_report_nothing(tmp_path: Path) -> None:
    """Asked for when the file is due, not before; the same values are not written again."""
    asked = []
    shown = {"r/0.1": LiveTrial(number=0, step=1, value=0.5)}
    board = Board(tmp_path / "status.json", status(), io.StringIO())
    board.live = lambda: asked.append(1) or shown  # type: ignore[func-returns-value]
    board.write()
    for _ in range(100):
        board.refresh()
    assert len(asked) == 1
    written = read_whole(tmp_path / "status.json", RunStatus)
    assert written is not None
    assert written.live == shown
    changed_ns = (tmp_path / "status.json").stat().st_mtime_ns
    board.write()
    assert (tmp_path / "status.json").stat().st_mtime_ns == changed_ns


class Clocks:
    """The time of day and one that nobody sets, ten seconds later with each look at the board."""

    def __init__(self) -> None:
        self.wall_s, self.steady_s = 1e9, 50.0

    def __call__(self) -> WallClock:
        return WallClock(lambda: self.wall_s, lambda: self.steady_s)

    def go_on(self, board: Board, *, set_by_s: float = 0.0) -> None:
        self.wall_s += 10.0 + set_by_s
        self.steady_s += 10.0
        board.refresh()


def done(number: int, began_s: float, ended_s: float) -> Any:
    """A trial of Optuna's, which keeps local times."""
    trial = optuna.trial.create_trial(state=optuna.trial.TrialState.COMPLETE, value=1.0)
    trial.number = number
    trial.datetime_start = datetime.datetime.fromtimestamp(began_s)
    trial.datetime_complete = datetime.datetime.fromtimestamp(ended_s)
    return trial


@pytest.mark.parametrize("hours", [5.0, -7.0])
def test_a_clock_that_is_set_changes_neither_pace_nor_durations(
    tmp_path: Path, hours: float
) -> None:
    """Also of a trial that is asked for before, and seen to run after it."""
    clocks, by_s = Clocks(), hours * 3600.0
    known = status(started_at_s=1e9 - 100.0, finished_at_s=(1e9 - 20.0,))
    board = Board(tmp_path / "status.json", known, io.StringIO(), clocks())
    began_s = clocks.wall_s
    board.set(running={"r/1.1": 1})
    clocks.go_on(board)
    board.set(running={"r/1.1": 1, "r/2.1": 2})
    clocks.go_on(board, set_by_s=by_s)
    board.set(running={"r/1.1": 1, "r/2.1": 2, "r/3.1": 3})
    clocks.go_on(board)
    for number in (1, 2, 3, 4):
        board.count(done(number, began_s if number < 4 else clocks.wall_s - 7.0, clocks.wall_s))
    assert board.status.started_at_s == known.started_at_s + by_s
    assert board.status.finished_at_s[0] == known.finished_at_s[0] + by_s
    assert board.status.durations_s == (30.0, 20.0, 10.0, 7.0)


def test_a_clock_that_is_kept_right_little_by_little_is_left_alone(tmp_path: Path) -> None:
    clocks = Clocks()
    board = Board(tmp_path / "status.json", status(started_at_s=5.0), io.StringIO(), clocks())
    clocks.go_on(board, set_by_s=1.0)
    assert board.status.started_at_s == 5.0
