"""``scheduler.report`` and ``should_prune`` find their trial, in attempts and without us."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Callable
from typing import Any

import optuna
import pytest
from script_runs import Runner

import scheduler

pytestmark = pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")


def optimized(objective: Callable[[optuna.Trial], float], **options: Any) -> list[dict[int, float]]:
    study = optuna.create_study(pruner=optuna.pruners.ThresholdPruner(upper=5))
    study.optimize(objective, **{"n_trials": 1, **options})
    return [trial.intermediate_values for trial in study.trials]


def in_thread(work: Callable[[], object]) -> None:
    """As a trainer may run it; what it raises is raised here."""
    raised: list[BaseException] = []

    def run() -> None:
        try:
            work()
        except BaseException as error:
            raised.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    for error in raised:
        raise error


def test_deep_under_the_objective_steps_count_by_themselves() -> None:
    def train() -> None:
        for value in (3, 2, 1):
            scheduler.report(value)
            assert not scheduler.should_prune()
        scheduler.report(9, 8)
        assert scheduler.should_prune()
        scheduler.report(4)

    def objective(trial: optuna.Trial) -> float:
        trial.report(5.0, 4)
        train()
        return 0.0

    assert optimized(objective) == [{4: 5.0, 5: 3.0, 6: 2.0, 7: 1.0, 8: 9.0, 9: 4.0}]


def test_a_step_reported_twice_is_ignored_with_optunas_warning() -> None:
    def objective(trial: optuna.Trial) -> float:
        scheduler.report(1.0, 0)
        with pytest.warns(UserWarning, match="already reported"):
            scheduler.report(2.0, 0)
        with pytest.raises(ValueError, match="non-negative"):
            scheduler.report(2.0, -1)
        return 0.0

    assert optimized(objective) == [{0: 1.0}]


def test_threads_of_the_objective_find_its_trial() -> None:
    def objective(trial: optuna.Trial) -> float:
        in_thread(lambda: scheduler.report(1.0))
        return 0.0

    assert optimized(objective) == [{0: 1.0}]


def test_trials_in_threads_of_one_process_are_not_taken_for_another() -> None:
    """Each thread has its own on its stack; a further thread could only guess, and does not."""
    both = threading.Barrier(2)

    def objective(trial: optuna.Trial) -> float:
        both.wait(10)
        scheduler.report(trial.number, 0)
        with pytest.raises(RuntimeError, match="n_jobs"):
            in_thread(lambda: scheduler.report(1.0))
        both.wait(10)
        return 0.0

    assert optimized(objective, n_trials=2, n_jobs=2) == [{0: 0.0}, {0: 1.0}]


def test_a_study_of_the_objectives_own_gets_its_own_reports() -> None:
    inner = optuna.create_study()

    def within(trial: optuna.Trial) -> float:
        scheduler.report(7.0)
        return 0.0

    def objective(trial: optuna.Trial) -> float:
        inner.optimize(within, n_trials=1)
        scheduler.report(1.0)
        return 0.0

    assert optimized(objective) == [{0: 1.0}]
    assert inner.trials[0].intermediate_values == {0: 7.0}


def test_an_objective_that_is_called_again_with_a_stored_trial_runs() -> None:
    """As people do with the best one, to get its model; FrozenTrial and FixedTrial forget."""

    def objective(trial: optuna.trial.BaseTrial) -> float:
        for _ in range(2):
            scheduler.report(1.0)
        return 3.0 if scheduler.should_prune() else 2.0

    study = optuna.create_study()
    study.optimize(objective, n_trials=1)
    assert objective(study.best_trial) == 2.0
    assert objective(optuna.trial.FixedTrial({})) == 2.0


def test_without_a_trial_it_says_what_to_do() -> None:
    for function in (lambda: scheduler.report(1.0), scheduler.should_prune):
        with pytest.raises(RuntimeError, match="call it inside the objective"):
            function()


def test_importing_the_package_imports_nothing_else() -> None:
    text = (
        "import sys; import scheduler; scheduler.RollingSharpe().add(1); scheduler.Rolling(3);"
        "print([m for m in ('optuna', 'numpy', 'msgspec', 'statistics') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True)
    assert done.stdout.strip() == "[]", done.stderr
    with pytest.raises(AttributeError, match="has no attribute 'Roling'"):
        _ = scheduler.Roling  # type: ignore[attr-defined]


@pytest.mark.processes
def test_in_an_attempt(scripts: Runner, way: str) -> None:
    """A library's thread, a study of the objective's own, and a process that it starts. Nothing of
    the script's own lines is a trial, and plain Python comes to the same."""
    text = """
        import os, threading
        import optuna, scheduler, tell
        optuna.logging.set_verbosity(optuna.logging.WARNING)

        def train(x):
            ratio = scheduler.RollingSharpe(window=4, minimum=2)
            for episode in range(6):
                if ratio.report(x + episode % 3):
                    raise optuna.TrialPruned
            thread = threading.Thread(target=scheduler.report, args=(0.0, 10))
            thread.start()
            thread.join()
            scheduler.report(0.5)
            return x

        def refused():
            try:
                scheduler.report(9.0, 99)
            except RuntimeError as error:
                return str(error)

        def inner(trial):
            scheduler.report(1.0)
            return 0.0

        def objective(trial):
            value = train(trial.suggest_float("x", 0, 12))
            study = optuna.create_study()
            study.optimize(inner, n_trials=1)
            trial.set_user_attr("inner", list(study.trials[0].intermediate_values))
            if "SCHEDULER_RUN" in os.environ:
                pid = os.fork()
                if not pid:
                    os._exit("process that the objective" in (refused() or ""))
                trial.set_user_attr("child", os.waitpid(pid, 0)[1] >> 8)
            return value

        outside = refused()
        study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=4),
                                    pruner=optuna.pruners.ThresholdPruner(upper=20))
        study.optimize(objective, n_trials=3)
        tell.say(outside=outside, trials=[[t.state.name, sorted(t.intermediate_values.items()),
                 t.user_attrs.get("inner")] for t in study.trials],
                 children=[t.user_attrs.get("child", 1) for t in study.trials])
    """
    plain = scripts.plain(text).said
    config = scripts.write("[pruning]\ncontrols = 0\n", "config.toml")
    ours = scripts(
        None,
        *("--max-trials", "1", "--start", way),
        target="script.py",
        environment={"SCHEDULER_CONFIG": str(config)},
    ).ok()
    assert ours.said == plain
    assert {state for state, _, _ in plain["trials"]} == {"COMPLETE", "PRUNED"}
    assert "call it inside the objective" in plain["outside"]
