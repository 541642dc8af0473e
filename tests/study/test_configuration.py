"""A set-up in which no trial can run: the run stops with the reason, and loses nothing.

Objectives raise what torch raises without a GPU until the test mends it with a file ``fixed``.
"""

from __future__ import annotations

import collections

import pytest
from script_runs import Result, Runner

pytestmark = pytest.mark.processes

NO_GPU = """
    import optuna, pathlib, tell

    def objective(trial):
        x = trial.suggest_float("x", 0, 1)
        if not pathlib.Path("fixed").exists():
            raise RuntimeError("No HIP GPUs are available")
        return x

    study = optuna.create_study()
    study.enqueue_trial({"x": 0.25})
    study.optimize(objective, n_trials=N_TRIALS, catch=(Exception,))
    tell.say(states=[t.state.name for t in study.trials])
"""


def finals(result: Result) -> collections.Counter[str]:
    """States of the trials that were not put back, by their number."""
    trials = result.study().trials
    back = {trial.system_attrs.get("failed_trial") for trial in trials}
    return collections.Counter(t.state.name for t in trials if t.number not in back)


def mend(scripts: Runner, stopped: Result) -> Result:
    (scripts.own / "fixed").touch()
    assert stopped.run is not None
    return scripts.resume(stopped.run).ok()


@pytest.mark.parametrize(("way", "n_trials"), [("fork", 50), ("re-run", 5)])
def test_no_gpu_stops_the_run_at_once_whatever_catch_names(
    scripts: Runner, way: str, n_trials: int
) -> None:
    """Exit code 1, the user's exception, what to do; after that all trials run, that one too."""
    stopped = scripts(NO_GPU.replace("N_TRIALS", str(n_trials)), "--start", way)
    assert stopped.code == 1, stopped
    assert 'raise RuntimeError("No HIP GPUs are available")' in stopped.err
    assert stopped.err.count("every trial would end so") == 1
    last = stopped.err.strip().splitlines()[-1]
    assert last.endswith(f"go on with: scheduler run --resume {stopped.run}")
    assert (stopped.status.state, stopped.status.failed) == ("interrupted", 0)
    assert "No HIP GPUs are available" in (stopped.status.error or "")
    assert 1 <= len(stopped.study().trials) <= 4
    assert set(finals(stopped)) == {"WAITING"}
    status = " ".join(scripts.command("status").stdout.split())  # lines are folded
    assert "interrupted" in status
    assert f"scheduler run --resume {stopped.run}" in status
    resumed = mend(scripts, stopped)
    assert finals(resumed) == {"COMPLETE": n_trials}
    assert (resumed.status.state, resumed.status.complete) == ("finished", n_trials)
    assert [trial.value for trial in resumed.study().trials].count(0.25) == 1


def test_a_script_that_makes_light_of_it_can_be_resumed_all_the_same(scripts: Runner) -> None:
    text = """
        import optuna, pathlib, tell

        def objective(trial):
            if not pathlib.Path("fixed").exists():
                raise RuntimeError("No HIP GPUs are available")
            return 0.0

        study = optuna.create_study()
        try:
            study.optimize(objective, n_trials=3)
        except RuntimeError as error:
            tell.say(error=str(error))
    """
    stopped = scripts(text)
    assert stopped.code == 1, stopped
    assert stopped.said == {"error": "No HIP GPUs are available"}
    assert stopped.status.state == "interrupted"
    assert finals(mend(scripts, stopped)) == {"COMPLETE": 3}


def test_a_crash_without_an_exception_stops_the_run_too(scripts: Runner) -> None:
    """What the libraries say on stderr as they end the process is all there is."""
    text = """
        import optuna, os, pathlib, sys

        def objective(trial):
            if not pathlib.Path("fixed").exists():
                os.write(2, b"ROCk module is NOT loaded, possibly no GPU devices\\n")
                os.abort()
            return 0.0

        optuna.create_study().optimize(objective, n_trials=3)
    """
    stopped = scripts(text)
    assert stopped.code == 1, stopped
    assert "AttemptFailed: no trial can run: " in stopped.err
    assert "ROCk module is NOT loaded" in stopped.err
    assert stopped.status.state == "interrupted"
    assert finals(mend(scripts, stopped)) == {"COMPLETE": 3}


def test_what_runs_meanwhile_is_put_back(scripts: Runner) -> None:
    """A neighbour that was fine so far is stopped, and comes back with its parameters."""
    text = """
        import optuna, os, pathlib, time

        def objective(trial):
            x = trial.suggest_float("x", 0, 1)
            if not pathlib.Path("fixed").exists():
                pathlib.Path(f"began-{trial.number}").touch()
                while trial.number == 0 or not pathlib.Path("began-0").exists():
                    time.sleep(0.01)
                raise RuntimeError("HIP error: invalid device ordinal")
            return x

        study = optuna.create_study()
        for x in (0.25, 0.5):
            study.enqueue_trial({"x": x})
        study.optimize(objective, n_trials=4)
    """
    stopped = scripts(text)
    assert stopped.code == 1, stopped
    assert stopped.err.count("comes back: the run stops") == 1
    assert set(finals(stopped)) == {"WAITING"}
    trials = mend(scripts, stopped).study().trials
    values = [trial.value for trial in trials if trial.state.name == "COMPLETE"]
    assert len(values) == 4
    assert values.count(0.25) == values.count(0.5) == 1


@pytest.mark.parametrize("catch", ["(RuntimeError,)", "()"])
def test_once_a_trial_has_finished_it_is_an_error_like_another(scripts: Runner, catch: str) -> None:
    """The set-up serves some parameters: a caught exception fails its trial alone, one that is not
    caught ends the run."""
    text = """
        import optuna

        def objective(trial):
            if trial.number == 1:
                raise RuntimeError("No HIP GPUs are available")
            return 1.0

        study = optuna.create_study()
        study.optimize(objective, n_trials=4, catch=CATCH)
    """
    result = scripts(text.replace("CATCH", catch), "--max-trials", "1")
    states = [trial.state.name for trial in result.study().trials]
    if catch == "()":
        assert result.code == 1
        assert (states, result.status.state) == (["COMPLETE", "FAIL"], "failed")
    else:
        result.ok()
        assert states == ["COMPLETE", "FAIL", "COMPLETE", "COMPLETE"]
        assert "every trial" not in result.err
