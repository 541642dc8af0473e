"""A real run's budget, and what its user sets of it while it goes on.

Objectives wait for a file ``go`` of the test's, so that nothing ends before the test wants it to.
"""

from __future__ import annotations

import json
import subprocess

import pytest
from script_runs import Going, Runner

from scheduler.machine.runs import RunStatus

pytestmark = pytest.mark.processes

SCRIPT = """
    import json, os, pathlib, time
    import optuna

    def objective(trial):
        trial.suggest_float("x", 0, 1)
        pathlib.Path(f"began-{trial.number}").touch()
        while trial.number >= FREE and not pathlib.Path("go").exists():
            time.sleep(0.01)
        return trial.number / 10

    study = optuna.create_study(direction="maximize")
    study.optimize(objective, n_trials=4)
    print(json.dumps([trial.state.name for trial in study.trials]))
"""
ONE = ("--max-trials", "1")


def script(free: int) -> str:
    """*free*: trials that wait for nothing."""
    return SCRIPT.replace("FREE", str(free))


def recorded(runner: Runner, run: str) -> list[tuple[str, str, str]]:
    said = json.loads(runner.command("rollbacks", run, "--json").stdout)
    return [(one["what"], one["after"], one["by"]) for one in said["changes"]]


def running_of(going: Going) -> RunStatus | None:
    """Its own host's word, once trials run; what a killed one has left does not count."""
    status = going.status
    if status is None or status.host_pid != going.process.pid or not status.running:
        return None
    return status


def test_the_target_ends_a_run_and_the_chronicle_tells(run_script: Runner) -> None:
    done = run_script(script(9), "--target", "0.1", *ONE).ok()
    assert done.said == ["COMPLETE"] * 2
    assert done.run is not None
    assert recorded(run_script, done.run) == [("budget", "ends by its target, 0.1", "scheduler")]
    assert "trial 1 is as good as the target, 0.1" in done.err
    events = run_script.command("events", "--run", done.run).stdout
    assert f"budget of {done.run}: goes on to 4 trials -> ends by its target" in events


def test_a_floor_extends_once_also_over_a_kill(run_script: Runner) -> None:
    """The run has gone on to six trials when its host is killed."""
    going = run_script.begin(script(4), "--floor", "9", *ONE)
    run = going.folder.name
    going.wait_for_files("began-4")
    going.kill_host()
    again = run_script.begin_resume(run)
    status = again.wait_for(lambda: running_of(again), "a trial after the kill")
    assert status.n_trials == 6
    (run_script.own / "go").touch()
    done = again.wait().ok()
    assert sorted(set(done.said)) == ["COMPLETE", "FAIL"]
    assert done.said.count("COMPLETE") == 6
    assert recorded(run_script, run) == [("budget", "up to 6 trials", "scheduler")]


def test_what_is_set_while_a_run_goes_on(run_script: Runner) -> None:
    """Acknowledged by the host, in the record as the user's, undone, and obeyed."""
    going = run_script.begin(script(0), *ONE)
    going.wait_for_files("began-0")
    run = going.folder.name

    def told(*words: str) -> subprocess.CompletedProcess[str]:
        done = run_script.command(*words)
        assert done.returncode == 0, done.stderr
        return done

    said = told("set", run, "pruning=none", "n_trials=2", "target=0.05").stdout
    assert "pruning: default -> none" in said
    assert "budget: 4 trials -> 2 trials" in said
    told("set", run, "max_trials=2")
    going.wait_for_files("began-1")
    assert recorded(run_script, run) == [
        ("budget", "2 trials", "you"),
        ("budget", "target 0.05", "you"),
        ("pruning", "none", "you"),
        ("concurrency", "2 at once", "you"),
    ]
    assert "budget: target 0.05 -> no target" in told("rollbacks", run, "--undo", "2").stdout
    (run_script.own / "go").touch()
    _finish(going)


def _finish(going: Going) -> None:
    assert going.wait().ok().said == ["COMPLETE"] * 2
