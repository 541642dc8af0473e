"""Every sampler of Optuna's draws from narrowed ranges, and the trial stores the script's own."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterator
from typing import ClassVar

import optuna
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution
from optuna.samplers import (
    BaseSampler,
    CmaEsSampler,
    GPSampler,
    NSGAIIISampler,
    NSGAIISampler,
    PartialFixedSampler,
    QMCSampler,
    RandomSampler,
    TPESampler,
)
from optuna.trial import FrozenTrial

from scheduler.strategies.ranges import Limits
from scheduler.study import inside
from scheduler.study.strategies.narrowed import FULL, VERSION, NarrowedSampler

SAMPLERS: dict[str, Callable[[], BaseSampler]] = {
    "tpe": lambda: TPESampler(seed=1),
    "tpe univariate": lambda: TPESampler(seed=1, multivariate=False),
    "tpe group": lambda: TPESampler(seed=1, multivariate=True, group=True),
    "random": lambda: RandomSampler(seed=1),
    "cma": lambda: CmaEsSampler(seed=1, popsize=4),
    "cma separable": lambda: CmaEsSampler(seed=1, popsize=4, use_separable_cma=True),
    "cma with margin": lambda: CmaEsSampler(seed=1, popsize=4, with_margin=True),
    "qmc": lambda: QMCSampler(seed=1, warn_independent_sampling=False),
    "nsga2": lambda: NSGAIISampler(seed=1, population_size=6),
    "nsga3": lambda: NSGAIIISampler(seed=1, population_size=6),
}
LIMITS = {
    "lr": Limits(low=1e-4, high=1e-2),
    "batch": Limits(low=64, high=192),
    "opt": Limits(choices=("adam", None)),
    "units": Limits(low=3, high=30),
    "momentum": Limits(low=0.2, high=0.4),
}
OPTIMIZERS = ["adam", "sgd", "rmsprop", None]


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    level = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        yield
    optuna.logging.set_verbosity(level)


def objective(trial: optuna.Trial) -> float:
    lr = trial.suggest_float("lr", 1e-6, 1.0, log=True)
    batch = trial.suggest_int("batch", 16, 512, step=16)
    opt = trial.suggest_categorical("opt", OPTIMIZERS)
    units = trial.suggest_int("units", 1, 1000, log=True)
    free = trial.suggest_float("free", -1.0, 1.0)
    # Not in the first trial: the one with margin stumbles over a space that shrinks, in Optuna too.
    if opt == "sgd" and trial.number:
        trial.suggest_float("momentum", 0.0, 1.0)
    if trial.number % 7 == 6:
        raise optuna.TrialPruned
    return abs(math.log10(lr) + 3) + abs(batch - 100) / 100 + abs(units - 10) / 100 + free**2


def is_inside(trial: FrozenTrial) -> bool:
    """By the limits, written out once more."""
    it = trial.params
    return (
        1e-4 <= it["lr"] <= 1e-2
        and 64 <= it["batch"] <= 192
        and it["opt"] in ("adam", None)
        and 3 <= it["units"] <= 30
    )


@pytest.mark.parametrize("name", [*SAMPLERS, "tpe under hyperband"])
def test_draws_are_inside_but_for_trials_on_the_full_ranges(name) -> None:
    """Hyperband shows samplers a study of its own, which lacks most of a study."""
    sampler = NarrowedSampler(SAMPLERS[name.removesuffix(" under hyperband")]())
    pruner = optuna.pruners.HyperbandPruner() if "hyperband" in name else None
    study = optuna.create_study(sampler=sampler, pruner=pruner)
    study.optimize(objective, n_trials=12)
    sampler.chooses = lambda number: number % 5 == 0
    sampler.narrow(1, LIMITS)
    study.optimize(objective, n_trials=20)
    sampler.narrow(2, LIMITS | {"lr": Limits(low=1e-4, high=3e-3)})
    study.optimize(objective, n_trials=12)
    sampler.narrow(3, {})
    study.optimize(objective, n_trials=60)  # of 20, TPE drew no more than five outside now and then

    before, during, after = study.trials[:12], study.trials[12:44], study.trials[44:]
    narrow = [trial for trial in during if not trial.system_attrs.get(FULL)]
    full = [trial for trial in during if trial.system_attrs.get(FULL)]
    assert all(is_inside(trial) for trial in narrow)
    assert len({trial.params["lr"] for trial in narrow}) > 10  # it goes on drawing
    assert {trial.number for trial in full} == {15, 20, 25, 30, 35, 40}
    assert [not is_inside(trial) for trial in full].count(True) > 0
    assert [not is_inside(trial) for trial in after].count(True) > 5
    assert [trial.system_attrs.get(VERSION) for trial in before] == [None] * 12
    for trial in study.trials:
        assert trial.distributions["lr"] == FloatDistribution(1e-6, 1.0, log=True)
        assert trial.distributions["opt"] == CategoricalDistribution(OPTIMIZERS)


@pytest.mark.parametrize("name", ["cma", "cma with margin", "nsga2"])
def test_samplers_that_keep_state_in_the_study_go_on_with_it_inside(name) -> None:
    """They would fall back on random draws where what they look for is hidden or does not fit."""
    sampler = NarrowedSampler(SAMPLERS[name]())
    study = optuna.create_study(sampler=sampler)
    study.optimize(objective, n_trials=20)
    sampler.narrow(1, LIMITS)
    study.optimize(objective, n_trials=30)

    def generation(trial: FrozenTrial) -> int:
        found = [v for k, v in trial.system_attrs.items() if k.endswith("generation")]
        return found[0] if found else -1

    first = [generation(trial) for trial in study.trials[20:26]]
    last = [generation(trial) for trial in study.trials[-6:]]
    assert max(first) <= 1 < max(last)  # from the beginning, then on
    if name == "nsga2":  # parents of its own, not those that it had among all trials
        attrs = inside.storage_of(study).get_study_system_attrs(inside.study_id_of(study))
        assert "scheduler:sampler:1:NSGAIISampler:parent:1" in attrs


@pytest.mark.torch
def test_a_gaussian_process_too() -> None:
    pytest.importorskip("torch")
    sampler = NarrowedSampler(GPSampler(seed=1, n_startup_trials=2))
    study = optuna.create_study(sampler=sampler)
    study.optimize(lambda trial: trial.suggest_float("lr", 1e-6, 1.0, log=True), n_trials=4)
    sampler.narrow(1, {"lr": Limits(low=1e-4, high=1e-2)})
    study.optimize(lambda trial: trial.suggest_float("lr", 1e-6, 1.0, log=True), n_trials=4)
    assert all(1e-4 <= trial.params["lr"] <= 1e-2 for trial in study.trials[4:])
    assert "gp:relative_params:0" in study.trials[-1].system_attrs


def test_tpe_learns_from_the_trials_inside_and_draws_relative_to_them() -> None:
    sampler = NarrowedSampler(TPESampler(seed=1, n_startup_trials=5))
    study = optuna.create_study(sampler=sampler)
    sampler.narrow(1, {"lr": Limits(low=1e-4, high=1e-2)}, keeps_own=True)
    study.optimize(
        lambda trial: abs(math.log10(trial.suggest_float("lr", 1e-6, 1.0, log=True)) + 3),
        n_trials=40,
    )
    assert "tpe:relative_params:0" in study.trials[-1].system_attrs
    late = [abs(math.log10(trial.params["lr"]) + 3) for trial in study.trials[-15:]]
    assert sorted(late)[7] < 0.25  # drawn evenly it would be 0.5


def test_what_a_script_fixes_is_what_it_was() -> None:
    sampler = NarrowedSampler(PartialFixedSampler({"free": 0.9}, TPESampler(seed=1)))
    sampler.narrow(1, LIMITS)
    sampler.chooses = lambda number: number % 4 == 0
    study = optuna.create_study(sampler=sampler)
    study.optimize(objective, n_trials=16)
    assert {trial.params["free"] for trial in study.trials} == {0.9}
    assert all(is_inside(t) for t in study.trials if not t.system_attrs.get(FULL))


def test_a_single_value_that_is_left_is_taken_without_asking() -> None:
    class Refuses(RandomSampler):
        def sample_independent(self, study, trial, param_name, param_distribution):
            raise AssertionError(f"asked for {param_name}")

    sampler = NarrowedSampler(Refuses())
    sampler.narrow(1, {"opt": Limits(choices=("sgd",)), "n": Limits(low=3, high=3)})
    study = optuna.create_study(sampler=sampler)
    study.optimize(
        lambda trial: trial.suggest_categorical("opt", OPTIMIZERS) == trial.suggest_int("n", 1, 9),
        n_trials=1,
    )
    assert study.trials[0].params == {"opt": "sgd", "n": 3}


def test_a_sampler_of_the_users_own_is_held_and_sees_only_what_is_inside() -> None:
    class Own(RandomSampler):
        seen: ClassVar[list[list[float]]] = []

        def sample_independent(self, study, trial, param_name, param_distribution):
            self.seen.append([done.params["x"] for done in study.trials if done.params])
            return 0.9  # as if it knew no range

        def __deepcopy__(self, memo):
            raise TypeError("has a lock")

    sampler = NarrowedSampler(Own())
    study = optuna.create_study(sampler=sampler)
    study.enqueue_trial({"x": 0.8})
    study.enqueue_trial({"x": 0.3})
    sampler.narrow(1, {"x": Limits(low=0.2, high=0.5)})
    study.optimize(lambda trial: trial.suggest_float("x", 0.0, 1.0), n_trials=4)
    assert [trial.params["x"] for trial in study.trials] == [0.8, 0.3, 0.5, 0.5]
    assert Own.seen == [[0.3], [0.3, 0.5]]


def test_an_enqueued_trial_is_not_counted_on_either_side() -> None:
    sampler = NarrowedSampler(RandomSampler())
    sampler.narrow(1, LIMITS)
    sampler.chooses = lambda number: True
    study = optuna.create_study(sampler=sampler)
    study.enqueue_trial({"lr": 0.5})
    study.optimize(objective, n_trials=2)
    first, second = study.trials
    assert first.params["lr"] == 0.5
    assert VERSION not in first.system_attrs
    assert (second.system_attrs[VERSION], second.system_attrs[FULL]) == (1, True)
    assert not is_inside(second) or second.params  # drawn from all of it


def test_a_trial_stays_on_the_side_that_it_is_marked_for() -> None:
    """A retry is a clone with the marks: it is drawn on from the ranges that it began with."""
    sampler = NarrowedSampler(RandomSampler(seed=1))
    sampler.narrow(1, {"x": Limits(low=0.4, high=0.6)})
    sampler.chooses = lambda number: False
    study = optuna.create_study(sampler=sampler)
    for _ in range(20):
        study.add_trial(
            optuna.trial.create_trial(
                state=optuna.trial.TrialState.WAITING, system_attrs={VERSION: 1, FULL: True}
            )
        )
    study.optimize(lambda trial: trial.suggest_float("x", 0.0, 1.0), n_trials=20)
    assert any(not 0.4 <= trial.params["x"] <= 0.6 for trial in study.trials)
