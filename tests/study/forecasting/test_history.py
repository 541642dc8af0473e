"""What ends teach, and what an earlier run has taught."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from probes.reading import Device
from scheduler.core.actions import Settle
from scheduler.core.model import Attempt, Budget, Run, Trial, Verdict
from scheduler.machine import peaks
from scheduler.machine.peaks import Peak
from scheduler.machine.runs import RunSpec, write_whole
from scheduler.machine.state import StateFolder
from scheduler.study.forecasting.history import (
    History,
    Shown,
    earlier_run,
    plain,
    seen_of,
    version_of,
)

GIB = 1 << 30
TRIAL = Trial(run="r", number=0)
HOST = Device(key="host", kind="host", name="", total_bytes=16 * GIB, source="", because="")
BUDGETS = {"host": Budget(device=HOST, reserve_bytes=GIB, promise_bytes=2 * GIB, max_attempts=None)}


def end(kind: Any, settlement: Any = "done", **fields: Any) -> Settle:
    attempt = Attempt(
        id="r/0.1", trial=TRIAL, device="host", promise_bytes=4, cap_bytes=5, started_at_s=0.0
    )
    verdict = Verdict(kind=kind, because="", own_cap=fields.pop("own_cap", False))
    return Settle(attempt=attempt, verdict=verdict, settlement=settlement, **fields)


@pytest.mark.parametrize(
    ("settle", "seen"),
    [
        (end("finished", peak_bytes=3), (3, False)),
        (end("finished"), None),
        (end("user_error", peak_bytes=3), (3, False)),
        (end("device_oom", "again", peak_bytes=3, own_cap=True), (5, True)),
        (end("host_oom", "again", peak_bytes=3), (3, True)),
        (end("host_oom", "again"), None),
        (end("stopped", "capacity", peak_bytes=9), (9, True)),
        (end("stopped", "again", peak_bytes=9, again=Trial(run="r", number=0, overruns=1)), (9, 1)),
        (end("stopped", "again", peak_bytes=9, again=TRIAL), None),
        (end("unknown_kill", "again", peak_bytes=9), None),
        (end("gpu_fault", "failed", peak_bytes=9), None),
    ],
)
def test_what_an_end_says_of_the_peak(settle: Settle, seen: tuple[int, bool] | None) -> None:
    assert seen_of(settle, Shown(reported=True)) == seen


def test_what_the_attempt_itself_has_counted_is_heard_where_it_is_more() -> None:
    """A spike between two polls. Alone it says too little: what is shared is not in it."""
    assert seen_of(end("finished", peak_bytes=3), Shown(peak_bytes=7)) == (7, False)
    assert seen_of(end("finished", peak_bytes=9), Shown(peak_bytes=7)) == (9, False)
    assert seen_of(end("finished"), Shown(peak_bytes=7)) is None


def test_what_raised_at_once_may_not_have_held_anything_yet() -> None:
    assert seen_of(end("user_error", peak_bytes=3), Shown()) is None


def test_what_no_forecast_can_go_by_is_left_out() -> None:
    odd = {"t": (1, 2), "nan": float("nan"), "big": 1 << 70, "text": "x" * 999}
    assert plain({"n": 1, "on": True, "none": None, "lr": 0.5, **odd}) == {
        "n": 1,
        "on": True,
        "none": None,
        "lr": 0.5,
    }


def spec(folder: Path, run: str, **fields: Any) -> RunSpec:
    return RunSpec(
        run=Run(id=run),
        kind="script",
        target=fields.pop("target", "train.py"),
        folder=str(folder),
        created_at_s=0.0,
        **fields,
    )


def begun(state: StateFolder, one: RunSpec, *seen: Peak) -> RunSpec:
    folder = state.run(one.run.id)
    folder.mkdir(parents=True)
    write_whole(folder / "run.json", one)
    made = len(list(state.runs.iterdir()))
    os.utime(folder / "run.json", (made, made))
    for peak in seen:
        peaks.append(folder, peak)
    return one


def peak(n: int, *, line: int = 0, kind: str = "host") -> Peak:
    return Peak(line=line, kind=kind, params={"n": n}, bytes=n * GIB, version="old")


def test_a_run_starts_from_the_newest_earlier_one_of_the_same_script(tmp_path: Path) -> None:
    """And says so in its own record, so that a resume needs nobody else's."""
    state = StateFolder(tmp_path / "state")
    (tmp_path / "train.py").write_text("1")
    begun(state, spec(tmp_path, "one"), peak(9))
    begun(state, spec(tmp_path, "two"), peak(2), peak(3, line=1), peak(4, kind="amd"))
    begun(state, spec(tmp_path, "other", target="other.py"), peak(1))
    begun(state, spec(tmp_path, "none-seen"))
    mine = begun(state, spec(tmp_path, "mine"))
    assert earlier_run(state, mine) == "two"
    history = History(state, state.run("mine"), mine, 0)
    history.begin(BUDGETS)
    assert history.forecaster is not None
    assert history.forecaster.belief().count == 1
    assert history.learn(end("finished", peak_bytes=3 * GIB), Shown(params={"n": 3}))
    growing = end("finished", peak_bytes=GIB, was_growing=True)
    assert not history.learn(growing, Shown(params={"n": 5}, pruned=True))
    own = [(one.bytes // GIB, one.taken_from) for one in peaks.read(state.run("mine"))]
    assert own == [(2, "two"), (3, None)]
    again = History(state, state.run("mine"), mine, 0)
    again.begin(BUDGETS)
    assert again.forecaster is not None
    assert again.forecaster.belief().count == 2
    assert again.is_like({"n": 1, "more": 2})
    assert not again.is_like({"more": 2})


def test_whose_peaks_it_starts_from_can_be_said(tmp_path: Path) -> None:
    state = StateFolder(tmp_path / "state")
    begun(state, spec(tmp_path, "one"), peak(9))
    begun(state, spec(tmp_path, "two"), peak(2))
    assert earlier_run(state, spec(tmp_path, "mine", memory_from="one")) == "one"
    assert earlier_run(state, spec(tmp_path, "mine", memory_from="none")) is None


def test_other_code_and_other_arguments_are_another_version(tmp_path: Path) -> None:
    script = tmp_path / "train.py"
    script.write_text("1")
    first = version_of(spec(tmp_path, "r"))
    assert version_of(spec(tmp_path, "r", arguments=("--data", "big"))) != first
    assert version_of(spec(tmp_path, "other")) == first
    script.write_text("2")
    assert version_of(spec(tmp_path, "r")) != first
    script.unlink()
    assert version_of(spec(tmp_path, "r")) == ""
