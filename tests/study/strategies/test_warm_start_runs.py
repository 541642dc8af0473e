"""A warm start of real runs: what a kill and a resume leave, and how a wrong value is refused."""

from __future__ import annotations

import json
import signal

import optuna
import pytest
from optuna.trial import TrialState
from script_runs import Runner, wait_for

pytestmark = pytest.mark.processes

SCRIPT = """
    import pathlib, time, optuna

    def objective(trial):
        x = trial.suggest_float("x", 0, HIGH)
        kind = trial.suggest_categorical("kind", ["a", "b"])
        while trial.number > 0 and not pathlib.Path("go").exists():
            time.sleep(0.02)
        return x + (kind == "b")

    study = optuna.create_study(
        study_name="s", storage="sqlite:///s.db", load_if_exists=True,
        sampler=optuna.samplers.RandomSampler())
    study.enqueue_trial({"x": 0.125, "kind": "b"})
    study.optimize(objective, n_trials=5, catch=(ValueError,))
"""


def study_of(scripts: Runner) -> optuna.Study:
    return optuna.load_study(study_name="s", storage=f"sqlite:///{scripts.own}/s.db")


def test_a_kill_and_a_resume_add_no_setting_twice(scripts: Runner, way: str) -> None:
    """From a run's study, a file and the command line, what is the same once."""
    (scripts.own / "best.csv").write_text("x,kind\n0.25,b\n0.5,a\n")
    text = SCRIPT.replace("HIGH", "1")
    options = ("--best-params", "best.csv", "--best-params", '{"kind": "b", "x": 0.25}')
    going = scripts.begin(text, "--start", way, *options)
    # The storage opens while the script makes it: its file is there before its tables are.
    wait_for(lambda: (scripts.own / "began").exists() or going.status_when("running"), "a start")
    wait_for(lambda: sum(t.state.is_finished() for t in study_of(scripts).trials) == 1, "one end")
    going.kill()
    (scripts.own / "go").touch()
    result = scripts.resume(going.run).ok()
    done = [t for t in study_of(scripts).trials if t.state == TrialState.COMPLETE]
    settings = [(t.params["x"], t.params["kind"]) for t in done if "fixed_params" in t.system_attrs]
    assert sorted(settings) == [(0.125, "b"), (0.25, "b"), (0.5, "a")]
    assert len(done) == 5
    assert result.status.warm_start is not None
    assert (result.status.warm_start.settings, result.status.warm_start.done) == (2, 2)
