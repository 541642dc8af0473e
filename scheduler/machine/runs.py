"""A run's folder: what was asked for (``run.json``) and how it stands (``status.json``).

Both are written whole, by rename, so a reader never sees half of one. The host writes the status;
everyone else reads it, during the run and after.

    runs/RUN/run.json       RunSpec, written by the command line; a new priority is put in there
    runs/RUN/status.json    RunStatus, by the host; by the supervisor while no host lives
    runs/RUN/changes.jsonl  what was changed, by itself or by its user (``machine.changes``)
    runs/RUN/peaks.jsonl    what its trials held at their peak (``machine.peaks``)
    runs/RUN/wishes.json    what its user has set since (``strategies.wishes``), and
    runs/RUN/wishes-taken.json  what the host says to that
    runs/RUN/host.lock      held by the host while it lives; says which process that is
    runs/RUN/study-K.db     a study that the script kept in memory, K in the order of use
    runs/RUN/logs/N.log     what the attempt with Optuna's trial number N printed
    runs/RUN/outcomes/      what attempts wrote down before they ended
    runs/RUN/checkpoints/   what trials that are not over keep for their next attempt

A run that the supervisor keeps (``machine.keeper``) has besides:

    runs/RUN/environment.json   the environment of who submitted it; 0600, it may hold secrets
    runs/RUN/output.log         what its hosts printed, of all lives
    runs/RUN/asked              "cancel" or "interrupt": how its user wants it to end
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Literal, TypeVar

import msgspec

from scheduler.core.model import Change, Run
from scheduler.strategies.asked import Asked
from scheduler.strategies.shown import BudgetShown, PruningShown, RangesShown, WarmStartShown

State = Literal[
    "queued", "starting", "running", "finishing", "finished", "interrupted", "failed", "cancelled"
]
#: Nothing goes on by itself after these.
FINAL: frozenset[State] = frozenset({"finished", "interrupted", "failed", "cancelled"})
Wish = Literal["cancel", "interrupt"]
ASKED = "asked"
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
    python: str = ""  #: the interpreter of who asked; "": the supervisor's own
    umask: int | None = None  #: of who asked; None: the supervisor's own
    priority: int = 0  #: larger first
    after: tuple[str, ...] = ()  #: runs that must be finished before this one starts
    kept: bool = False  #: the supervisor starts its host, and starts it again when it dies
    stop_grace_s: float = 30.0  #: what an attempt has between SIGTERM and SIGKILL
    nice: int = 10  #: added to the attempts' own; 0: as the user has it
    io: Literal["best-effort", "idle", "none"] = "best-effort"  #: "none": as the user has it
    threads: int | None = None  #: CPU threads of an attempt; None: the cores are shared out
    asked: Asked = Asked()  #: of the study strategies
    #: Whose peaks the first forecasts go by: a run's id, "none", or "auto": the newest earlier run
    #: of the same target.
    memory_from: str = "auto"


class Best(msgspec.Struct, frozen=True, kw_only=True):
    number: int
    value: float
    params: dict[str, Any]
    at_s: float | None = None  #: when its trial was finished
    known_from: str | None = None  #: the earlier study whose result it is; None: this one's own


class LiveTrial(msgspec.Struct, frozen=True, kw_only=True):
    """What a running attempt has reported last. None: nothing yet, or no finite number."""

    number: int  #: Optuna's
    step: int | None = None
    value: float | None = None
    reported_at_s: float | None = None
    params: dict[str, Any] = {}  #: the first eight, long text cut


class RunStatus(msgspec.Struct, frozen=True, kw_only=True):
    """How a run stands. Counts are of trials with a final outcome; ``retried`` counts attempts."""

    run: str
    state: State
    host_pid: int  #: 0: none lives, the supervisor wrote this
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
    #: Asked of the sampler and answered without being run, as no device could hold them. They
    #: count as none of ``n_trials``.
    unrun: int = 0
    done_before: int = 0  #: trials that were done when this life of the run began
    running: dict[str, int] = {}  #: Optuna's trial number by attempt id
    live: dict[str, LiveTrial] = {}  #: by attempt id
    #: When the last trials came to their final outcome, 256 at most, oldest first, of all lives.
    finished_at_s: tuple[float, ...] = ()
    #: How long the last attempts of complete and pruned trials took, 256 at most, oldest first.
    durations_s: tuple[float, ...] = ()
    best: Best | None = None  #: None as well where there are several objectives
    warm_start: WarmStartShown | None = None  #: None: nothing was asked for, or for another study
    pruning: PruningShown | None = None  #: None: with several objectives nobody prunes
    budget: BudgetShown | None = None  #: None: nothing of it is asked for
    ranges: RangesShown | None = None  #: None: it was not asked to narrow them
    hold: str | None = None  #: why no further trial starts now
    changes: tuple[Change, ...] = ()  #: their ``trial`` is Optuna's number of the attempt
    warnings: tuple[str, ...] = ()
    error: str | None = None
    exit_code: int | None = None  #: the host's, once it has ended


def write_whole(path: Path, value: msgspec.Struct) -> None:
    """Put *value* at *path* as JSON, readable by the user only."""
    replace(path, msgspec.json.encode(value))


def replace(path: Path, text: bytes) -> None:
    """Put *text* in the place of what was at *path*, by rename, readable by the user only."""
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    with open(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
        file.write(text)
    os.replace(partial, path)


def read_whole(path: Path, kind: type[T]) -> T | None:
    """The value at *path*; None where there is none.

    Raises msgspec.DecodeError where the file holds something else.
    """
    try:
        return msgspec.json.decode(path.read_bytes(), type=kind)
    except FileNotFoundError:
        return None
    except UnicodeDecodeError as error:
        raise msgspec.DecodeError(str(error)) from None


def read_wish(folder: Path) -> Wish | None:
    """How the user wants the run to end, if they have said so since it began or last went on."""
    try:
        text = (folder / ASKED).read_text(encoding="ascii")
    except (OSError, UnicodeError):
        return None
    return "cancel" if text == "cancel" else "interrupt" if text == "interrupt" else None
