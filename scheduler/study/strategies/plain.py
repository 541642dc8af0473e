"""Optuna's trials and distributions as the plain values that ``strategies.ranges`` decides by."""

from __future__ import annotations

from collections.abc import Iterable

from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.trial import FrozenTrial, TrialState

from scheduler.strategies.ranges import Range, Seen


def range_of(distribution: BaseDistribution) -> Range:
    """Raises TypeError for a distribution that is none of Optuna's three."""
    if isinstance(distribution, CategoricalDistribution):
        return Range(kind="categorical", choices=tuple(distribution.choices))
    if not isinstance(distribution, FloatDistribution | IntDistribution):
        raise TypeError(f"{distribution} is no distribution of Optuna's")
    is_int = isinstance(distribution, IntDistribution)
    return Range(
        kind="int" if is_int else "float",
        low=distribution.low,
        high=distribution.high,
        step=distribution.step,
        log=distribution.log,
    )


def distribution_of(it: Range) -> BaseDistribution:
    if it.low is None or it.high is None:
        return CategoricalDistribution(it.choices)
    if it.kind == "int":
        return IntDistribution(int(it.low), int(it.high), log=it.log, step=int(it.step or 1))
    return FloatDistribution(float(it.low), float(it.high), log=it.log, step=it.step)


def seen(trials: Iterable[FrozenTrial], sign: float) -> list[Seen]:
    """The finished ones. *sign*: 1.0 where larger values are better, -1.0 where smaller are."""
    return [
        Seen(
            value=value_of(trial, sign),
            params=trial.params,
            ranges={name: range_of(it) for name, it in trial.distributions.items()},
        )
        for trial in trials
        if trial.state in (TrialState.COMPLETE, TrialState.PRUNED)
    ]


def value_of(trial: FrozenTrial, sign: float) -> float | None:
    """Larger is better. None: it was pruned; of a pruned one Optuna keeps the last report."""
    if trial.state != TrialState.COMPLETE or not trial.values:
        return None
    return sign * float(trial.values[0])
