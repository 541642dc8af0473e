"""Optuna's three extension points as seen in an attempt: each only asks the host.

So an attempt's trial is an ordinary ``optuna.Trial``, and everything written for one works.
"""

from __future__ import annotations

import copy
from collections.abc import Container, Sequence
from typing import Any

import optuna
from optuna.distributions import BaseDistribution
from optuna.pruners import BasePruner
from optuna.samplers import BaseSampler
from optuna.storages import BaseStorage
from optuna.study import StudyDirection
from optuna.study._frozen import FrozenStudy
from optuna.trial import FrozenTrial, TrialState

from scheduler.study import inside
from scheduler.study.channel import Go, Line


class StandInStorage(BaseStorage):
    """One study's storage. ``quiet``: reads are answered, writes are dropped.

    Quiet is for a script that is run again up to its ``optimize`` call: its lines before the call
    have had their effect in the host already.
    """

    def __init__(self, line: Line, index: int, *, quiet: bool = False) -> None:
        self._line = line
        self._index = index
        self.quiet = quiet
        self._trials: dict[int, FrozenTrial] = {}
        self._own: FrozenTrial | None = None

    def know(self, trial: FrozenTrial) -> None:
        """Answer the next question for this trial without asking: the host has just sent it."""
        self._own = trial

    def _read(self, method: str, *arguments: Any) -> Any:
        return self._line.ask("storage", self._index, method, arguments)

    def _write(self, method: str, *arguments: Any) -> Any:
        return None if self.quiet else self._read(method, *arguments)

    def get_trial(self, trial_id: int) -> FrozenTrial:
        own, self._own = self._own, None
        if own is not None and inside.trial_id_of(own) == trial_id:
            return own
        trial: FrozenTrial = self._read("get_trial", trial_id)
        return trial

    def get_all_trials(
        self,
        study_id: int,
        deepcopy: bool = True,
        states: Container[TrialState] | None = None,
    ) -> list[FrozenTrial]:
        """Finished trials are kept here: 20,000 of them take seconds to send."""
        unfinished = tuple(n for n, t in self._trials.items() if not t.state.is_finished())
        news = self._line.ask("trials", self._index, len(self._trials), unfinished)
        self._trials |= {trial.number: trial for trial in news}
        trials = [self._trials[n] for n in sorted(self._trials)]
        if states is not None:
            trials = [trial for trial in trials if trial.state in states]
        return copy.deepcopy(trials) if deepcopy else trials

    def create_new_study(
        self, directions: Sequence[StudyDirection], study_name: str | None = None
    ) -> int:
        raise RuntimeError("a trial cannot create a study in the storage of the study that runs it")

    def delete_study(self, study_id: int) -> None:
        if not self.quiet:
            raise RuntimeError("a trial cannot delete the study that runs it")

    def set_study_user_attr(self, study_id: int, key: str, value: Any) -> None:
        self._write("set_study_user_attr", study_id, key, value)

    def set_study_system_attr(self, study_id: int, key: str, value: Any) -> None:
        self._write("set_study_system_attr", study_id, key, value)

    def get_study_id_from_name(self, study_name: str) -> int:
        return int(self._read("get_study_id_from_name", study_name))

    def get_study_name_from_id(self, study_id: int) -> str:
        return str(self._read("get_study_name_from_id", study_id))

    def get_study_directions(self, study_id: int) -> list[StudyDirection]:
        directions: list[StudyDirection] = self._read("get_study_directions", study_id)
        return directions

    def get_study_user_attrs(self, study_id: int) -> dict[str, Any]:
        attrs: dict[str, Any] = self._read("get_study_user_attrs", study_id)
        return attrs

    def get_study_system_attrs(self, study_id: int) -> dict[str, Any]:
        attrs: dict[str, Any] = self._read("get_study_system_attrs", study_id)
        return attrs

    def get_all_studies(self) -> list[FrozenStudy]:
        studies: list[FrozenStudy] = self._read("get_all_studies")
        return studies

    def create_new_trial(self, study_id: int, template_trial: FrozenTrial | None = None) -> int:
        trial_id = self._write("create_new_trial", study_id, template_trial)
        return -1 if trial_id is None else int(trial_id)

    def set_trial_param(
        self,
        trial_id: int,
        param_name: str,
        param_value_internal: float,
        distribution: BaseDistribution,
    ) -> None:
        self._write("set_trial_param", trial_id, param_name, param_value_internal, distribution)

    def set_trial_state_values(
        self, trial_id: int, state: TrialState, values: Sequence[float] | None = None
    ) -> bool:
        return bool(self._write("set_trial_state_values", trial_id, state, values))

    def set_trial_intermediate_value(
        self, trial_id: int, step: int, intermediate_value: float
    ) -> None:
        self._write("set_trial_intermediate_value", trial_id, step, intermediate_value)

    def set_trial_user_attr(self, trial_id: int, key: str, value: Any) -> None:
        self._write("set_trial_user_attr", trial_id, key, value)

    def set_trial_system_attr(self, trial_id: int, key: str, value: Any) -> None:
        self._write("set_trial_system_attr", trial_id, key, value)

    def get_best_trial(self, study_id: int) -> FrozenTrial:
        best: FrozenTrial = self._read("get_best_trial", study_id)
        return best

    def get_trial_id_from_study_id_trial_number(self, study_id: int, trial_number: int) -> int:
        return int(self._read("get_trial_id_from_study_id_trial_number", study_id, trial_number))


class StandInSampler(BaseSampler):
    """What the host's sampler has drawn for this trial; for the rest, a question to the host."""

    def __init__(self, line: Line, go: Go) -> None:
        self._line = line
        self._go = go

    def infer_relative_search_space(
        self, study: optuna.Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        return self._go.search_space

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        return self._go.relative_params

    def sample_independent(
        self,
        study: optuna.Study,
        trial: FrozenTrial,
        param_name: str,
        param_distribution: BaseDistribution,
    ) -> Any:
        return self._line.ask("sample", param_name, param_distribution)


class StandInPruner(BasePruner):
    """The host's pruner decides, on the host's record of this trial."""

    def __init__(self, line: Line) -> None:
        self._line = line

    def prune(self, study: optuna.Study, trial: FrozenTrial) -> bool:
        return bool(self._line.ask("prune"))
