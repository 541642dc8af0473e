"""What the supervisor answers on its control socket: the contract between it and its clients."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from probes.failover import SourceState
from probes.reading import Absent, LeftOut, Reading
from scheduler.core.model import Budget
from scheduler.core.view import View


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


#: Makes the answer to a path from what the loop has published. Called on another thread.
Answers = dict[str, Callable[[], Status | Devices]]
