"""What a run leaves behind: its folder, and nothing that runs."""

from __future__ import annotations

import os
import signal

import pytest
import script_runs
from script_runs import Runner

pytestmark = pytest.mark.processes

SHORT = """
    import optuna
    study = optuna.create_study()
    study.optimize(lambda trial: trial.suggest_float("x", 0, 1), n_trials=2)
"""


def test_the_supervisor_leaves_by_itself_after_the_last_run(run_script: Runner) -> None:
    """Nobody has to stop the supervisor that a run started in the background."""
    run_script(SHORT).ok()
    pid = script_runs.supervisor_of(run_script.state)
    assert pid is not None
    script_runs.wait_for(lambda: not script_runs.processes_of(run_script.state), "its end")
    assert script_runs.sockets_of(run_script.state) == []


def test_what_is_left_is_found(run_script: Runner) -> None:
    """The check at the end of each of these tests sees a process that a run leaves behind."""
    text = """
        import optuna, os, subprocess, sys
        def objective(trial):
            child = subprocess.Popen(["sleep", "60"], start_new_session=True)
            print("left", child.pid, flush=True)
            return 0.0
        optuna.create_study().optimize(objective, n_trials=1)
    """
    result = run_script(text).ok()
    left = int(result.log(0).split()[-1])
    if left not in script_runs.processes_of(run_script.state):
        pytest.skip("the supervisor has ended what an attempt had left")
    with pytest.raises(pytest.fail.Exception):
        script_runs.wait_for(
            lambda: script_runs._only_supervisor(run_script.state), "the end of all", 0.5
        )
    os.kill(left, signal.SIGKILL)
