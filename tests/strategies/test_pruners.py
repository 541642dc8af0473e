"""Names and arguments of pruners, as Optuna has them."""

from __future__ import annotations

import inspect
from typing import Any, get_args

import optuna
import pytest

from scheduler.strategies.asked import PruningName
from scheduler.strategies.pruners import ARGUMENTS, DEFAULTS, arguments_of, milder, problem

pytestmark = pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")

CLASSES: dict[str, Any] = {
    "median": optuna.pruners.MedianPruner,
    "percentile": optuna.pruners.PercentilePruner,
    "hyperband": optuna.pruners.HyperbandPruner,
    "halving": optuna.pruners.SuccessiveHalvingPruner,
    "patient": optuna.pruners.PatientPruner,
    "wilcoxon": optuna.pruners.WilcoxonPruner,
}
#: Values at and beyond each end of what an argument takes.
TRIED = (-1, -0.5, 0, 0.5, 1, 2, 1.5, 3, 50, 100, 101, "auto", "more", True, None, [1])


def make(name: str, given: dict[str, Any]) -> Any:
    more = {"wrapped_pruner": None} if name == "patient" else {}
    return CLASSES[name](**more, **arguments_of(name, given))  # type: ignore[arg-type]


def test_every_name_has_its_arguments() -> None:
    assert set(ARGUMENTS) == set(get_args(PruningName))


@pytest.mark.parametrize("name", CLASSES)
def test_the_arguments_are_those_of_optunas_constructor(name: Any) -> None:
    named = set(inspect.signature(CLASSES[name].__init__).parameters) - {"self", "wrapped_pruner"}
    assert set(ARGUMENTS[name]) == named
    assert problem(name, DEFAULTS.get(name, {})) is None
    make(name, {})


@pytest.mark.parametrize("name", CLASSES)
def test_what_is_accepted_optuna_takes(name: Any) -> None:
    """And what Optuna refuses is refused. Optuna takes some things that fail later, in a report."""
    for argument in ARGUMENTS[name]:
        for value in TRIED:
            given = {argument: value}
            try:
                make(name, given)
            except (ValueError, TypeError, AssertionError):
                assert problem(name, given) is not None, given
            else:
                odd = isinstance(value, bool | str | list | float) or value is None or value < 1
                assert problem(name, given) is None or odd or value in (1, 101), given


@pytest.mark.parametrize(
    ("name", "given", "said"),
    [
        ("median", {"n_startup": 3}, "takes no argument 'n_startup'; it takes n_startup_trials,"),
        ("median", {"interval_steps": 0}, "is 0; it takes a whole number of at least 1"),
        ("percentile", {"percentile": 120}, "is 120; it takes a number from 0 to 100"),
        ("halving", {"min_resource": "all"}, 'takes a whole number of at least 1 or "auto"'),
        ("halving", {"bootstrap_count": 2}, "goes with a min_resource that is a number"),
        ("hyperband", {"bootstrap_count": 2}, "goes with a max_resource that is a number"),
        ("hyperband", {"max_resource": 2, "min_resource": 5}, "2, below its min_resource 5"),
        ("default", {"patience": 3}, "patience is an argument of a pruner; say which"),
        ("auto", {"patience": 3}, "pruning auto takes no arguments; seen: patience"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said(name: Any, given: dict[str, Any], said: str) -> None:
    assert said in str(problem(name, given))


def test_together_they_are_right() -> None:
    assert problem("halving", {"bootstrap_count": 2, "min_resource": 4}) is None
    assert problem("hyperband", {"bootstrap_count": 2, "max_resource": 9}) is None


@pytest.mark.parametrize("name", get_args(PruningName))
def test_milder_ones_can_be_made_and_end_with_none(name: Any) -> None:
    rungs = milder(name, {})
    assert not rungs or rungs[-1] == ("none", {})
    for one, arguments in rungs[:-1]:
        assert problem(one, arguments) is None
        make(one, arguments)


def test_the_median_waits_longer_then_prunes_the_worst_quarter_only() -> None:
    (first, later), (second, least), _ = milder("median", {})
    assert (first, second) == ("median", "percentile")
    assert (later["n_startup_trials"], later["n_warmup_steps"]) == (10, 20)
    assert least == {**later, "percentile": 75.0}
