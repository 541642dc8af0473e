"""The storage of a study that brought none.

``DurableStorage`` is Optuna's own SQLite storage with two things changed. It writes ahead with
``synchronous=NORMAL``: with one writer this costs about 17 ms a trial with ten reports and cannot
corrupt; only a loss of power can take the last commits, and an attempt's outcome is fsynced apart.
And attributes and categorical choices that JSON cannot hold, which a script without a storage may
use, are kept as private files of the run.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import pickle
import sqlite3
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution
from optuna.storages import RDBStorage
from optuna.trial import FrozenTrial

from scheduler.study import inside

COPIED = "scheduler:copied"  #: what the script had put into the study is all there
JSON_CHOICES = (type(None), bool, int, float, str)  #: what Optuna's databases take
PICKLED = "scheduler:pickled"  #: the attribute's value is the name of a file in ``attributes/``


class DurableStorage(RDBStorage):
    """A study of this run, in a file of the run's folder."""

    def __init__(self, path: Path) -> None:
        self._attributes = path.parent / "attributes"
        self._attributes.mkdir(mode=0o700, exist_ok=True)
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
        # A trial's fields are read through a connection of the calling thread.
        super().__init__(f"sqlite:///{path}", {"creator": lambda: _connect(path)})

    def set_study_user_attr(self, study_id: int, key: str, value: Any) -> None:
        super().set_study_user_attr(study_id, key, self._storable(value))

    def get_study_user_attrs(self, study_id: int) -> dict[str, Any]:
        return self._restored(super().get_study_user_attrs(study_id))

    def _set_trial_attr_without_commit(
        self, session: Any, model_cls: Any, trial_id: int, key: str, value: Any
    ) -> None:
        """Also ``enqueue_trial``'s parameters; other system attributes are made for JSON."""
        for_json = not inside.is_user_attribute(model_cls) and key != "fixed_params"
        storable = value if for_json else self._storable(value)
        super()._set_trial_attr_without_commit(session, model_cls, trial_id, key, storable)

    def _set_trial_param_without_commit(
        self,
        session: Any,
        trial_id: int,
        param_name: str,
        param_value_internal: float,
        distribution: BaseDistribution,
        previous_distribution: BaseDistribution | None = None,
    ) -> None:
        storable = self._storable_choices(distribution)
        before = None
        if previous_distribution is not None:
            before = self._storable_choices(previous_distribution)
        super()._set_trial_param_without_commit(
            session, trial_id, param_name, param_value_internal, storable, before
        )

    def _build_frozen_trial_from_trial_model(self, trial: Any) -> FrozenTrial:
        frozen = super()._build_frozen_trial_from_trial_model(trial)
        frozen.user_attrs = self._restored(frozen.user_attrs)
        frozen.system_attrs = self._restored(frozen.system_attrs)
        _exchange(frozen, self._restored_choices)
        return frozen

    def _storable(self, value: Any) -> Any:
        """*value* where JSON gives it back as it is: it has no tuples and no numbers as keys."""
        with contextlib.suppress(TypeError, ValueError):
            if json.loads(json.dumps(value)) == value:
                return value
        return {PICKLED: self._keep(value)}

    def _keep(self, value: Any) -> str:
        """Write *value* into a private file; returns its name."""
        text = pickle.dumps(value)
        name = hashlib.sha256(text).hexdigest()[:32]
        descriptor = os.open(self._attributes / name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with open(descriptor, "wb") as file:
            file.write(text)
        return name

    def _storable_choices(self, distribution: BaseDistribution) -> BaseDistribution:
        """Optuna warns of choices that are tuples or functions, and takes them in memory."""
        if not isinstance(distribution, CategoricalDistribution):
            return distribution
        choices = distribution.choices
        if all(isinstance(choice, JSON_CHOICES) for choice in choices):
            return distribution
        return CategoricalDistribution(
            [c if isinstance(c, JSON_CHOICES) else f"{PICKLED}:{self._keep(c)}" for c in choices]
        )

    def _restored_choices(self, distribution: BaseDistribution) -> BaseDistribution:
        if not isinstance(distribution, CategoricalDistribution):
            return distribution
        kept = [str(choice).removeprefix(f"{PICKLED}:") for choice in distribution.choices]
        if kept == [str(choice) for choice in distribution.choices]:
            return distribution
        choices = [
            choice if name == str(choice) else self._value({PICKLED: name})
            for choice, name in zip(distribution.choices, kept, strict=True)
        ]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Optuna has said it where the user suggested them
            return CategoricalDistribution(choices)

    def _restored(self, attrs: dict[str, Any]) -> dict[str, Any]:
        return {key: self._value(value) for key, value in attrs.items()}

    def _value(self, value: Any) -> Any:
        """Unpickles only what nobody but this user can have written."""
        if not (isinstance(value, dict) and value.keys() == {PICKLED}):
            return value
        with open(self._attributes / os.path.basename(value[PICKLED]), "rb") as file:
            status = os.fstat(file.fileno())
            if status.st_uid != os.getuid() or status.st_mode & 0o022:
                raise PermissionError(f"{file.name} could have been written by another user")
            return pickle.load(file)


def _exchange(
    trial: FrozenTrial, translate: Callable[[BaseDistribution], BaseDistribution]
) -> None:
    """Put every distribution's translation in its place, and the choice made with it."""
    params, distributions = dict(trial.params), dict(trial.distributions)
    for name, distribution in distributions.items():
        other = distributions[name] = translate(distribution)
        if other is not distribution:
            params[name] = other.to_external_repr(distribution.to_internal_repr(params[name]))
    trial.distributions = distributions
    trial.params = params


def _connect(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, timeout=60, check_same_thread=False)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=NORMAL")
    return connection


def take_in(study: optuna.Study, path: Path) -> None:
    """Move *study* from memory to the file at *path*, or onto what an earlier life left there.

    What the script put into the study before this line (enqueued trials, attributes) is copied
    when the file is new; on a resume it has been copied then.
    """
    storage = inside.cached(DurableStorage(path))
    for known in storage.get_all_studies():
        if storage.get_study_system_attrs(known._study_id).get(COPIED):
            inside.put_on_storage(study, storage, known._study_id, known.study_name)
            return
        storage.delete_study(known._study_id)  # a kill came in the middle of copying
    source, source_id = inside.storage_of(study), inside.study_id_of(study)
    with inside.quiet():
        study_id = storage.create_new_study(study.directions, study.study_name)
    for key, value in source.get_study_system_attrs(source_id).items():
        storage.set_study_system_attr(study_id, key, value)
    for key, value in source.get_study_user_attrs(source_id).items():
        storage.set_study_user_attr(study_id, key, value)
    for trial in source.get_all_trials(source_id):
        storage.create_new_trial(study_id, template_trial=trial)
    storage.set_study_system_attr(study_id, COPIED, True)
    inside.put_on_storage(study, storage, study_id)
