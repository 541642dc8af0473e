"""What a run starts from, as it is named on the command line. Each raises BadInput.

Files are read when the run is asked for: it may begin days later, and they may have changed.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from scheduler.interfaces.errors import BadInput
from scheduler.machine import hosts
from scheduler.machine.runs import RunSpec, read_whole
from scheduler.machine.state import find
from scheduler.strategies.warm_start import Setting, WrongText, parse_settings

SQLITE = "sqlite:///"
THE_ONE = "-"  #: in place of a study's name


def read_settings(given: Iterable[str]) -> tuple[Setting, ...]:
    """The settings in files or in the options themselves, in their order."""
    return tuple(one for text in given for one in _read(text))


def _read(given: str) -> Iterator[Setting]:
    is_inline = given.lstrip()[:1] in ("{", "[")
    name = "--best-params" if is_inline else given
    try:
        yield from parse_settings(given if is_inline else _text_of(given), name)
    except WrongText as error:
        raise BadInput(str(error)) from None


def _text_of(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8-sig")  # spreadsheets begin with that mark
    except FileNotFoundError:
        wanted = "wanted: a file with JSON or CSV, or JSON itself"
        raise BadInput(
            f"--best-params: there is no file {path!r} in {os.getcwd()}; {wanted}"
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput(f"--best-params: {path} cannot be read: {error}") from None


def find_study(storage: str, name: str) -> tuple[str, str]:
    """Where the study is and its name, whoever asks from which folder.

    *storage* is a database as Optuna takes it, the path of an SQLite or a journal file, or a run's
    id, whose study is named `-`.
    """
    if storage in (runs := find().run_ids()):
        storage, name = _study_of_run(storage, name)
    elif name == THE_ONE and ("://" in storage or os.path.exists(storage)):
        raise BadInput(
            f"--from-study {_shown(storage)} -: name the study; {THE_ONE} is a run's own"
        )
    if storage.startswith(SQLITE):
        path, _, options = storage.removeprefix(SQLITE).partition("?")
        return f"{SQLITE}{_there(path)}{'?' if options else ''}{options}", name
    if "://" in storage:
        return storage, name
    if not os.path.exists(storage):
        latest = f"; the latest runs: {', '.join(runs[:5])}" if runs else ""
        raise BadInput(
            f"--from-study: {storage!r} is no database's URL, no file in {os.getcwd()}"
            f" and no run{latest}"
        )
    path = _there(storage)
    return f"{SQLITE}{path}" if _is_sqlite(path) else path, name


def _study_of_run(run: str, name: str) -> tuple[str, str]:
    status = hosts.read_status(find(), run)
    if status is None or status.storage is None or status.study_name is None:
        raise BadInput(f"--from-study {run}: that run has no study yet")
    if "://" not in status.storage or ":***@" in status.storage:
        raise BadInput(
            f"--from-study {run}: its study is in {status.storage}; give that storage's own URL"
            " or file, and the study's name"
        )
    folder = find().run(run)
    storage = status.storage
    if storage.startswith(SQLITE):
        spec = read_whole(folder / "run.json", RunSpec)
        base = spec.folder if spec is not None else str(folder)
        storage = f"{SQLITE}{os.path.join(base, storage.removeprefix(SQLITE))}"
    return storage, status.study_name if name == THE_ONE else name


def _there(path: str) -> str:
    if not os.path.isfile(path):
        raise BadInput(f"--from-study: there is no file {path!r} in {os.getcwd()}")
    return os.path.abspath(path)


def _is_sqlite(path: str) -> bool:
    """By its first bytes (sqlite.org/fileformat.html, 1.3)."""
    with open(path, "rb") as file:
        return file.read(16) == b"SQLite format 3\0"


def _shown(storage: str) -> str:
    """Without a user and a password."""
    scheme, found, rest = storage.partition("://")
    return f"{scheme}://{rest.rpartition('@')[2]}" if found else storage
