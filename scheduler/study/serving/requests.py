"""What an attempt may ask of its host, and the answers.

Anything about an attempt that has been stopped or told already still gets an answer: the storage
itself says that a finished trial cannot be changed.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import optuna
from optuna.distributions import BaseDistribution
from optuna.trial import FrozenTrial

from scheduler.study import inside
from scheduler.study.channel import StudyHandle

#: Methods of a storage that an attempt may call on a study's storage.
STORAGE_METHODS = frozenset(
    {
        "create_new_trial",
        "get_all_studies",
        "get_best_trial",
        "get_study_directions",
        "get_study_id_from_name",
        "get_study_name_from_id",
        "get_study_system_attrs",
        "get_study_user_attrs",
        "get_trial",
        "get_trial_id_from_study_id_trial_number",
        "set_study_system_attr",
        "set_study_user_attr",
        "set_trial_intermediate_value",
        "set_trial_param",
        "set_trial_state_values",
        "set_trial_system_attr",
        "set_trial_user_attr",
    }
)


def handle_of(index: int, study: optuna.Study) -> StudyHandle:
    return StudyHandle(
        index=index,
        study_id=inside.study_id_of(study),
        name=study.study_name,
        directions=tuple(study.directions),
    )


def on_storage(
    studies: list[optuna.Study], trial: optuna.Trial | None, arguments: tuple[Any, ...]
) -> Any:
    """A call of a study's storage. *trial* is the asking attempt's own, kept up to date with what
    it stores, so that ``should_prune`` need not read it back."""
    index, method, values = arguments
    if method not in STORAGE_METHODS:
        raise PermissionError(f"an attempt may not call {method} of its study's storage")
    result = getattr(inside.storage_of(studies[index]), method)(*values)
    if trial is not None and values and values[0] == inside.trial_id_of(trial):
        _keep_up(inside.live_record(trial), method, values)
    return result


def _keep_up(record: FrozenTrial, method: str, values: tuple[Any, ...]) -> None:
    if method == "set_trial_intermediate_value":
        _, step, value = values
        record.intermediate_values[step] = value
    elif method == "set_trial_param":
        _, name, internal, distribution = values
        record.distributions[name] = distribution
        record.params[name] = distribution.to_external_repr(internal)


def trials_since(study: optuna.Study, known: int, unfinished: tuple[int, ...]) -> list[FrozenTrial]:
    """Trials that an attempt does not know yet, and those it knew unfinished."""
    again = set(unfinished)
    trials = study.get_trials(deepcopy=False)
    return [trial for trial in trials if trial.number >= known or trial.number in again]


def sampling(
    study: optuna.Study, trial: optuna.Trial, name: str, distribution: BaseDistribution
) -> Callable[[], Any]:
    """A draw of one parameter, to be run in the thread that asks."""

    def draw() -> Any:
        record = inside.latest_record(trial)
        return study.sampler.sample_independent(
            inside.filtered(study, record), record, name, distribution
        )

    return draw
