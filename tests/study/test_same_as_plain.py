"""With one attempt at a time a script comes to what it comes to without us.

The same script is run by Python alone and through ``scheduler run --max-trials 1``. What it prints
about its studies must be equal, and so must Optuna's own log lines.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
from script_runs import Result, Runner

pytestmark = pytest.mark.processes


def assert_same(scripts: Runner, text: str, way: str, **named: Any) -> Result:
    plain = scripts.plain(text)
    ours = scripts(None, "--max-trials", "1", "--start", way, target="script.py", **named)
    assert ours.code == plain.code, f"{plain}\n\n{ours}"
    assert list(differences("", ours.said, plain.said)) == []
    assert optuna_lines(ours.err) == optuna_lines(plain.err)
    return ours


def differences(where: str, ours: Any, plain: Any) -> Iterator[str]:
    """A line for each value that is not the same."""
    if isinstance(ours, dict) and isinstance(plain, dict) and ours.keys() == plain.keys():
        for key in ours:
            yield from differences(f"{where}/{key}", ours[key], plain[key])
    elif isinstance(ours, list) and isinstance(plain, list) and len(ours) == len(plain):
        for index, pair in enumerate(zip(ours, plain, strict=True)):
            yield from differences(f"{where}/{index}", *pair)
    elif ours != plain:
        yield f"{where}: {ours!r} instead of {plain!r}"


def optuna_lines(err: str) -> list[str]:
    """Optuna's log lines without their times and the names that it makes up."""
    lines = re.findall(r"^\[[IWE] [^\]]*\] (.*)$", err, re.MULTILINE)
    return [re.sub(r"no-name-[-0-9a-f]+", "NAME", line) for line in lines]


def test_seeded_samplers(scripts: Runner) -> None:
    """Every sampler is asked in the host, in its order: a seed gives the same parameters."""
    text = """
        import optuna, tell
        from optuna import samplers
        optuna.logging.set_verbosity(optuna.logging.WARNING)

        def objective(trial):
            x = trial.suggest_float("x", -5, 5)
            y = trial.suggest_int("y", 1, 64, log=True)
            return x * x + y

        def conditional(trial):
            kind = trial.suggest_categorical("kind", ["a", "b"])
            if kind == "a":
                return trial.suggest_float("lr", 1e-5, 1, log=True)
            return trial.suggest_int("depth", 1, 4) + trial.suggest_float("rest", 0, 1)

        facts = {}
        for sampler in (
            samplers.TPESampler(seed=3, n_startup_trials=2),
            samplers.TPESampler(seed=3, n_startup_trials=2, multivariate=True, group=True),
            samplers.RandomSampler(seed=3),
            samplers.QMCSampler(seed=3),
            samplers.CmaEsSampler(seed=3),
            samplers.PartialFixedSampler({"x": 1.0}, samplers.RandomSampler(seed=3)),
        ):
            for function in (objective, conditional):
                if function is conditional and len(facts) > 3:
                    continue
                study = optuna.create_study(sampler=sampler)
                study.optimize(function, n_trials=5)
                facts[f"{type(sampler).__name__} {len(facts)}"] = tell.trials(study)
        study = optuna.create_study(sampler=samplers.NSGAIISampler(seed=3, population_size=4),
                                    directions=["minimize", "maximize"])
        study.optimize(lambda t: (t.suggest_float("x", 0, 1), t.suggest_float("y", 0, 1)), 8)
        facts["NSGA"] = tell.trials(study), [t.number for t in study.best_trials]
        tell.say(**facts)
    """
    assert_same(scripts, text, "fork")


def test_samplers_that_end_by_themselves(scripts: Runner, way: str) -> None:
    """Grid and brute force know when all has been tried; they end the call through the study."""
    text = """
        import optuna, tell
        grid = optuna.create_study(
            sampler=optuna.samplers.GridSampler({"a": [1, 2], "b": [3, 4]}, seed=1))
        grid.optimize(lambda t: t.suggest_int("a", 0, 9) + t.suggest_int("b", 0, 9))

        def tree(trial):
            if trial.suggest_categorical("leaf", [True, False]):
                return 0.0
            return float(trial.suggest_int("n", 1, 2))

        brute = optuna.create_study(sampler=optuna.samplers.BruteForceSampler(seed=1))
        brute.optimize(tree)
        tell.say(grid=tell.trials(grid), brute=tell.trials(brute))
    """
    said = assert_same(scripts, text, way).said
    assert len(said["grid"]) == 4
    assert len(said["brute"]) == 3


