"""Settings that are tried first, and results that are known before the first trial."""

from __future__ import annotations

from typing import Any

import optuna
from optuna.distributions import BaseDistribution
from optuna.trial import FrozenTrial

from scheduler.study.strategies.scene import Scene


class WarmStart:
    """``wrong``: what of the settings does not suit the objective; it ends the run."""

    def __init__(self, scene: Scene) -> None:
        self._scene = scene
        self.wrong: str | None = None

    def begin(self) -> None:
        """The call begins: what is to be tried first waits in the study, once and for all lives."""

    def suggested(
        self, asked: optuna.Trial, name: str, value: Any, distribution: BaseDistribution
    ) -> None:
        """An attempt has suggested *name*, from *distribution*, and got *value* (external)."""

    def finished(self, trial: FrozenTrial) -> None:
        """A trial has come to its final state."""
