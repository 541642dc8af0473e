"""The nouns of the core: frozen values without behaviour.

``docs/design.md`` says what each word means.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from probes.reading import Device


class Budget(msgspec.Struct, frozen=True, kw_only=True):
    """A device with this machine's defaults for it: what is kept free, promised, run at once."""

    device: Device
    reserve_bytes: int
    promise_bytes: int  #: for a trial that brings no wish of its own
    max_attempts: int | None  #: None: memory alone decides
    on_request: bool = False  #: only for runs that name it

    def is_for(self, run: Run) -> bool:
        """Whether *run* may use this device."""
        return run.device == self.device.key or (run.device is None and not self.on_request)


class Run(msgspec.Struct, frozen=True, kw_only=True):
    """One run of a user's script. None: the device's default holds."""

    id: str
    name: str = ""
    device: str | None = None  #: only this device
    promise_bytes: int | None = None
    reserve_bytes: int | None = None
    max_attempts: int | None = None
    contain: bool = True  #: attempts are capped a tenth above their promise
    priority: int = 0  #: what waits of a larger one is asked first
    #: Share of attempts that may need more than they were promised.
    overrun_share: float = 0.02
    #: What its user keeps as it is: "concurrency", "promise". Other words mean nothing here.
    fixed: tuple[str, ...] = ()

    @property
    def keeps_concurrency(self) -> bool:
        """How many run at once is not learned from what went wrong."""
        return "concurrency" in self.fixed

    @property
    def keeps_promise(self) -> bool:
        """No trial is promised more than was asked for."""
        return "promise" in self.fixed


class Rule(msgspec.Struct, frozen=True, kw_only=True):
    """What somebody wants of a device or a run for now. None: it says nothing of that.

    With a *run*, ``max_attempts`` counts that run's attempts on all devices, and the rest is not
    looked at. Without, it holds for *device*, or for each device by itself where that is None.
    """

    source: Literal["you", "window", "program"]
    device: str | None = None
    run: str | None = None
    max_attempts: int | None = None  #: 0: nothing new starts
    reserve_bytes: int | None = None  #: at least so much is kept free
    stops: bool = False  #: what is beyond it is stopped and put back; else it may finish
    because: str


class Trial(msgspec.Struct, frozen=True, kw_only=True):
    """A trial offered to the core: it waits for memory.

    ``number`` counts the trials of a run in the order they were offered, and stays the same over
    all attempts of the trial. It is not Optuna's trial number, which each attempt has anew.
    """

    run: str
    number: int
    #: What it is to be promised: forecast for a new one, learned from an earlier attempt for one
    #: that comes back. None: the default.
    want_bytes: int | None = None
    alone: bool = False  #: runs only on an empty device, its cap the whole of it
    overruns: int = 0
    contentions: int = 0
    unexplained: int = 0  #: attempts that ended by a kill nobody can explain
    faults: int = 0  #: GPU faults that it is held to have caused
    attempts: int = 0  #: made so far; the next one's id counts on from here
    outgrew: bool = False  #: an attempt needed more again after its promise had been made smaller


class Attempt(msgspec.Struct, frozen=True, kw_only=True):
    """One run of a trial in one process: what is promised, and to whom."""

    id: str  #: unique for ever, made by the core: "RUN/TRIAL.N"
    trial: Trial
    device: str
    promise_bytes: int
    cap_bytes: int | None  #: most it may hold before it fails by itself; None: no cap
    started_at_s: float
    alone: bool = False  #: it was given all that the device has left, and no neighbours


class Process(msgspec.Struct, frozen=True, kw_only=True):
    """A process that cannot be mistaken for a later one with the same pid."""

    pid: int
    started_ticks: int  #: field 22 of /proc/PID/stat, clock ticks since boot


class Evidence(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of how an attempt's process ended."""

    #: what the attempt itself wrote down before it ended; None: it ended without a word
    outcome: Literal["complete", "pruned", "failed"] | None = None
    exit_code: int | None = None
    signal: int | None = None
    #: full names of the last exception's class and its bases, nearest first, then its causes'
    exception: tuple[str, ...] = ()
    message: str = ""
    stderr_tail: str = ""
    #: the exception came out of Optuna's or our own machinery asked to end the attempt
    caught: bool = False  #: the user's ``catch`` names this exception
    proven: bool = False  #: another trial of its ``optimize`` call has finished well
    hit_own_limit: bool = False  #: the kernel killed in a cgroup of its own, at that one's limit


VerdictKind = Literal[
    "finished",  #: complete or pruned
    "device_oom",
    "host_oom",
    "gpu_fault",
    "configuration",
    "user_error",
    "stopped",  #: by us
    "unknown_kill",
]


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """Why an attempt ended. ``own_cap``: it ran into its own cap, not into its neighbours."""

    kind: VerdictKind
    because: str
    own_cap: bool = False


#: What follows for the trial. "done": its outcome stands as the attempt wrote it. "failed": it
#: ends as FAIL without an error of the user's. "capacity": it does not fit the device. "again": it
#: comes back as the Trial in Settle.again.
Settlement = Literal["done", "failed", "capacity", "again"]


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """One automatic decision changed or undone: a roll back, or the way up again after one."""

    at_s: float
    what: Literal[
        "concurrency",
        "promise",
        "alone",
        "capacity",
        "stopped",
        "fault",
        "service",
        "pruning",
        "ranges",
        "budget",
    ]
    run: str | None
    trial: int | None
    device: str | None  #: None: it has nothing to do with one
    before: str
    after: str
    because: str
    evidence: str = ""  #: the numbers that it was decided by
    by: Literal["scheduler", "you"] = "scheduler"
