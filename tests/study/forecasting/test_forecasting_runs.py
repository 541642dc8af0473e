"""Whole runs on the host's RAM whose memory depends on their parameters.

What an earlier run of the same script has seen is made up, so that the parameters are known to
matter from the first trial on, and some are known to need more than any machine has.
"""

from __future__ import annotations

import json
import time
from typing import Any

import optuna
import pytest
from optuna.trial import TrialState
from script_runs import Going, Result, Runner, wait_for

from scheduler.core.model import Run
from scheduler.machine import peaks
from scheduler.machine.peaks import Peak
from scheduler.machine.runs import RunSpec, write_whole
from scheduler.study.keeping.record import FIXED, MARK, UNRUN, WITHDRAWN
from scheduler.study.keeping.storage import DurableStorage

pytestmark = pytest.mark.processes
MIB = 1 << 20
NEEDED = {"small": 20 * MIB, "big": 120 * MIB, "huge": 1 << 44}

#: Three settings first, since nothing can be asked ahead before a trial has shown its parameters.
SCRIPT = """
    import optuna, pathlib, tell, time

    def objective(trial):
        size = trial.suggest_categorical("size", ["small", "big", "huge"])
        x = trial.suggest_float("x", 0, 1)
        pathlib.Path(f"ran-{size}-{trial.number}").touch()
        held = bytearray({"small": 20, "big": 120, "huge": 1}[size] << 20)
        held[::4096] = b"1" * len(held[::4096])
        time.sleep(0.6)
        while trial.number >= FREE and not pathlib.Path("go").exists():
            time.sleep(0.02)
        return x

    def called(study, trial):
        numbers.append(trial.number)
        if len(numbers) == STOP:
            study.stop()

    numbers = []
    study = optuna.create_study(sampler=optuna.samplers.TPESampler(seed=3, n_startup_trials=5))
    for size in ("small", "big", "small"):
        study.enqueue_trial({"size": size})
    study.optimize(objective, n_trials=TRIALS, callbacks=[called])
    tell.say(called=sorted(numbers))
"""


def script(trials: int | None, *, stop: int = 0, free: int = 1000) -> str:
    text = SCRIPT.replace("TRIALS", str(trials)).replace("STOP", str(stop))
    return text.replace("FREE", str(free))


@pytest.fixture(autouse=True)
def _earlier(scripts: Runner) -> None:
    folder = scripts.state / "runs" / "earlier-1"
    folder.mkdir(parents=True, mode=0o700)
    scripts.state.chmod(0o700)
    spec = RunSpec(
        run=Run(id="earlier-1"),
        kind="script",
        target=str(scripts.own / "script.py"),
        folder=str(scripts.own),
        created_at_s=time.time(),
    )
    write_whole(folder / "run.json", spec)
    for n in range(24):
        size = ("small", "big", "huge")[n % 3]
        params = {"size": size, "x": (0.37 * n) % 1}
        held = int(NEEDED[size] * (1 + 0.01 * (n % 5)))
        peaks.append(folder, Peak(line=0, kind="host", params=params, bytes=held))


def marked(trial: optuna.trial.FrozenTrial) -> dict[str, Any]:
    mark: dict[str, Any] = trial.system_attrs[MARK]["trial"]
    return mark


def assert_each_trial_ended_once(result: Result, trials: int) -> None:
    ours = [one for one in result.study().trials if UNRUN not in one.system_attrs]
    assert all(one.state.is_finished() for one in ours)
    done = [marked(one)["number"] for one in ours if one.state == TrialState.COMPLETE]
    assert (len(done), len(set(done))) == (trials, trials)


def test_promises_follow_parameters_and_what_fits_nowhere_is_not_run(scripts: Runner) -> None:
    """Candidates that are too big are told to the sampler, with their parameters; they cost no
    trial and no callback."""
    result = scripts(script(7)).ok()
    assert_each_trial_ended_once(result, 7)
    trials = result.study().trials
    unrun = [one for one in trials if UNRUN in one.system_attrs]
    assert {one.params["size"] for one in unrun} == {"huge"}
    assert {one.state for one in unrun} == {TrialState.PRUNED}
    assert not list(scripts.own.glob("ran-huge-*"))
    assert len(result.said["called"]) == 7
    assert not {one.number for one in unrun} & set(result.said["called"])
    assert (result.status.complete, result.status.unrun) == (7, len(unrun))
    promises = [
        (one.params["size"], marked(one)["want_bytes"])
        for one in trials
        if one.state == TrialState.COMPLETE and marked(one)["number"] > 2
    ]
    of = {size: [want for name, want in promises if name == size] for size in ("small", "big")}
    assert of["small"]
    assert of["big"]
    assert max(of["small"]) < min(of["big"])

    report = json.loads(scripts.command("forecast", result.run or "", "--json").stdout)
    (call,) = report["calls"]
    assert (call["level"], call["taken"], call["taken_from"]) == ("model", 24, "earlier-1")
    assert call["drivers"][0]["name"] == "size"
    assert call["count"] > 24
    said = scripts.command("forecast", result.run or "").stdout
    assert f"{len(unrun)} candidates that no device could hold" in said


def candidates(going: Going) -> int:
    """Of trials that were asked for and have not begun."""
    storage = DurableStorage(going.folder / "study-0.db")
    (known,) = storage.get_all_studies()
    trials = storage.get_all_trials(known._study_id, states=(TrialState.RUNNING,))
    return sum(one.system_attrs[MARK]["candidate"] for one in trials)


def test_candidates_outlive_a_kill(scripts: Runner) -> None:
    """Each has one outcome in the end, and there are as many as were asked for."""
    going = scripts.begin(script(7, free=3))
    going.wait_for_files("ran-*", 4)
    going.wait_for(lambda: candidates(going) >= 2, "two candidates that wait")
    going.kill_host()
    assert going.run is not None
    (scripts.own / "go").touch()
    result = scripts.resume(going.run).ok()
    assert_each_trial_ended_once(result, 7)
    assert result.status.complete == 7


def test_what_was_asked_for_and_never_began_is_not_left_running(scripts: Runner) -> None:
    """``study.stop()``: the candidates count nowhere, nobody hears of them."""
    going = scripts.begin(script(None, stop=3, free=2))
    going.wait_for_files("ran-*", 4)
    going.wait_for(lambda: candidates(going) >= 1, "a candidate that waits")
    (scripts.own / "go").touch()
    result = going.wait().ok()
    left = [one for one in result.study().trials if WITHDRAWN in one.system_attrs]
    assert left
    assert {one.state for one in left} == {TrialState.FAIL}
    enqueued = [one for one in result.study().trials if FIXED in one.system_attrs]
    others = [one for one in result.study().trials if one not in enqueued]
    assert {one.state for one in enqueued} <= {TrialState.COMPLETE, TrialState.WAITING}
    assert all(one.state.is_finished() for one in others)
    assert result.status.failed == 0
    assert not {one.number for one in left} & set(result.said["called"])
    wait_for(lambda: (result.folder / peaks.FILE).is_file(), "the record of peaks")
