"""All strategies of one ``optimize`` call: the host tells them what happens, each does its part."""

from __future__ import annotations

from functools import partial
from typing import Any

import optuna
from optuna.distributions import BaseDistribution
from optuna.trial import FrozenTrial

from scheduler.core.model import Run
from scheduler.strategies.wishes import Key
from scheduler.study.strategies.budget import BudgetGuard
from scheduler.study.strategies.narrowing import Narrowing
from scheduler.study.strategies.pruning import Pruning
from scheduler.study.strategies.sampling import PresetSampler
from scheduler.study.strategies.scene import Scene
from scheduler.study.strategies.warm_start import WarmStart
from scheduler.study.strategies.wishing import Wishing

_OF_BUDGET: tuple[Key, ...] = ("n_trials", "extend_to", "target", "floor", "patience")


class Strategies:
    def __init__(self, scene: Scene) -> None:
        self._sampler = PresetSampler(scene)
        self._pruning = Pruning(scene)
        self._warm_start = WarmStart(scene)
        self._narrowing = Narrowing(scene)
        self._budget = BudgetGuard(scene)
        self._wishing = Wishing(
            scene,
            {
                "pruning": self._pruning.set,
                "ranges": self._narrowing.set,
                **{key: partial(self._budget.set, key) for key in _OF_BUDGET},
            },
        )

    def begin(self) -> None:
        """Before the first trial of this life is asked for, and after open ends were settled."""
        self._sampler.begin()
        self._warm_start.begin()
        self._narrowing.begin()
        self._pruning.begin()
        self._wishing.begin()
        self._budget.begin()

    def look(self) -> None:
        """Often: whether the user has set something."""
        self._wishing.look()

    def applied_to(self, run: Run) -> Run:
        """*run* with what its user has set since."""
        return self._wishing.applied_to(run)

    def work(self) -> None:
        """Do for a moment what takes long."""
        if self._warm_start.is_at_work:
            self._warm_start.work()
            self._pruning.others_were_added()

    @property
    def is_at_work(self) -> bool:
        """Something is left of that."""
        return self._warm_start.is_at_work

    @property
    def wrong(self) -> str | None:
        """Why no trial should run at all."""
        return self._warm_start.wrong

    def should_prune(self, asked: optuna.Trial) -> bool:
        return self._pruning.should_prune(asked)

    def setting(
        self, asked: optuna.Trial, name: str, distribution: BaseDistribution
    ) -> tuple[Any] | None:
        """What an attempt with a setting to try takes for *name*; None: what is drawn."""
        return self._warm_start.setting(asked, name, distribution)

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
        self._warm_start.end()
        self._pruning.end()
        self._narrowing.end()
        self._sampler.end()
