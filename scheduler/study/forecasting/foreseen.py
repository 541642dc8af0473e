"""The parameters of a trial that has been asked for and has not begun.

Some are settled when it is asked: those that somebody enqueued, what the sampler draws together,
those of a single value. The rest is drawn here, as the objective would have it drawn, and kept for
it: it is answered with when it asks for that parameter from that distribution. Nothing is stored
until then. (Asking with the space seen so far fixed would change the study: on a conditional space
up to 14 trials in 60 carried parameters that they never used.)
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import optuna
from optuna.distributions import BaseDistribution

from scheduler.strategies.fitting import Fit, fit
from scheduler.study import inside
from scheduler.study.forecasting.space import Space
from scheduler.study.keeping.record import FIXED, WARM
from scheduler.study.strategies.plain import range_of


@dataclass(frozen=True, kw_only=True)
class Foreseen:
    """``params`` are external values with what they were drawn from; ``drawn`` those that only the
    sampler's independent draw settles."""

    params: dict[str, tuple[Any, BaseDistribution]] = field(default_factory=dict)
    drawn: frozenset[str] = frozenset()

    @property
    def values(self) -> dict[str, Any]:
        return {name: value for name, (value, _) in self.params.items()}

    def drawn_for(self, name: str, distribution: BaseDistribution) -> tuple[Any] | None:
        """What was drawn for the trial; None: nothing, or from another distribution."""
        if name not in self.drawn or self.params[name][1] != distribution:
            return None
        return (self.params[name][0],)


def foresee(asked: optuna.Trial, space: Space) -> Foreseen:
    """To be called where the sampler is asked. *asked* has its relative parameters."""
    record = inside.live_record(asked)
    found = {name: (value, record.distributions[name]) for name, value in record.params.items()}
    relative = asked.relative_search_space or {}
    found |= {
        name: (value, relative[name])
        for name, value in asked.relative_params.items()
        if name in relative and name not in found
    }
    values = {name: value for name, (value, _) in found.items()}
    fixed: Mapping[str, Any] = record.system_attrs.get(FIXED) or {}
    for name in fixed:
        settled = _fixed(record.system_attrs, name, fixed[name], space.distributions.get(name))
        if settled is not None:
            found[name] = settled
            values[name] = settled[0]
    drawn = set()
    for name in space.foretold(values):
        distribution = space.distributions[name]
        if distribution.single():
            value = inside.only_value(distribution)
        else:
            value = _draw(asked, name, distribution)
            drawn.add(name)
        found[name] = (value, distribution)
        values[name] = value
    return Foreseen(params=found, drawn=frozenset(drawn))


def _fixed(
    attrs: Mapping[str, Any], name: str, value: Any, distribution: BaseDistribution | None
) -> tuple[Any, BaseDistribution] | None:
    """What an enqueued trial will have; None: not known. A setting to try first is fitted, as the
    attempt's will be."""
    if distribution is None:
        return None
    if WARM in attrs:
        fitted = fit(name, value, range_of(distribution))
        if isinstance(fitted, Fit):
            return fitted.value, distribution
        return None if fitted.nearest is None else (fitted.nearest, distribution)
    return (value, distribution) if inside.takes(distribution, value) else None


def _draw(asked: optuna.Trial, name: str, distribution: BaseDistribution) -> Any:
    study, record = asked.study, inside.latest_record(asked)
    return study.sampler.sample_independent(
        inside.filtered(study, record), record, name, distribution
    )