def test_pruners(scripts: Runner, way: str) -> None:
    """``report`` and ``should_prune`` come to the same decisions at the same steps. All of them are
    carried out: that some are not, to find out whether they are right, is ours."""
    text = """
        import optuna, tell
        from optuna import pruners

        def objective(trial):
            x = trial.suggest_float("x", 0, 1)
            for step in range(5):
                trial.report((x - 0.3) ** 2 + (step * trial.number % 5) / 10, step)
                if trial.should_prune():
                    raise optuna.TrialPruned(f"at {step}")
            return (x - 0.3) ** 2

        def run(pruner, n):
            study = optuna.create_study(  # Hyperband's brackets depend on the name
                study_name="named", sampler=optuna.samplers.TPESampler(seed=5), pruner=pruner)
            study.optimize(objective, n_trials=n)
            return tell.trials(study)

        facts = {"median": run(pruners.MedianPruner(n_startup_trials=2, n_warmup_steps=1), 6)}
        if FORK:
            facts["hyperband"] = run(pruners.HyperbandPruner(min_resource=1, max_resource=6), 10)
            facts["halving"] = run(pruners.SuccessiveHalvingPruner(), 6)
            facts["patient"] = run(pruners.PatientPruner(pruners.MedianPruner(), patience=1), 7)
            facts["wilcoxon"] = run(pruners.WilcoxonPruner(), 4)
        tell.say(**facts)
    """.replace("FORK", str(way == "fork"))
    config = scripts.write("[pruning]\ncontrols = 0\n", "config.toml")
    environment = {"SCHEDULER_CONFIG": str(config)}
    said = assert_same(scripts, text, way, environment=environment).said
    for name, trials in said.items():
        if name in ("median", "hyperband"):
            assert {trial["state"] for trial in trials} == {"COMPLETE", "PRUNED"}, name


def test_classes_of_the_users_own(scripts: Runner, way: str) -> None:
    """A sampler and a pruner that only the script knows are never sent anywhere."""
    text = """
        import optuna, tell

        class Mine(optuna.samplers.BaseSampler):
            def __init__(self):
                self.asked = []
            def infer_relative_search_space(self, study, trial):
                return {"x": optuna.distributions.FloatDistribution(0, 1)}
            def sample_relative(self, study, trial, search_space):
                return {"x": trial.number / 10}
            def sample_independent(self, study, trial, name, distribution):
                self.asked.append((trial.number, name, dict(trial.params)))
                return len(self.asked)
            def before_trial(self, study, trial):
                self.asked.append("before")
            def after_trial(self, study, trial, state, values):
                self.asked.append([state.name, values])

        class Odd(optuna.pruners.BasePruner):
            def prune(self, study, trial):
                return trial.number % 2 == 1 and trial.last_step == 1

        def objective(trial):
            x = trial.suggest_float("x", 0, 1)
            n = trial.suggest_int("n", 0, 100)
            for step in range(3):
                trial.report(x, step)
                if trial.should_prune():
                    raise optuna.TrialPruned
            return x + n

        sampler = Mine()
        study = optuna.create_study(sampler=sampler, pruner=Odd())
        study.optimize(objective, n_trials=4)
        tell.say(trials=tell.trials(study), asked=repr(sampler.asked))
    """
    assert_same(scripts, text, way)


def test_what_an_objective_may_return(scripts: Runner) -> None:
    """Whatever Optuna makes of a value it makes of it here: its state, its log line."""
    text = """
        import decimal, optuna, tell
        import numpy as np

        RETURNS = [1, 2.5, True, "many", None, float("nan"), float("inf"), -float("inf"),
                   np.float32(0.1), np.float64(0.2), np.array(0.3), np.array([0.4]),
                   np.array([1.0, 2.0]), np.int64(7), [5.0], (6.0,), [1.0, 2.0], [], [None],
                   decimal.Decimal("8.25"), object, b"1", 10**30, "nan", "inf", 1j]

        def objective(trial):
            return RETURNS[trial.number]

        def both(trial):
            return [(1.0, 2.0), (1.0,), 1.0, (1.0, None), (float("nan"), 1.0),
                    np.array([3.0, 4.0]), (float("inf"), np.float32(0.5)), None, "ab",
                    [[1.0], 2.0]][trial.number]

        study = optuna.create_study()
        study.optimize(objective, n_trials=len(RETURNS))
        two = optuna.create_study(directions=["minimize", "maximize"])
        two.optimize(both, n_trials=10)
        tell.say(one=tell.trials(study), two=tell.trials(two))
    """
    assert_same(scripts, text, "fork")


