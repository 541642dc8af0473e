"""Ranges narrowed to where the best trials lie: the script's own sampler draws from less."""

from __future__ import annotations

from optuna.trial import FrozenTrial

from scheduler.study.strategies.scene import Scene


class Narrowing:
    def __init__(self, scene: Scene) -> None:
        self._scene = scene

    def begin(self) -> None:
        """The call begins: the study's sampler is wrapped where ranges are asked for."""

    def finished(self, trial: FrozenTrial) -> None:
        """A trial has come to its final state."""

    def end(self) -> None:
        """The call ends: the script's own sampler is put back."""
