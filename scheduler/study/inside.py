"""Everything of Optuna's that is not public and that we use, in one place.

Written against Optuna 5; each of these names is exercised by the tests, so that a release that
moves one shows up there and nowhere else.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

import optuna
from optuna.pruners import _filter_study
from optuna.storages import BaseStorage, InMemoryStorage, RDBStorage, _CachedStorage
from optuna.storages._rdb.models import TrialUserAttributeModel
from optuna.study._optimize import _log_failed_trial
from optuna.study._tell import _tell_with_warning
from optuna.trial import FrozenTrial, TrialState

logger = optuna.logging.get_logger("optuna.study._optimize")


def is_user_attribute(model: type) -> bool:
    """Of the tables in which a database keeps the attributes of trials."""
    return model is TrialUserAttributeModel


def storage_of(study: optuna.Study) -> BaseStorage:
    return study._storage


def study_id_of(study: optuna.Study) -> int:
    return study._study_id


def put_on_storage(
    study: optuna.Study, storage: BaseStorage, study_id: int, name: str | None = None
) -> None:
    """Make *study* speak to *storage* from now on."""
    study._storage = storage
    study._study_id = study_id
    study._thread_local.cached_all_trials = None
    if name is not None:
        study.study_name = name


def is_in_memory(storage: BaseStorage) -> bool:
    return isinstance(storage, InMemoryStorage)


def cached(storage: RDBStorage) -> BaseStorage:
    """What Optuna itself puts around a database."""
    return _CachedStorage(storage)


def database_of(storage: BaseStorage) -> RDBStorage | None:
    """The database behind *storage*; None where there is none."""
    backend = storage._backend if isinstance(storage, _CachedStorage) else storage
    return backend if isinstance(backend, RDBStorage) else None


def in_optimize_loop(study: optuna.Study) -> bool:
    return study._thread_local.in_optimize_loop


def set_in_optimize_loop(study: optuna.Study, inside: bool) -> None:
    """Samplers such as GridSampler call ``study.stop()``, which is refused outside the loop.

    The flag belongs to a thread: set it in each thread that calls the sampler.
    """
    study._thread_local.in_optimize_loop = inside


def stop_flag(study: optuna.Study) -> bool:
    return study._stop_flag


def set_stop_flag(study: optuna.Study, stop: bool) -> None:
    study._stop_flag = stop


def forget_cached_trials(study: optuna.Study) -> None:
    """Optuna keeps a list of all trials for the time of one ask; a new ask reads anew."""
    study._thread_local.cached_all_trials = None


def filtered(study: optuna.Study, trial: FrozenTrial) -> optuna.Study:
    """The study as Hyperband wants samplers to see it: only the trials of one bracket."""
    return _filter_study(study, trial)


def live_record(trial: optuna.Trial) -> FrozenTrial:
    """The trial's own record, which ``should_prune`` and ``suggest`` read."""
    return trial._cached_frozen_trial


def latest_record(trial: optuna.Trial) -> FrozenTrial:
    """The same with the system attributes read when they are needed, as samplers are given it."""
    return trial._get_latest_trial()


def trial_id_of(trial: optuna.Trial | FrozenTrial) -> int:
    return trial._trial_id


def tell(
    study: optuna.Study,
    trial: optuna.Trial | int,
    value: float | Sequence[float] | None,
    state: TrialState | None,
) -> tuple[TrialState, list[float] | None, str | None]:
    """Tell as ``optimize`` does: state None lets the value decide; no warning is printed.

    Returns the state, the values, and why a value was not accepted.
    """
    return _tell_with_warning(
        study=study, trial=trial, value_or_values=value, state=state, suppress_warning=True
    )


def log_complete(
    study: optuna.Study, values: list[float], number: int, params: dict[str, Any]
) -> None:
    study._log_completed_trial(values, number, params)


def log_failed(number: int, params: dict[str, Any], message: str, value: object) -> None:
    _log_failed_trial(number, params, message, value_or_values=value)


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """No log lines of Optuna's for what the user has not asked for."""
    level = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        yield
    finally:
        optuna.logging.set_verbosity(level)


def journal_path_of(storage: BaseStorage) -> str | None:
    """The file of a JournalStorage; None where it is something else or has no file."""
    backend = getattr(storage, "_backend", None)
    path = getattr(backend, "_file_path", None)
    return path if isinstance(path, str) else None
