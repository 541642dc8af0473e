"""What a run's host must know of its earlier lives: which studies the script made, and where.

One file, ``studies.json``, in the run's folder: for each study in the order of creation its name,
or null for one that was kept in memory (``storage.take_in`` finds that one by its number), and the
files that the studies live in.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import msgspec
import optuna

from scheduler.machine.runs import read_whole, write_whole
from scheduler.study import inside


class Studies(msgspec.Struct, frozen=True, kw_only=True):
    names: tuple[str | None, ...] = ()
    files: tuple[str, ...] = ()


class Memory:
    """``resumed``: there was an earlier life."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / "studies.json"
        self._earlier = read_whole(self._path, Studies) or Studies()
        self._now = Studies(files=self._earlier.files)
        self.resumed = bool(self._earlier.names)

    def study(self, index: int) -> str | None:
        """The name that the *index*-th study had in an earlier life; None: unknown."""
        names = self._earlier.names
        return names[index] if index < len(names) else None

    def is_ours(self, name: Any) -> bool:
        return name is not None and name in self._earlier.names

    def files(self) -> frozenset[str]:
        """Real paths of the files that must not be deleted."""
        return frozenset(self._now.files)

    def remember(self, index: int, study: optuna.Study | None) -> None:
        """The *index*-th study is this one; None: it is in memory."""
        name = None if study is None else study.study_name
        self._write(names=(*self._now.names[:index], name))
        if study is not None:
            self.protect(inside.storage_of(study))

    def protect(self, storage: Any) -> None:
        """Keep the file that *storage* lives in, if it does."""
        path = file_of(storage)
        if path is not None and path not in self._now.files:
            self._write(files=(*self._now.files, path))

    def _write(self, **fields: Any) -> None:
        self._now = msgspec.structs.replace(self._now, **fields)
        names = self._now.names + self._earlier.names[len(self._now.names) :]
        write_whole(self._path, msgspec.structs.replace(self._now, names=names))


def file_of(storage: Any) -> str | None:
    """The real path of an SQLite file or a journal file; None for anything else."""
    database = inside.database_of(storage)
    if database is not None:
        url = database.engine.url
        if url.get_backend_name() == "sqlite" and url.database:
            return os.path.realpath(url.database)
        return None
    path = inside.journal_path_of(storage)
    return None if path is None else os.path.realpath(path)
