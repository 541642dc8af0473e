"""A warm start of real runs: what a kill and a resume leave, and how a wrong value is refused.

The study is in the script's own storage. Objectives wait for a file ``go`` of the test's.
"""

from __future__ import annotations

import optuna
import pytest
from optuna.trial import TrialState
from script_runs import Runner

pytestmark = pytest.mark.processes

SCRIPT = """
    import pathlib, time, optuna

    def objective(trial):
        x = trial.suggest_float("x", 0, 1)
        kind = trial.suggest_categorical("kind", ["a", "b"])
        pathlib.Path(f"began-{trial.number}").touch()
        while trial.number > 0 and not pathlib.Path("go").exists():
            time.sleep(0.02)
        return x + (kind == "b")

    study = optuna.create_study(study_name="s", storage="sqlite:///s.db", load_if_exists=True)
    study.enqueue_trial({"x": 0.125, "kind": "b"})
    study.optimize(objective, n_trials=5, catch=(ValueError,))
    print("done")
"""


def study_of(scripts: Runner) -> optuna.Study:
    return optuna.load_study(study_name="s", storage=f"sqlite:///{scripts.own}/s.db")


def test_a_kill_and_a_resume_add_no_setting_twice(scripts: Runner) -> None:
    """From a file and the command line, what is the same once, behind what the script enqueues."""
    (scripts.own / "best.csv").write_text("x,kind\n0.25,b\n0.5,a\n")
    options = ("--best-params", "best.csv", "--best-params", '{"kind": "b", "x": 0.25}')
    going = scripts.begin(SCRIPT, *options)
    going.wait_for_files("began-*", 3)
    run = going.folder.name
    going.kill_host()
    (scripts.own / "go").touch()
    result = scripts.resume(run).ok()
    trials = [t for t in study_of(scripts).trials if t.state == TrialState.COMPLETE]
    settings = [t.params for t in trials if "fixed_params" in t.system_attrs]
    wanted = [{"x": 0.125, "kind": "b"}, {"x": 0.25, "kind": "b"}, {"x": 0.5, "kind": "a"}]
    assert sorted(settings, key=lambda params: params["x"]) == wanted
    assert (len(trials), result.status.complete) == (5, 5)
    shown = result.status.warm_start
    assert shown is not None
    assert (shown.settings, shown.done) == (2, 2)
    assert "2 of 2 settings to try first are done" in scripts.command("status", run).stdout


def test_a_wrong_value_is_refused_and_nothing_of_it_stays(scripts: Runner, way: str) -> None:
    """Also where the script catches what Optuna would raise; there is no traceback of it, and
    nothing waits in its storage for whoever optimizes there next."""
    setting = '[{"x": 0.5, "kind": "c"}, {"x": 0.75}]'
    result = scripts(SCRIPT, "--start", way, "--best-params", setting, "--max-trials", "3")
    assert result.code == 2
    assert "setting 1: kind is 'c', which is none of its choices: 'a', 'b'" in result.err
    assert "Traceback" not in result.err
    assert "done" not in result.out
    assert result.status.state == "interrupted"
    states = {trial.state for trial in study_of(scripts).trials}
    assert states <= {TrialState.FAIL, TrialState.COMPLETE}
