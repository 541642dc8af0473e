"""Everything of Optuna's that is not public and that we use, in one place.

Written against Optuna 5; each of these names is exercised by the tests, so that a release that
moves one shows up there and nowhere else.
"""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Callable, Container, Iterator, Sequence
from typing import Any

import numpy as np
import optuna
from optuna.distributions import BaseDistribution, _get_single_value
from optuna.pruners import _filter_study
from optuna.samplers import (
    BaseSampler,
    BruteForceSampler,
    CmaEsSampler,
    GridSampler,
    PartialFixedSampler,
    QMCSampler,
)
from optuna.samplers._ga import BaseGASampler
from optuna.storages import BaseStorage, InMemoryStorage, RDBStorage, _CachedStorage
from optuna.storages._rdb.models import TrialUserAttributeModel
from optuna.study import StudyDirection
from optuna.study._constrained_optimization import _get_feasible_trials
from optuna.study._multi_objective import _fast_non_domination_rank
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


# -- samplers ------------------------------------------------------------------------------------

#: Samplers that keep their state in the attributes of trials or of the study.
WRITES_STATE = (CmaEsSampler, BaseGASampler, QMCSampler)
#: They go through a list of values that the script has fixed.
ENUMERATES = (GridSampler, BruteForceSampler)
_SAMPLERS = ("cma:", "sepcma:", "cmawm:", "x_for_tell", "tpe:", "gp:")


def is_samplers(key: str) -> bool:
    """Of a trial's system attributes, one that a sampler remembers its own draws by."""
    return key.startswith(_SAMPLERS) or key.endswith(":generation")


class OwnAttributes:
    """A storage in which the study's system attributes that samplers write are those of *version*.

    Genetic samplers keep the parents of each generation there, by trial.
    """

    def __init__(self, storage: BaseStorage, version: int) -> None:
        self._storage = storage
        self._prefix = f"scheduler:sampler:{version}:"

    def __getattr__(self, name: str) -> Any:
        return getattr(self._storage, name)

    def get_study_system_attrs(self, study_id: int) -> dict[str, Any]:
        attrs = self._storage.get_study_system_attrs(study_id)
        own = {k.removeprefix(self._prefix): v for k, v in attrs.items() if self._prefix in k}
        return {k: v for k, v in attrs.items() if ":parent:" not in k} | own

    def set_study_system_attr(self, study_id: int, key: str, value: Any) -> None:
        self._storage.set_study_system_attr(study_id, self._prefix + key, value)


def be_like(new: optuna.Study, study: optuna.Study, storage: Any) -> None:
    """Make *new*, which was not initialised, the same study on *storage*.

    Only what the studies that Hyperband shows to samplers have, too.
    """
    new.study_name = study.study_name
    new.pruner = study.pruner
    new._storage = storage
    new._study_id = study._study_id
    new._directions = study._directions
    new._thread_local = study._thread_local
    new._stop_flag = False


def with_sampler(study: optuna.Study, sampler: BaseSampler) -> optuna.Study:
    """The same study, in which *sampler* draws."""
    seen = optuna.Study.__new__(optuna.Study)
    be_like(seen, study, study._storage)
    seen.sampler = sampler
    return seen


def draws_ahead(sampler: BaseSampler) -> bool:
    """Whether an independent draw depends on nothing that a trial has suggested before.

    So it is with Optuna's samplers, but for one that goes down a tree of what was suggested. Of
    others it is not known.
    """
    fixed = fixed_by(sampler)
    if fixed is not None:
        return draws_ahead(fixed[1])
    if isinstance(sampler, BruteForceSampler):
        return False
    return type(sampler).__module__.partition(".")[0] == "optuna"


def is_grid(sampler: BaseSampler) -> bool:
    """It goes through fixed points and ends by itself."""
    return isinstance(sampler, GridSampler)


def trials_of(
    study: optuna.Study, states: Container[TrialState] | None, *, use_cache: bool
) -> list[FrozenTrial]:
    """As samplers read them; not to be changed. *use_cache*: as they were when the ask began."""
    return study._get_trials(deepcopy=False, states=states, use_cache=use_cache)


def choose_fixed(
    trial: optuna.Trial, choose: Callable[[str, BaseDistribution], tuple[Any] | None]
) -> None:
    """Parameters that an enqueued trial fixes become what *choose* says; None: they are drawn."""
    fixed = dict(trial._fixed_params)

    def is_fixed(name: str, distribution: BaseDistribution) -> bool:
        chosen = choose(name, distribution) if name in fixed else None
        if chosen is not None:
            (fixed[name],) = chosen
        return chosen is not None

    trial._fixed_params = fixed
    trial._is_fixed_param = is_fixed  # type: ignore[method-assign]


def takes(distribution: BaseDistribution, value: Any) -> bool:
    """Whether *value* is one that can be drawn from *distribution*."""
    try:
        return distribution._contains(distribution.to_internal_repr(value))
    except ValueError:  # none of its choices, or no number
        return False


def best_first(trials: list[FrozenTrial], directions: Sequence[StudyDirection]) -> list[int]:
    """Indexes of COMPLETE *trials*: those that keep to their constraints, the best first; of
    several objectives by non-domination, ties by number."""
    feasible = _get_feasible_trials(trials)
    signs = [-1.0 if one == StudyDirection.MAXIMIZE else 1.0 for one in directions]
    losses = np.array([np.multiply(signs, one.values) for one in feasible]).reshape(-1, len(signs))
    ranks = losses[:, 0] if len(signs) == 1 else _fast_non_domination_rank(losses)
    place = {id(one): index for index, one in enumerate(trials)}
    return [place[id(feasible[index])] for index in np.argsort(ranks, kind="stable")]


def only_value(distribution: BaseDistribution) -> Any:
    """Of one that has a single value."""
    return _get_single_value(distribution)


def fixed_by(sampler: BaseSampler) -> tuple[dict[str, Any], BaseSampler] | None:
    """What a sampler fixes, and who draws the others; None: it is not of that kind."""
    if not isinstance(sampler, PartialFixedSampler):
        return None
    return sampler._fixed_params, sampler._base_sampler


def fixing(fixed: dict[str, Any], sampler: BaseSampler) -> BaseSampler:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that it is experimental, the script has heard
        return PartialFixedSampler(fixed, sampler)
