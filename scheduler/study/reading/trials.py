"""A run's trials as its study has them, for people. Reads; changes nothing, and runs nothing of the
user's: choices that JSON cannot hold stay what is written in their place.
"""

from __future__ import annotations

import contextlib
import datetime
import os
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import msgspec
import optuna
from optuna.storages import BaseStorage, JournalStorage, RDBStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import FrozenTrial, TrialState

from scheduler.machine.runs import RunSpec, RunStatus, read_whole
from scheduler.study.keeping.memory import Studies
from scheduler.study.keeping.record import CAPACITY, PUT_BACK

State = Literal["waiting", "running", "complete", "pruned", "failed", "too big", "put back"]

_SQLITE = "sqlite:///"
_HIDDEN = ":***@"
_STATES: dict[TrialState, State] = {
    TrialState.WAITING: "waiting",
    TrialState.RUNNING: "running",
    TrialState.COMPLETE: "complete",
    TrialState.PRUNED: "pruned",
    TrialState.FAIL: "failed",
}


class TrialRow(msgspec.Struct, frozen=True, kw_only=True):
    """A trial. "too big" was told to the sampler as pruned, "put back" as failed: its next attempt
    is a trial of its own. ``values`` is None where there are none (yet).
    """

    number: int  #: Optuna's
    state: State
    values: tuple[float, ...] | None
    started_at_s: float | None  #: since the epoch
    duration_s: float | None  #: None: it has not ended
    params: dict[str, Any]
    because: str | None = None  #: why it was too big


class Unreachable(Exception):
    """The study cannot be read. Takes a sentence with what to do."""


def read_trials(folder: Path, spec: RunSpec, status: RunStatus) -> tuple[TrialRow, ...]:
    """The trials of the study that the run in *folder* optimizes, by number. Raises Unreachable."""
    with open_study(folder, spec, status) as study:
        return tuple(map(_row, study.get_trials(deepcopy=False)))


@contextlib.contextmanager
def open_study(folder: Path, spec: RunSpec, status: RunStatus) -> Iterator[optuna.Study]:
    """The study that the run in *folder* optimizes, to be read only. Raises Unreachable."""
    name, kept = status.study_name, status.storage
    if name is None or kept is None:
        raise Unreachable("it has no study yet")
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        with _storage(folder, spec, kept) as storage:
            yield optuna.load_study(study_name=name, storage=storage)
    except (Unreachable, GeneratorExit):
        raise
    except Exception as error:  # any driver's own
        said = str(error).splitlines()[:1] or [""]
        raise Unreachable(f"its study {name} in {kept} cannot be read: {said[0]}") from error


@contextlib.contextmanager
def _storage(folder: Path, spec: RunSpec, kept: str) -> Iterator[BaseStorage]:
    if kept.startswith(_SQLITE):
        database = _read_only(Path(spec.folder, kept.removeprefix(_SQLITE).partition("?")[0]))
    elif kept == JournalStorage.__name__:
        yield _journal(folder)
        return
    elif "://" in kept:
        database = _database(_with_password(kept, spec.storage))
    else:
        raise Unreachable(f"its study is in a {kept}, which only its script can open")
    try:
        yield database
    finally:
        database.remove_session()
        database.engine.dispose()


def _database(url: str, **options: Any) -> RDBStorage:
    """Without making tables where there are none."""
    return RDBStorage(url, skip_compatibility_check=True, skip_table_creation=True, **options)


def _read_only(path: Path) -> RDBStorage:
    """A file that a host may be writing: with WAL, a reader of its own keeps nobody waiting.

    It is opened for writing all the same, as one that was left by a kill has to be put in order.
    """
    if not path.is_file():
        raise Unreachable(f"its study is in {path}, which is not there any more")

    def connect() -> sqlite3.Connection:
        address = f"{path.absolute().as_uri()}?mode=rw"
        connection = sqlite3.connect(address, uri=True, timeout=10, check_same_thread=False)
        connection.execute("PRAGMA query_only=ON")
        return connection

    return _database(f"{_SQLITE}{path}", engine_kwargs={"creator": connect})


def _journal(folder: Path) -> JournalStorage:
    """Of the files that the run's studies live in, the one that is a journal's."""
    found = read_whole(folder / "studies.json", Studies) or Studies()
    paths = [path for path in found.files if os.path.isfile(path) and not _is_sqlite(path)]
    if not paths:
        raise Unreachable("its study is in a journal that is not a file or not there any more")
    return JournalStorage(JournalFileBackend(paths[-1]))


def _is_sqlite(path: str) -> bool:
    """By its first bytes (sqlite.org/fileformat.html, 1.3)."""
    with open(path, "rb") as file:
        return file.read(16) == b"SQLite format 3\0"


def _with_password(kept: str, asked: str | None) -> str:
    """No password of a script's is written down; the one of --storage stands in run.json."""
    if _HIDDEN not in kept:
        return kept
    if asked is not None and "://" in asked:
        return asked
    raise Unreachable(
        f"its study is in {kept}, and the password is known to its script only;"
        f" see: optuna trials --storage URL --study-name NAME"
    )


def _row(trial: FrozenTrial) -> TrialRow:
    state = _STATES[trial.state]
    if CAPACITY in trial.system_attrs:
        state = "too big"
    elif PUT_BACK in trial.system_attrs:
        state = "put back"
    return TrialRow(
        number=trial.number,
        state=state,
        values=None if trial.values is None else tuple(trial.values),
        started_at_s=_seconds(trial.datetime_start),
        duration_s=None if trial.duration is None else trial.duration.total_seconds(),
        params=trial.params,
        because=trial.system_attrs.get(CAPACITY),
    )


def _seconds(at: datetime.datetime | None) -> float | None:
    """Optuna writes local time."""
    return None if at is None else at.timestamp()
