"""Studies of earlier runs, and of anybody's: opened by their URL and name, only to be read.

A run's own study is read by ``trials``, which knows where runs keep theirs.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from optuna.storages import BaseStorage, JournalStorage, RDBStorage
from optuna.storages.journal import JournalFileBackend
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial

from scheduler.study import inside
from scheduler.study.reading.trials import Unreachable

SQLITE = "sqlite:///"


def read_earlier(url: str, name: str) -> list[FrozenTrial]:
    """All trials of study *name* at *url*, by number.

    *url*: a database as Optuna takes it, or the path of a journal file. Raises Unreachable.
    """
    return read_study(url, name)[0]


def read_study(url: str, name: str) -> tuple[list[FrozenTrial], tuple[StudyDirection, ...]]:
    """The trials, by number, and what the study's objectives are to become. Raises Unreachable."""
    shown = _shown(url)
    try:
        with inside.quiet(), _opened(url) as storage:
            study_id = _study_id(storage, name, shown)
            trials = storage.get_all_trials(study_id, deepcopy=False)
            return trials, tuple(storage.get_study_directions(study_id))
    except Unreachable:
        raise
    except Exception as error:  # any driver's own
        said = str(error).splitlines()[:1] or [type(error).__name__]
        raise Unreachable(f"study {name} in {shown} cannot be read: {said[0]}") from error


def _study_id(storage: BaseStorage, name: str, shown: str) -> int:
    try:
        return storage.get_study_id_from_name(name)
    except KeyError:
        known = sorted(study.study_name for study in storage.get_all_studies())
        there = f"there are: {', '.join(known[:10])}" if known else "there is none"
        raise Unreachable(f"{shown} has no study named {name}; {there}") from None


@contextlib.contextmanager
def _opened(url: str) -> Iterator[BaseStorage]:
    """A file that is not there is not made."""
    if url.startswith(SQLITE) or "://" not in url:
        path = Path(url.removeprefix(SQLITE).partition("?")[0])
        if not path.is_file():
            raise Unreachable(f"{path} is not there")
        if not url.startswith(SQLITE):
            yield JournalStorage(JournalFileBackend(str(path)))
            return
    # No tables are made in what may be somebody else's database.
    storage = RDBStorage(url, skip_compatibility_check=True, skip_table_creation=True)
    try:
        yield storage
    finally:
        storage.remove_session()
        storage.engine.dispose()


def _shown(url: str) -> str:
    """Without a password."""
    if "://" not in url:
        return url
    with contextlib.suppress(Exception):
        from sqlalchemy.engine import make_url

        return make_url(url).render_as_string(hide_password=True)
    return url.partition("://")[0]