def test_returned_values_when_run_again(scripts: Runner) -> None:
    """The same where attempts are processes of their own."""
    text = """
        import optuna, tell
        import numpy as np

        def objective(trial):
            return [np.float32(0.1), None, "x", float("nan")][trial.number]

        study = optuna.create_study()
        study.optimize(objective, n_trials=4)
        tell.say(trials=tell.trials(study))
    """
    assert_same(scripts, text, "re-run")


def test_attributes_and_suggestions(scripts: Runner, way: str) -> None:
    """What a trial stores while it runs is stored, in the trial's own view and in the study's."""
    text = """
        import optuna, tell

        def objective(trial):
            seen = [trial.number, dict(trial.params)]
            x = trial.suggest_float("x", 0, 8, step=0.5)
            again = trial.suggest_float("x", 0, 8, step=0.5)
            n = trial.suggest_int("n", 0, 100, step=10)
            kind = trial.suggest_categorical("kind", ["a", None, 1, 2.5, True])
            trial.set_user_attr("list", [x, {"deep": n}])
            trial.set_user_attr("same", x == again)
            trial.set_user_attr("params", dict(trial.params) == {"x": x, "n": n, "kind": kind})
            trial.set_user_attr("own", trial.user_attrs["same"])
            trial.set_user_attr("relative", dict(trial.relative_params))
            trial.set_user_attr("distributions", sorted(trial.distributions))
            trial.set_user_attr("started", trial.datetime_start is not None)
            trial.study.set_user_attr(f"from {trial.number}", n)
            trial.set_user_attr("study", sorted(trial.study.user_attrs))
            trial.report(1.0, 0)
            trial.report(2.0, 0)  # the second of a step is ignored, with a warning
            try:
                trial.suggest_int("x", 0, 3)
            except ValueError as error:
                trial.set_user_attr("error", type(error).__name__)
            return x

        study = optuna.create_study(sampler=optuna.samplers.TPESampler(seed=2, n_startup_trials=2))
        study.set_user_attr("before", 1)
        study.optimize(objective, n_trials=4)
        tell.say(trials=tell.trials(study), study=study.user_attrs)
    """
    assert_same(scripts, text, way)


def test_enqueued_trials_come_first_and_in_order(scripts: Runner, way: str) -> None:
    """Those that the script enqueued before the call, with their attributes, and those added."""
    text = """
        import optuna, tell
        study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=1))
        study.add_trial(optuna.trial.create_trial(
            params={"x": 0.25}, value=7.0,
            distributions={"x": optuna.distributions.FloatDistribution(0, 1)}))
        study.enqueue_trial({"x": 0.5}, user_attrs={"why": "known good"})
        study.enqueue_trial({"x": 0.75, "unused": 3})
        study.enqueue_trial({"x": 0.5}, skip_if_exists=True)

        def objective(trial):
            if trial.number == 1:
                trial.study.enqueue_trial({"x": 0.125})
            return trial.suggest_float("x", 0, 1) + trial.suggest_int("y", 1, 3)

        study.optimize(objective, n_trials=4)
        tell.say(trials=tell.trials(study))
    """
    said = assert_same(scripts, text, way).said
    assert [trial["params"]["x"] for trial in said["trials"][:4]] == [0.25, 0.5, 0.75, 0.125]


def test_the_study_as_an_objective_sees_it(scripts: Runner, way: str) -> None:
    """``trial.study`` answers as the study itself, with all that came before."""
    text = """
        import optuna, tell

        def objective(trial):
            study = trial.study
            finished = [t for t in study.trials if t.state.is_finished()]
            trial.set_user_attr("seen", [
                len(study.trials), [t.value for t in finished], study.direction.name,
                study.best_value if finished else None,
                study.best_params if finished else None,
                study.best_trial.number if finished else None,
                len(study.get_trials(states=[optuna.trial.TrialState.RUNNING])),
            ])
            return trial.suggest_float("x", 0, 1)

        study = optuna.create_study(
            direction="maximize", sampler=optuna.samplers.RandomSampler(seed=1))
        study.optimize(objective, n_trials=4)
        tell.say(trials=tell.trials(study), best=study.best_value, params=study.best_params)
    """
    assert_same(scripts, text, way)


