"""Which pruners go by which name, what they take, and what they are given where nobody says.

The names are those of Optuna 5's constructors; a test compares. They stand here because importing
Optuna takes the command line half a second. Pure.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import msgspec

from scheduler.strategies.asked import PruningName


class Takes(msgspec.Struct, frozen=True, kw_only=True):
    """What an argument may be: a number, whole or not, or the word "auto" where that is allowed."""

    whole: bool = True
    least: float = 0
    most: float = math.inf
    auto: bool = False

    def accepts(self, value: Any) -> bool:
        if self.auto and value == "auto":
            return True
        if isinstance(value, bool) or not isinstance(value, int if self.whole else (int, float)):
            return False
        return self.least <= value <= self.most

    def __str__(self) -> str:
        kind = "a whole number" if self.whole else "a number"
        bounds = f"from {self.least:g} to {self.most:g}"
        bounds = bounds if math.isfinite(self.most) else f"of at least {self.least:g}"
        return f"{kind} {bounds}" + (' or "auto"' if self.auto else "")


_COUNT = Takes()
_AT_LEAST_ONE = Takes(least=1)
_FACTOR = Takes(least=2)
_BY_RANK = {
    "n_startup_trials": _COUNT,
    "n_warmup_steps": _COUNT,
    "interval_steps": _AT_LEAST_ONE,
    "n_min_trials": _AT_LEAST_ONE,
}
ARGUMENTS: dict[PruningName, dict[str, Takes]] = {
    "default": {},
    "auto": {},
    "median": _BY_RANK,
    "percentile": {"percentile": Takes(whole=False, most=100), **_BY_RANK},
    "hyperband": {
        "min_resource": _AT_LEAST_ONE,
        "max_resource": Takes(least=1, auto=True),
        "reduction_factor": _FACTOR,
        "bootstrap_count": _COUNT,
    },
    "halving": {
        "min_resource": Takes(least=1, auto=True),
        "reduction_factor": _FACTOR,
        "min_early_stopping_rate": _COUNT,
        "bootstrap_count": _COUNT,
    },
    "patient": {"patience": _COUNT, "min_delta": Takes(whole=False)},
    "wilcoxon": {"p_threshold": Takes(whole=False, most=1), "n_startup_steps": _COUNT},
    "none": {},
}
#: Where they differ from Optuna's, or Optuna has none. Five trials and ten steps of warm-up, a look
#: at every fifth step: what served for reinforcement learning with some hundred steps a trial.
DEFAULTS: dict[PruningName, dict[str, Any]] = {
    "median": {"n_startup_trials": 5, "n_warmup_steps": 10, "interval_steps": 5},
    "percentile": {
        "percentile": 25.0,  #: as in Optuna's own example: the best quarter goes on
        "n_startup_trials": 5,
        "n_warmup_steps": 10,
        "interval_steps": 5,
    },
    "patient": {"patience": 10},
}
#: The strategies in which this argument's "auto" excludes a bootstrap, as Optuna has it.
_AUTO = {"hyperband": ("max_resource", "auto"), "halving": ("min_resource", "auto")}


def arguments_of(name: PruningName, given: Mapping[str, Any]) -> dict[str, Any]:
    """All that a pruner is made with; what is not named has Optuna's default."""
    return DEFAULTS.get(name, {}) | dict(given)


def problem(name: PruningName, given: Mapping[str, Any]) -> str | None:
    """What is wrong with the arguments of the pruner *name*; None: nothing."""
    known = ARGUMENTS[name]
    for argument, value in given.items():
        if argument not in known:
            return _unknown(name, argument)
        if not known[argument].accepts(value):
            return f"{argument} of pruning {name} is {value!r}; it takes {known[argument]}"
    if name in _AUTO and given.get("bootstrap_count"):
        argument, automatic = _AUTO[name]
        if given.get(argument, automatic) == automatic:
            return f"bootstrap_count of pruning {name} goes with a {argument} that is a number"
    if name == "hyperband" and isinstance(most := given.get("max_resource"), int):
        least = given.get("min_resource", 1)
        if most < least:
            return f"max_resource of pruning hyperband is {most}, below its min_resource {least}"
    return None


def _unknown(name: PruningName, argument: str) -> str:
    known = ARGUMENTS[name]
    if known:
        return f"pruning {name} takes no argument {argument!r}; it takes {', '.join(known)}"
    if name == "default":
        return f"{argument} is an argument of a pruner; say which, as in --pruning median"
    return f"pruning {name} takes no arguments; seen: {argument}"


def milder(
    name: PruningName, given: Mapping[str, Any]
) -> tuple[tuple[PruningName, dict[str, Any]], ...]:
    """What takes the place of a pruner that was too strict, step by step, down to none.

    Those that compare with all others at the same step wait longer (twice as many trials and
    steps), then prune the worst quarter only. The others have no such dials.
    """
    end: tuple[tuple[PruningName, dict[str, Any]], ...] = (("none", {}),)
    if name == "none":
        return ()
    if name not in ("median", "percentile"):
        return end
    now = arguments_of(name, given)
    later = {
        **now,
        "n_startup_trials": max(10, 2 * now["n_startup_trials"]),
        "n_warmup_steps": max(2 * now["n_warmup_steps"], now["interval_steps"]),
    }
    least = {**later, "percentile": max(75.0, now.get("percentile", 50.0))}
    return ((name, later), ("percentile", least), *end)
