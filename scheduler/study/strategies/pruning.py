"""Whether a trial is pruned: by the script's own pruner, or by the strategy that was asked for."""

from __future__ import annotations

import optuna
from optuna.trial import FrozenTrial

from scheduler.study.strategies.scene import Scene


class Pruning:
    def __init__(self, scene: Scene) -> None:
        self._scene = scene

    def begin(self) -> None:
        """The call begins: what its trials have shown in earlier lives is taken up."""

    def should_prune(self, asked: optuna.Trial) -> bool:
        """An attempt asks, after its reports so far."""
        return asked.should_prune()

    def finished(self, trial: FrozenTrial) -> None:
        """A trial has come to its final state."""