def test_an_optimize_call_inside_the_objective(scripts: Runner, way: str) -> None:
    """It is Optuna's own: a study that the objective makes runs there; its own study refuses."""
    text = """
        import optuna, tell

        def outer(trial):
            x = trial.suggest_float("x", 0, 1)
            inner = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=trial.number))
            inner.optimize(lambda t: abs(t.suggest_float("y", 0, 1) - x), n_trials=3)
            try:
                trial.study.optimize(outer, n_trials=1)
            except RuntimeError as error:
                trial.set_user_attr("error", str(error))
            trial.set_user_attr("inner", inner.best_params)
            return inner.best_value

        study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=1))
        study.optimize(outer, n_trials=3)
        tell.say(trials=tell.trials(study))
    """
    plain = scripts.plain(text)
    ours = scripts(None, "--max-trials", "1", "--start", way, target="script.py").ok()
    assert list(differences("", ours.said, plain.said)) == []


def test_several_calls_in_one_script(scripts: Runner, way: str) -> None:
    """Calls on the same study and on others; what follows a call sees all of its trials."""
    text = """
        import optuna, tell
        optuna.logging.set_verbosity(optuna.logging.WARNING)

        def objective(trial):
            return trial.suggest_float("x", 0, 1)

        def other(trial):
            return -trial.suggest_float("z", 0, best)

        first = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=1))
        second = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=2))
        first.optimize(objective, n_trials=2)
        best = first.best_value
        second.optimize(other, n_trials=2)
        second.enqueue_trial({"x": best})
        second.optimize(objective, n_trials=1)
        first.optimize(lambda t: other(t), n_trials=1)
        tell.say(first=tell.trials(first), second=tell.trials(second))
    """
    said = assert_same(scripts, text, way).said
    assert (len(said["first"]), len(said["second"])) == (3, 3)


def test_constraints(scripts: Runner, way: str) -> None:
    """A ``constraints_func`` is called in the host with what the objective has set."""
    text = """
        import optuna, tell

        def constraints(trial):
            return (trial.user_attrs["over"],)

        def objective(trial):
            x = trial.suggest_float("x", 0, 1)
            trial.set_user_attr("over", x - 0.5)
            return -x

        study = optuna.create_study(sampler=optuna.samplers.TPESampler(
            seed=1, n_startup_trials=2, constraints_func=constraints))
        study.optimize(objective, n_trials=4)
        tell.say(trials=tell.trials(study))
    """
    assert "constraints" in str(assert_same(scripts, text, way).said)


def test_a_constraint_set_by_the_trial(scripts: Runner) -> None:
    """``trial.set_constraint``, new in Optuna 5."""
    text = """
        import optuna, tell

        def objective(trial):
            x = trial.suggest_float("x", 0, 1)
            trial.set_constraint("over", x - 0.5)
            return -x

        study = optuna.create_study(
            sampler=optuna.samplers.TPESampler(seed=1, n_startup_trials=2))
        study.optimize(objective, n_trials=4)
        tell.say(trials=tell.trials(study), constraints=[t.constraints for t in study.trials])
    """
    assert_same(scripts, text, "fork")


def test_categorical_choices_of_any_kind(scripts: Runner, way: str) -> None:
    """Optuna warns of tuples and functions as choices, and takes them for a study in memory."""
    text = """
        import json, optuna, tell, warnings
        warnings.simplefilter("ignore")

        def relu(x):
            return max(0, x)

        def objective(trial):
            layers = trial.suggest_categorical("layers", [(8,), (8, 8), None, "none"])
            function = trial.suggest_categorical("function", [relu, abs, int])
            assert layers in (None, "none") or isinstance(layers, tuple)
            trial.set_user_attr("exact", {1: (layers, 2.5)})
            return function(-1) + len(trial.study.trials) / 10

        study = optuna.create_study(sampler=optuna.samplers.TPESampler(seed=4, n_startup_trials=2))
        study.enqueue_trial({"layers": (8, 8), "function": abs})
        study.enqueue_trial({"layers": (8,)})
        study.add_trial(optuna.trial.create_trial(
            params={"layers": (8,)}, value=1.0,
            distributions={"layers": optuna.distributions.CategoricalDistribution(
                [(8,), (8, 8), None, "none"])}))
        study.optimize(objective, n_trials=5)
        tell.say(params=[[repr(p) for p in t.params.items()] for t in study.trials],
                 same=study.best_params["function"] in (relu, abs, int),
                 exact=repr([t.user_attrs for t in study.trials]))
    """
    plain = scripts.plain(text.replace("repr(p)", "str(p[1]).split(' at ')[0]"))
    ours = scripts(None, "--max-trials", "1", "--start", way, target="script.py").ok()
    assert list(differences("", ours.said, plain.said)) == []
