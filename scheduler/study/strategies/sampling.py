"""The sampler that a preset stands for, where the script chose none."""

from __future__ import annotations

import optuna

from scheduler.study.strategies.scene import Scene

STARTUP_TRIALS = 10  #: drawn at random before TPE has something to go by


class PresetSampler:
    def __init__(self, scene: Scene) -> None:
        self._scene = scene
        self._own: optuna.samplers.BaseSampler | None = None

    def begin(self) -> None:
        """The call begins: TPE that sees parameters together, unless the script chose a sampler."""
        if self._scene.asked.sampler != "tpe" or self._scene.has_own_sampler:
            return
        study = self._scene.study
        self._own = study.sampler
        study.sampler = optuna.samplers.TPESampler(
            multivariate=True, n_startup_trials=STARTUP_TRIALS
        )

    def end(self) -> None:
        """The call ends: what the study had is put back."""
        if self._own is not None:
            self._scene.study.sampler = self._own
