"""Which parameters a trial is likely to suggest, from those that have suggested some. Pure.

Optuna knows a space only by running objectives, so it is the union of what recent trials had. Of a
conditional one, a parameter is left out where no trial alike had it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from optuna.distributions import BaseDistribution, CategoricalDistribution, IntDistribution

RECENT = 100  #: trials looked at: a script's ranges may change between runs
DISCRETE = 20  #: a whole number with at most so many values may be what others depend on
ALIKE = 5  #: trials that agree in a parameter, from which on what they lack says something


@dataclass(frozen=True, kw_only=True)
class Space:
    """``distributions``: of each name its newest, those that every trial had first."""

    distributions: dict[str, BaseDistribution] = field(default_factory=dict)
    trials: tuple[Mapping[str, Any], ...] = ()  #: parameters of each

    def foretold(self, known: Mapping[str, Any]) -> Iterator[str]:
        """Names that a trial with the values *known* lacks and will suggest. What is put into
        *known* meanwhile is heeded."""
        for name in self.distributions:
            if name not in known and self._is_there(name, known):
                yield name

    def _is_there(self, name: str, known: Mapping[str, Any]) -> bool:
        if all(name in params for params in self.trials):
            return True
        for other, distribution in self.distributions.items():
            if other == name or other not in known or not _is_discrete(distribution):
                continue
            alike = [one for one in self.trials if _has(one, other, known[other])]
            if len(alike) >= ALIKE and not any(name in params for params in alike):
                return False
        return True


def space_of(
    trials: Sequence[tuple[Mapping[str, Any], Mapping[str, BaseDistribution]]],
) -> Space:
    """*trials*: the parameters and distributions of each, oldest first."""
    recent = [one for one in trials if one[0]][-RECENT:]
    newest: dict[str, BaseDistribution] = {}
    for _, distributions in recent:
        newest |= distributions
    count = Counter(name for params, _ in recent for name in params)
    names = sorted(_in_order(params for params, _ in recent), key=lambda name: -count[name])
    return Space(
        distributions={name: newest[name] for name in names if name in newest},
        trials=tuple(params for params, _ in recent),
    )


def _in_order(trials: Iterable[Mapping[str, Any]]) -> dict[str, None]:
    return dict.fromkeys(name for params in trials for name in params)


def _has(params: Mapping[str, Any], name: str, value: Any) -> bool:
    return name in params and bool(params[name] == value)


def _is_discrete(distribution: BaseDistribution) -> bool:
    if isinstance(distribution, CategoricalDistribution):
        return True
    if not isinstance(distribution, IntDistribution):
        return False
    return (distribution.high - distribution.low) // distribution.step < DISCRETE
