"""All strategies of one ``optimize`` call: the host tells them what happens, each does its part."""

from __future__ import annotations

from typing import Any

import optuna
from optuna.distributions import BaseDistribution
from optuna.trial import FrozenTrial

from scheduler.study.strategies.budget import BudgetGuard
from scheduler.study.strategies.narrowing import Narrowing
from scheduler.study.strategies.pruning import Pruning
from scheduler.study.strategies.sampling import PresetSampler
from scheduler.study.strategies.scene import Scene
from scheduler.study.strategies.warm_start import WarmStart


class Strategies:
    def __init__(self, scene: Scene) -> None:
        self._sampler = PresetSampler(scene)
        self._pruning = Pruning(scene)
        self._warm_start = WarmStart(scene)
        self._narrowing = Narrowing(scene)
        self._budget = BudgetGuard(scene)

    def begin(self) -> None:
        """Before the first trial of this life is asked for, and after open ends were settled."""
        self._sampler.begin()
        self._warm_start.begin()
        self._narrowing.begin()
        self._pruning.begin()
        self._budget.begin()

    @property
    def wrong(self) -> str | None:
        """Why no trial should run at all."""
        return self._warm_start.wrong

    def should_prune(self, asked: optuna.Trial) -> bool:
        return self._pruning.should_prune(asked)

    def suggested(
        self, asked: optuna.Trial, name: str, value: Any, distribution: BaseDistribution
    ) -> None:
        self._warm_start.suggested(asked, name, value, distribution)

    def finished(self, trial: FrozenTrial) -> None:
        """*trial* has come to its final state: COMPLETE, PRUNED, or FAIL for good."""
        self._warm_start.finished(trial)
        self._pruning.finished(trial)
        self._narrowing.finished(trial)
        self._budget.finished(trial)

    def end(self) -> None:
        self._narrowing.end()
        self._sampler.end()
