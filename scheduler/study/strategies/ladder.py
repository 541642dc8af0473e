"""A strategy's pruners from what was asked for to none at all, as Optuna's objects."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import optuna
from optuna.pruners import BasePruner
from optuna.trial import FrozenTrial

from scheduler.strategies.asked import PruningName
from scheduler.strategies.auto import Auto, Prune, Setting, notches
from scheduler.strategies.pruners import arguments_of, milder
from scheduler.study.strategies.history import History, Reports

_CLASSES: Mapping[str, Callable[..., BasePruner]] = {
    "median": optuna.pruners.MedianPruner,
    "percentile": optuna.pruners.PercentilePruner,
    "hyperband": optuna.pruners.HyperbandPruner,
    "halving": optuna.pruners.SuccessiveHalvingPruner,
    "wilcoxon": optuna.pruners.WilcoxonPruner,
    "none": optuna.pruners.NopPruner,
}


@dataclass(frozen=True, kw_only=True)
class Rung:
    """``words``: the pruner, for people."""

    words: str
    make: Callable[[], BasePruner]


def build(name: PruningName, given: Mapping[str, Any], wrapped: BasePruner | None) -> BasePruner:
    """Optuna's pruner of that name. *wrapped*: whose verdicts "patient" puts off; None: those of
    the median's. Raises what Optuna raises for arguments that it does not take."""
    arguments = arguments_of(name, given)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        if name == "patient":
            inner = build("median", {}, None) if wrapped is None else wrapped
            return optuna.pruners.PatientPruner(inner, **arguments)
        return _CLASSES[name](**arguments)


def ladder(
    name: PruningName, given: Mapping[str, Any], own: BasePruner | None, history: History
) -> tuple[Rung, ...]:
    """From what was asked for to none. *own*: the pruner that the script chose."""
    if name == "default" and own is not None:
        first = Rung(words=f"the script's {type(own).__name__}", make=lambda: own)
        return (first, *_auto(history)[1:])
    if name in ("default", "auto"):
        return _auto(history)
    return tuple(
        Rung(words=_words(one, arguments), make=lambda n=one, a=arguments: build(n, a, own))  # type: ignore[misc]
        for one, arguments in [(name, dict(given)), *milder(name, given)]
    )


def _words(name: PruningName, arguments: Mapping[str, Any]) -> str:
    said = ", ".join(f"{key} {value}" for key, value in arguments.items())
    return f"{name} ({said})" if said else name


def _auto(history: History) -> tuple[Rung, ...]:
    words = ("auto", "auto, twice as patient", "auto, for those far below all others only")
    rungs = [
        Rung(words=said, make=lambda s=setting: AutoPruner(history, s))  # type: ignore[misc]
        for said, setting in zip(words, notches(history.direction), strict=True)
    ]
    return (*rungs, Rung(words="none", make=optuna.pruners.NopPruner))


class AutoPruner(BasePruner):
    """``auto`` as a pruner of Optuna's. It goes by *history*, and reads no trials itself."""

    def __init__(self, history: History, setting: Setting) -> None:
        self._history = history
        self._setting = setting
        self._reports = Reports()
        self._auto: Auto | None = None

    def prune(self, study: optuna.Study, trial: FrozenTrial) -> bool:
        step = trial.last_step
        if step is None:
            return False
        if self._auto is None:
            self._auto = Auto(self._history.all, self._setting)
        curve = self._reports.curve(trial.number, trial.intermediate_values)
        return isinstance(self._auto.verdict(curve, step), Prune)

    def finished(self, number: int) -> None:
        """The history has grown."""
        self._auto = None
        self._reports.forget(number)
