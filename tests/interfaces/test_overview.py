"""What is reckoned from a run's status and the supervisor's word, before it is shown."""

from __future__ import annotations

import os
from typing import Any

import msgspec
import pytest

from scheduler.core.model import Attempt, Run, Trial
from scheduler.core.view import AttemptView
from scheduler.interfaces.overview import (
    Progress,
    RunOverview,
    ages_of,
    placed,
    progress_of,
    read_overview,
)
from scheduler.machine import processes
from scheduler.machine.runs import RunSpec, RunStatus, State, write_whole
from scheduler.machine.state import StateFolder, open_state

NOW_S = 1_000_000.0


def status(**fields: Any) -> RunStatus:
    """Of ten trials in an hour, two at once at the end, each of 100 s."""
    known: dict[str, Any] = {
        "run": "train-1",
        "state": "running",
        "host_pid": 7,
        "updated_at_s": NOW_S,
        "started_at_s": NOW_S - 3600.0,
        "n_trials": 14,
        "complete": 5,
        "pruned": 3,
        "capacity": 2,
        "finished_at_s": tuple(NOW_S - 50.0 * back for back in reversed(range(10))),
        "durations_s": (100.0,) * 8,
        "running": {"train-1/10.1": 10, "train-1/11.1": 11},
    }
    return RunStatus(**{**known, **fields})


def attempt(number: int, age_s: float, state: Any = "running") -> AttemptView:
    return AttemptView(
        attempt=Attempt(
            id=f"train-1/{number}.1",
            trial=Trial(run="train-1", number=number),
            device="host",
            promise_bytes=1,
            cap_bytes=None,
            started_at_s=NOW_S - age_s,
        ),
        state=state,
        process=None,
        held_bytes=None,
        peak_bytes=None,
    )


ATTEMPTS = (attempt(10, 40.0), attempt(11, 90.0), attempt(9, 99.0, "releasing"))


def test_a_clock_that_was_set_makes_no_attempt_old() -> None:
    """This process is younger than five hours; one that is unknown is believed to be as old as it
    seems."""
    known = processes.identify(os.getpid())
    young = msgspec.structs.replace(attempt(10, 5 * 3600.0), process=known)
    assert ages_of((young,), NOW_S)[0] < 3600.0
    assert ages_of((attempt(10, 5 * 3600.0),), NOW_S) == [5 * 3600.0]
    assert ages_of((msgspec.structs.replace(young, state="releasing"),), NOW_S) == []
    assert ages_of((msgspec.structs.replace(attempt(1, -9.0), process=known),), NOW_S) == [0.0]


def progress(of: RunStatus, *, goes_on: bool = True, is_paused: bool = False) -> Progress:
    return progress_of(of, ages_of(ATTEMPTS, NOW_S), NOW_S, goes_on=goes_on, is_paused=is_paused)


def test_of_a_run_that_goes_on() -> None:
    found = progress(status())
    assert found.done == 10
    assert found.trials_an_hour == 10.0
    assert found.trials_an_hour_now == 10.0
    assert found.pruned_share == 0.3
    assert found.too_big_share == 0.2
    assert found.left is not None
    # 60 s and 10 s to go; one more behind each: at 160 s and 110 s
    assert found.left.about_s == pytest.approx(160.0)


def test_what_came_back_makes_it_longer() -> None:
    found, longer = progress(status()), progress(status(retried=10))
    assert found.left is not None
    assert longer.left is not None
    assert longer.left.about_s > found.left.about_s


def test_what_was_done_in_an_earlier_life_is_done_but_not_its_pace() -> None:
    found = progress(status(done_before=6))
    assert found.done == 10
    assert found.trials_an_hour == 4.0


@pytest.mark.parametrize(
    "fields",
    [{"n_trials": None}, {"durations_s": (1.0, 2.0)}],
)
def test_without_an_end_or_a_past_nothing_is_foretold(fields: dict[str, Any]) -> None:
    assert progress(status(**fields)).left is None


def test_a_paused_run_has_a_pace_and_no_end() -> None:
    found = progress(status(), is_paused=True)
    assert found.left is None
    assert found.trials_an_hour_now is not None


def test_a_run_that_is_over_keeps_the_pace_it_had() -> None:
    found = progress(status(updated_at_s=NOW_S - 1800.0), goes_on=False)
    assert found.trials_an_hour == 20.0
    assert found.trials_an_hour_now is None
    assert found.left is None


def test_a_run_that_has_done_all_is_done_now() -> None:
    found = progress(status(n_trials=10))
    assert found.left is not None
    assert found.left.high_s == 0.0


def test_without_a_supervisor_it_is_told_from_the_status_alone() -> None:
    found = progress_of(status(), (), NOW_S, goes_on=True, is_paused=False)
    assert found.left is not None
    assert found.left.about_s == 200.0


def spec(run: str, *, priority: int, at_s: float) -> RunSpec:
    return RunSpec(
        run=Run(id=run),
        kind="script",
        target="train.py",
        folder="/",
        created_at_s=at_s,
        priority=priority,
        kept=True,
    )


def test_the_queue_goes_by_priority_then_by_age() -> None:
    asked = {"old": (0, 1.0), "new": (0, 2.0), "urgent": (9, 3.0)}
    runs = [
        RunOverview(id=run, state="queued", spec=spec(run, priority=priority, at_s=at_s))
        for run, (priority, at_s) in asked.items()
    ]
    runs.append(RunOverview(id="other", state="running", spec=spec("other", priority=0, at_s=0.0)))
    assert [run.place for run in placed(runs)] == [2, 3, 1, None]


def make(state: StateFolder, run: str, now: State, number: int) -> None:
    state.run(run).mkdir(mode=0o700)
    write_whole(state.run(run) / "run.json", spec(run, priority=0, at_s=float(number)))
    said = RunStatus(run=run, state=now, host_pid=0, updated_at_s=float(number))
    write_whole(state.run(run) / "status.json", said)


def test_one_run_is_told_with_its_place_among_the_others(state: StateFolder) -> None:
    opened = open_state()
    for number, now in enumerate(("finished", "queued", "cancelled", "queued")):
        make(opened, f"run-{number}", now, number)  # type: ignore[arg-type]
    (only,) = read_overview(opened, "run-3").runs
    assert (only.id, only.place) == ("run-3", 2)
    (over,) = read_overview(opened, "run-0").runs
    assert (over.id, over.state) == ("run-0", "finished")


def test_a_report_reads_back_as_it_was_said(state: StateFolder) -> None:
    opened = open_state()
    make(opened, "run-1", "queued", 1)
    report = read_overview(opened)
    assert msgspec.json.decode(msgspec.json.encode(report), type=type(report)) == report
