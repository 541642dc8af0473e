"""Stopping early when nothing better is to come, and going on once when nothing good has come."""

from __future__ import annotations

from optuna.trial import FrozenTrial

from scheduler.study.strategies.scene import Scene


class BudgetGuard:
    def __init__(self, scene: Scene) -> None:
        self._scene = scene

    def begin(self) -> None:
        """The call begins: what earlier lives have decided holds."""

    def finished(self, trial: FrozenTrial) -> None:
        """A trial has come to its final state."""
