"""What goes over the control socket: the contract between the supervisor and its clients.

``machine.api.openapi`` says which path takes and gives which.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from probes.failover import SourceState
from probes.reading import Absent, LeftOut, Reading
from scheduler.core.model import Budget
from scheduler.core.view import View
from scheduler.machine.api.listing import RunAnswer
from scheduler.machine.chronicle.entries import LIMIT, Entry

WAIT_S = 30  #: an answer about what happens may be waited for so long
PRIORITY = 1_000_000  #: at most, up and down

#: A run's id, as the command line makes them (``state.new_run``).
RunId = Annotated[str, Meta(pattern="^[A-Za-z0-9_][A-Za-z0-9_.-]*$", max_length=255)]


class Supervisor(msgspec.Struct, frozen=True, kw_only=True):
    """The supervisor itself. ``problem`` is what keeps it from admitting anything."""

    pid: int
    since_s: float
    state_folder: str
    journal_bytes: int
    problem: str | None = None


class Status(msgspec.Struct, frozen=True, kw_only=True):
    """GET /v1/status"""

    supervisor: Supervisor
    view: View


class Devices(msgspec.Struct, frozen=True, kw_only=True):
    """GET /v1/devices. ``readings`` come in the order of ``budgets``; empty before the first."""

    budgets: tuple[Budget, ...]
    readings: tuple[Reading, ...]
    sources: dict[str, tuple[SourceState, ...]]  #: of each device, by its key; preferred first
    trees: dict[str, tuple[int, ...]]  #: root pids of our attempts on each device
    left_out: tuple[LeftOut, ...]
    absent: tuple[Absent, ...]


class Runs(msgspec.Struct, frozen=True, kw_only=True):
    """GET /v1/runs, newest first."""

    runs: tuple[RunAnswer, ...]


class Setting(msgspec.Struct, frozen=True, kw_only=True):
    """One key of the configuration in force."""

    key: str
    value: Any  #: as it could be written in the file; secrets are masked
    source: str  #: where it came from: "default", "file", "environment", "flag"


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """GET /v1/config. ``path``: the file that was read; None where there is none."""

    path: str | None
    settings: tuple[Setting, ...]


class Events(msgspec.Struct, frozen=True, kw_only=True):
    """GET /v1/events, oldest first. Ask for what follows with ``after`` = ``next``."""

    entries: tuple[Entry, ...]
    next: int
    lost: int  #: entries that could not be written down since the supervisor started


class Done(msgspec.Struct, frozen=True, kw_only=True):
    """An order is carried out, or well under way."""

    done: Literal[True] = True


class Error(msgspec.Struct, frozen=True, kw_only=True):
    """Why not, in a sentence for people."""

    error: str


class EventsAsked(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """With ``wait``, an answer comes as soon as there is an entry, or empty after so long."""

    after: Annotated[int, Meta(ge=0, le=2**53)] = 0
    limit: Annotated[int, Meta(ge=1, le=LIMIT)] = LIMIT
    wait: Annotated[float, Meta(ge=0, le=WAIT_S)] = 0.0  #: seconds


class NewRun(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``run``: a folder in the state folder that this user's command line has made."""

    run: RunId


class Pause(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``stop``: what runs is stopped and comes back later, else it may finish."""

    stop: bool = False


class Priority(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Larger comes first."""

    priority: Annotated[int, Meta(ge=-PRIORITY, le=PRIORITY)]


class StopSupervisor(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``now``: what runs is stopped first, else it refuses while something runs."""

    now: bool = False


class Nothing(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An empty object, or no body at all."""


#: Makes the answer to a path from what the loop has published. Called on another thread.
Answers = dict[str, Callable[[], Any]]
