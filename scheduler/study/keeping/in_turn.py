"""Order between the threads of a host that use one storage."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Container, Sequence
from contextlib import AbstractContextManager
from typing import Any

from optuna.distributions import BaseDistribution
from optuna.storages import BaseStorage
from optuna.study import StudyDirection
from optuna.study._frozen import FrozenStudy
from optuna.trial import FrozenTrial, TrialState

from scheduler.study.keeping.recent import Recent


class InTurn(BaseStorage):
    """One call at a time. A host asks in one thread and serves its attempts in another; on SQLite
    two transactions at once, each reading before it writes, end in "database is locked"."""

    def __init__(self, storage: BaseStorage) -> None:
        self.behind = storage
        self.recent = Recent(storage)
        self._lock = threading.RLock()

    def create_new_study(
        self, directions: Sequence[StudyDirection], study_name: str | None = None
    ) -> int:
        with self._lock:
            return self.behind.create_new_study(directions, study_name)

    def delete_study(self, study_id: int) -> None:
        with self._lock:
            self.behind.delete_study(study_id)
            self.recent.forget()

    def set_study_user_attr(self, study_id: int, key: str, value: Any) -> None:
        with self._lock:
            self.behind.set_study_user_attr(study_id, key, value)

    def set_study_system_attr(self, study_id: int, key: str, value: Any) -> None:
        with self._lock:
            self.behind.set_study_system_attr(study_id, key, value)

    def get_study_id_from_name(self, study_name: str) -> int:
        with self._lock:
            return self.behind.get_study_id_from_name(study_name)

    def get_study_name_from_id(self, study_id: int) -> str:
        with self._lock:
            return self.behind.get_study_name_from_id(study_id)

    def get_study_directions(self, study_id: int) -> list[StudyDirection]:
        with self._lock:
            return self.behind.get_study_directions(study_id)

    def get_study_user_attrs(self, study_id: int) -> dict[str, Any]:
        with self._lock:
            return self.behind.get_study_user_attrs(study_id)

    def get_study_system_attrs(self, study_id: int) -> dict[str, Any]:
        with self._lock:
            return self.behind.get_study_system_attrs(study_id)

    def get_all_studies(self) -> list[FrozenStudy]:
        with self._lock:
            return self.behind.get_all_studies()

    def create_new_trial(self, study_id: int, template_trial: FrozenTrial | None = None) -> int:
        with self._lock:
            self.recent.forget()
            return self.behind.create_new_trial(study_id, template_trial)

    def set_trial_param(
        self,
        trial_id: int,
        param_name: str,
        param_value_internal: float,
        distribution: BaseDistribution,
    ) -> None:
        with self._lock:
            self.recent.forget()
            self.behind.set_trial_param(trial_id, param_name, param_value_internal, distribution)

    def get_trial_id_from_study_id_trial_number(self, study_id: int, trial_number: int) -> int:
        with self._lock:
            return self.behind.get_trial_id_from_study_id_trial_number(study_id, trial_number)

    def set_trial_state_values(
        self, trial_id: int, state: TrialState, values: Sequence[float] | None = None
    ) -> bool:
        with self._lock:
            self.recent.forget()
            return self.behind.set_trial_state_values(trial_id, state, values)

    def set_trial_intermediate_value(
        self, trial_id: int, step: int, intermediate_value: float
    ) -> None:
        with self._lock:
            self.behind.set_trial_intermediate_value(trial_id, step, intermediate_value)
            self.recent.put(trial_id, "intermediate_values", step, intermediate_value)

    def set_trial_user_attr(self, trial_id: int, key: str, value: Any) -> None:
        with self._lock:
            self.behind.set_trial_user_attr(trial_id, key, value)
            self.recent.put(trial_id, "user_attrs", key, value)

    def set_trial_system_attr(self, trial_id: int, key: str, value: Any) -> None:
        with self._lock:
            self.behind.set_trial_system_attr(trial_id, key, value)
            self.recent.put(trial_id, "system_attrs", key, value)

    def get_trial(self, trial_id: int) -> FrozenTrial:
        with self._lock:
            return self.behind.get_trial(trial_id)

    def get_all_trials(
        self,
        study_id: int,
        deepcopy: bool = True,
        states: Container[TrialState] | None = None,
    ) -> list[FrozenTrial]:
        with self._lock:
            if self.recent.is_shown:
                return self.recent.trials(study_id, deepcopy, states)
            return self.behind.get_all_trials(study_id, deepcopy, states)

    def get_best_trial(self, study_id: int) -> FrozenTrial:
        with self._lock:
            return self.behind.get_best_trial(study_id)

    def remove_session(self) -> None:
        with self._lock:
            self.behind.remove_session()


def as_read_lately(storage: BaseStorage) -> AbstractContextManager[None]:
    """Within, this thread reads all trials of *storage* as ``recent`` has them."""
    return storage.recent.shown() if isinstance(storage, InTurn) else contextlib.nullcontext()
