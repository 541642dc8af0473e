"""What can happen. Every event carries its own time; the core owns no clock.

Times are seconds since the epoch. Events are what the journal holds: a field, once written, keeps
its meaning, and a new field has a default, so that old journals replay for ever.
"""

from __future__ import annotations

import msgspec

from probes.reading import Reading
from scheduler.core.memory import Remembered as Remembered
from scheduler.core.model import Attempt, Budget, Evidence, Process, Run, Trial
from scheduler.core.model import Rule as Rule


class Found(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """The supervisor has started and these are its devices.

    ``boot_id`` is the kernel's name for this boot, "" where it is not known.
    """

    at_s: float
    budgets: tuple[Budget, ...]
    boot_id: str = ""


class Running(msgspec.Struct, frozen=True, kw_only=True):
    """An attempt that a host already runs when it joins."""

    attempt: Attempt
    process: Process | None


class Joined(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """A host has connected, for the first time or again; *running* is all that it runs now."""

    at_s: float
    run: Run
    running: tuple[Running, ...] = ()


class Left(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """A host has ended or its connection broke; what still waits of its run waits no more."""

    at_s: float
    run: str


class Offered(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    at_s: float
    trial: Trial


class Withdrawn(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """A trial that waits must not start any more (a stop, the budget is done)."""

    at_s: float
    run: str
    trial: int


class Started(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """An attempt's process is there."""

    at_s: float
    attempt: str
    process: Process


class Exited(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """An attempt's process has ended (or could not be started: no process, exit code set)."""

    at_s: float
    attempt: str
    evidence: Evidence


class Vanished(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """An attempt's process is gone and nobody will say how it ended (its host died)."""

    at_s: float
    attempt: str


class Sampled(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """One poll of all devices. A device that did not answer in time is there with None."""

    at_s: float
    readings: tuple[Reading, ...]


class Ruled(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """The complete set of rules in force from here on.

    A new life of the supervisor begins without any. It is to say them after ``Found`` and before
    the first ``Sampled``: until there is a reading nothing starts, so none is broken meanwhile.
    """

    at_s: float
    rules: tuple[Rule, ...]


class Prioritised(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """A run has another priority, until its host joins with one."""

    at_s: float
    run: str
    priority: int


class Limited(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """A run that has joined has other limits, by its user: see ``model.Run``."""

    at_s: float
    run: str
    max_attempts: int | None = None
    fixed: tuple[str, ...] = ()


class Served(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """A device is to be used again, whatever faults it had: its user has seen to it."""

    at_s: float
    device: str


class Saved(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """An attempt wrote a checkpoint, by which a later one of its trial can go on."""

    at_s: float
    attempt: str
    saved_at_s: float


class Progressed(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """How often an attempt has reported so far; told every few seconds where that has grown."""

    at_s: float
    attempt: str
    reports: int


Event = (
    Found
    | Joined
    | Left
    | Offered
    | Withdrawn
    | Started
    | Exited
    | Vanished
    | Sampled
    | Ruled
    | Prioritised
    | Limited
    | Served
    | Saved
    | Progressed
    | Remembered
)
