"""A run's folder: what was asked for (``run.json``) and how it stands (``status.json``).

Both are written whole, by rename, so a reader never sees half of one. The host writes the status;
everyone else reads it, during the run and after.

    runs/RUN/run.json       RunSpec, written once by ``scheduler run``
    runs/RUN/status.json    RunStatus, by the host
    runs/RUN/study-K.db     a study that the script kept in memory, K in the order of use
    runs/RUN/logs/N.log     what the attempt with Optuna's trial number N printed
    runs/RUN/outcomes/      what attempts wrote down before they ended
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Literal, TypeVar

import msgspec

from scheduler.core.model import Change, Run

State = Literal["starting", "running", "finishing", "finished", "interrupted", "failed"]
T = TypeVar("T")


class RunSpec(msgspec.Struct, frozen=True, kw_only=True):
    """What the user asked for. ``target`` is a script's path or ``module:function``."""

    run: Run
    kind: Literal["script", "function"]
    target: str
    arguments: tuple[str, ...] = ()
    folder: str  #: the working directory
    created_at_s: float
    n_trials: int | None = None  #: overrides the script's own
    direction: str | None = None  #: for "function" only, as the next two
    storage: str | None = None
    study_name: str | None = None
    start: Literal["auto", "fork", "re-run"] = "auto"  #: how attempts start


class Best(msgspec.Struct, frozen=True, kw_only=True):
    number: int
    value: float
    params: dict[str, Any]


class RunStatus(msgspec.Struct, frozen=True, kw_only=True):
    """How a run stands. Counts are of trials with a final outcome; ``retried`` counts attempts."""

    run: str
    state: State
    host_pid: int
    updated_at_s: float
    started_at_s: float | None = None  #: when the first attempt started
    study_name: str | None = None
    storage: str | None = None  #: without any password
    way: str | None = None  #: how attempts start, "fork" or "re-run", and why
    n_trials: int | None = None  #: None: no limit
    complete: int = 0
    pruned: int = 0
    failed: int = 0
    capacity: int = 0  #: did not fit the device, told to the sampler as pruned
    retried: int = 0
    done_before: int = 0  #: trials that were done when this life of the run began
    running: dict[str, int] = {}  #: Optuna's trial number by attempt id
    best: Best | None = None  #: None as well where there are several objectives
    hold: str | None = None  #: why no further trial starts now
    changes: tuple[Change, ...] = ()  #: their ``trial`` is Optuna's number of the attempt
    warnings: tuple[str, ...] = ()
    error: str | None = None


def write_whole(path: Path, value: msgspec.Struct) -> None:
    """Put *value* at *path* as JSON, readable by the user only."""
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    with open(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
        file.write(msgspec.json.encode(value))
    os.replace(partial, path)


def read_whole(path: Path, kind: type[T]) -> T | None:
    """The value at *path*; None where there is none.

    Raises msgspec.DecodeError where the file holds something else.
    """
    try:
        return msgspec.json.decode(path.read_bytes(), type=kind)
    except FileNotFoundError:
        return None
