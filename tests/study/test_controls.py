"""Pruning in real runs: controls run on to their end, through a kill of the host as well."""

from __future__ import annotations

import pytest
from optuna.trial import FrozenTrial, TrialState
from script_runs import Runner

from scheduler.study.strategies.history import CONTROL, VERDICT

pytestmark = pytest.mark.processes

#: Each trial is to be pruned at its second step. ``go`` lets them come to their end.
SCRIPT = """
    import pathlib, time
    import optuna, scheduler, tell

    def train(x):
        for step in range(4):
            while step == 3 and not pathlib.Path("go").exists():
                pathlib.Path(f"waits-{x}").touch()
                time.sleep(0.01)
            scheduler.report(x, step)
            if scheduler.should_prune():
                raise optuna.TrialPruned

    class Second(optuna.pruners.BasePruner):
        def prune(self, study, trial):
            return trial.last_step >= 1

    def objective(trial):
        x = trial.suggest_float("x", 0, 1)
        train(x)
        return x

    study = optuna.create_study(pruner=Second())
    study.optimize(objective, n_trials=TRIALS)
    tell.say(pruner=type(study.pruner).__name__)
"""


def marks(trials: list[FrozenTrial]) -> list[tuple[str, int | None]]:
    """Each trial's state and the step at which its verdict fell, by number."""
    found = []
    for trial in trials:
        mark = trial.system_attrs.get(CONTROL) or trial.system_attrs.get(VERDICT) or {}
        found.append((trial.state.name, mark.get("step")))
    return found


def test_some_verdicts_are_not_carried_out(scripts: Runner) -> None:
    """They are counted as what they are, said at the end, and shown in `status`."""
    config = scripts.write("[pruning]\ncontrols = 0.5\nlimit = 1.0\n", "config.toml")
    (scripts.own / "go").touch()
    text = SCRIPT.replace("TRIALS", "10")
    result = scripts(text, environment={"SCHEDULER_CONFIG": str(config)}).ok()
    trials = result.study().trials
    controls = [trial for trial in trials if trial.state == TrialState.COMPLETE]
    assert set(marks(trials)) == {("COMPLETE", 1), ("PRUNED", 1)}
    assert all(CONTROL in trial.system_attrs and trial.last_step == 3 for trial in controls)
    shown = result.status.pruning
    assert shown is not None
    assert (shown.pruned, shown.controls) == (10 - len(controls), len(controls))
    assert (result.status.pruned, result.status.complete) == (shown.pruned, shown.controls)
    assert result.said["pruner"] == "Second"
    assert f"scheduler: {shown.sentence}" in result.err
    assert str(shown.sentence).startswith("pruning saved ")
    assert "the script's Second: saved " in scripts.command("status", str(result.run)).stdout


def test_a_control_is_one_after_a_kill_of_its_host(scripts: Runner) -> None:
    config = scripts.write("[pruning]\ncontrols = 1.0\nlimit = 1.0\n", "config.toml")
    environment = {"SCHEDULER_CONFIG": str(config)}
    text = SCRIPT.replace("TRIALS", "1")
    going = scripts.begin(text, environment=environment)
    going.wait_for_files("waits-*")
    going.kill_host()
    (scripts.own / "go").touch()
    result = scripts.resume(going.folder.name, environment).ok()
    assert marks(result.study().trials) == [("FAIL", 1), ("COMPLETE", 1)]
    assert result.status.pruning is not None
    assert (result.status.pruning.controls, result.status.pruned) == (1, 0)
