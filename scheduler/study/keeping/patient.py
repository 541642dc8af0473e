"""A storage whose writes wait for a disk that takes nothing, instead of ending the run."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from optuna.distributions import BaseDistribution
from optuna.storages import BaseStorage
from optuna.trial import FrozenTrial, TrialState

from scheduler.machine.room import insist
from scheduler.study.keeping.in_turn import InTurn


class Patient(InTurn):
    """Waits as long as the disk of *folder*, the run's, takes nothing, whoever asks.

    Each write is one transaction: there is no half of one. What an attempt asks meanwhile is
    answered afterwards, so it stays where it is.
    """

    def __init__(self, storage: BaseStorage, folder: Path) -> None:
        super().__init__(storage)
        self._folder = folder

    def set_study_user_attr(self, study_id: int, key: str, value: Any) -> None:
        insist(partial(super().set_study_user_attr, study_id, key, value), self._folder)

    def set_study_system_attr(self, study_id: int, key: str, value: Any) -> None:
        insist(partial(super().set_study_system_attr, study_id, key, value), self._folder)

    def create_new_trial(self, study_id: int, template_trial: FrozenTrial | None = None) -> int:
        return insist(partial(super().create_new_trial, study_id, template_trial), self._folder)

    def set_trial_param(
        self,
        trial_id: int,
        param_name: str,
        param_value_internal: float,
        distribution: BaseDistribution,
    ) -> None:
        write = partial(
            super().set_trial_param, trial_id, param_name, param_value_internal, distribution
        )
        insist(write, self._folder)

    def set_trial_state_values(
        self, trial_id: int, state: TrialState, values: Sequence[float] | None = None
    ) -> bool:
        return insist(
            partial(super().set_trial_state_values, trial_id, state, values), self._folder
        )

    def set_trial_intermediate_value(
        self, trial_id: int, step: int, intermediate_value: float
    ) -> None:
        write = partial(super().set_trial_intermediate_value, trial_id, step, intermediate_value)
        insist(write, self._folder)

    def set_trial_user_attr(self, trial_id: int, key: str, value: Any) -> None:
        insist(partial(super().set_trial_user_attr, trial_id, key, value), self._folder)

    def set_trial_system_attr(self, trial_id: int, key: str, value: Any) -> None:
        insist(partial(super().set_trial_system_attr, trial_id, key, value), self._folder)
