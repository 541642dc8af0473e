"""Bytes that a trial will hold at its peak, from its parameters and the peaks seen. Pure.

The forecaster is the only part of the core that needs numpy. It is imported when it is first asked
for, so that who only reads or writes observations does without.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from scheduler.core.forecast.observation import (
    Belief,
    Driver,
    Forecast,
    Level,
    Observation,
    Value,
)

if TYPE_CHECKING:
    from scheduler.core.forecast.forecaster import Forecaster

__all__ = ["Belief", "Driver", "Forecast", "Forecaster", "Level", "Observation", "Value"]


def __getattr__(name: str) -> Any:
    if name != "Forecaster":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from scheduler.core.forecast.forecaster import Forecaster

    return Forecaster
