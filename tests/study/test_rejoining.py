"""A host without a supervisor: what runs goes on, and is joined with when there is one again."""

from __future__ import annotations

import fcntl
import os
import signal

import pytest
from script_runs import Runner, supervisor_of, wait_for

pytestmark = pytest.mark.processes

SCRIPT = """
    import pathlib, time
    import optuna

    def objective(trial):
        for step in range(10_000):
            trial.report(step, step)
            trial.should_prune()
            pathlib.Path(".step").write_text(str(step))
            pathlib.Path(".step").rename("step")
            if pathlib.Path("go").exists():
                return trial.suggest_float("x", 0, 1)
            time.sleep(0.02)

    study = optuna.create_study(pruner=optuna.pruners.NopPruner())
    study.optimize(objective, n_trials=2)
"""


def test_attempts_report_while_no_supervisor_can_be_started(run_script: Runner) -> None:
    """1. A supervisor is killed, and the next one takes its time. 2. The host waits for it, and
    each attempt for the host, at its next report."""
    going = run_script.begin(SCRIPT, "--max-trials", "1")
    (step,) = going.wait_for_files("step")
    supervisor = supervisor_of(run_script.state)
    assert supervisor is not None
    with open(run_script.state / "supervisor.lock", "a") as lock:
        os.kill(supervisor, signal.SIGKILL)
        fcntl.flock(lock, fcntl.LOCK_EX)  # nobody else becomes the supervisor
        before = int(step.read_text())
        wait_for(lambda: int(step.read_text()) > before + 10, "ten reports")
    (run_script.own / "go").touch()
    result = going.wait().ok()
    assert [trial.state.name for trial in result.study().trials] == ["COMPLETE"] * 2
