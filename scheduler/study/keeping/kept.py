"""Values that a strategy keeps in its study, one attribute each, so that a later life finds them.

What is written of single trials is in ``record``.
"""

from __future__ import annotations

from typing import TypeVar

import msgspec
import optuna

from scheduler.study import inside

T = TypeVar("T")


def kept(study: optuna.Study, key: str, kind: type[T]) -> T | None:
    """What was kept as *key*; None where nothing was.

    Raises msgspec.ValidationError where it is something else.
    """
    attrs = inside.storage_of(study).get_study_system_attrs(inside.study_id_of(study))
    found = attrs.get(key)
    return None if found is None else msgspec.convert(found, kind)


def keep(study: optuna.Study, key: str, value: msgspec.Struct) -> None:
    """In the place of what was kept as *key* before."""
    storage, study_id = inside.storage_of(study), inside.study_id_of(study)
    storage.set_study_system_attr(study_id, key, msgspec.to_builtins(value))
