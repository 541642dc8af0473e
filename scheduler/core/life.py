"""The life of an attempt: its states, and one table of what may follow what. Pure.

A trial that waits is a ``Waiting`` in the policy's queue; from its Start on it is here, until its
memory is back. What is not in the table is a bug of ours. What hosts say late or twice is in it.
The states are written into journals (``memory``): a field, once written, keeps its meaning.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from scheduler.core.actions import Settle
from scheduler.core.growth import Growth
from scheduler.core.model import Attempt, Evidence, Process, Verdict

#: Why we stopped an attempt. "overrun": it broke its promise. "strangers": others need the memory.
#: "unclear": the device was full, and cannot tell processes apart. "asked": by a rule. "guess": we
#: had made a promise smaller, and the attempt grew into what it was started with.
Cause = Literal["overrun", "strangers", "unclear", "asked", "guess"]


class Lease(msgspec.Struct, frozen=True, kw_only=True):
    """An attempt and what was seen of it. None: could not be told."""

    attempt: Attempt
    #: What is set aside for it now, where that is less than it was started with; None: the same.
    now_promised_bytes: int | None = None
    held_bytes: int | None = 0
    peak_bytes: int | None = None
    strangers_bytes: int | None = None  #: on its device, when it started
    oom_kills: int | None = None  #: counted by the kernel, when it started
    saved_at_s: float | None = None  #: when it last wrote a checkpoint; None: not that we know
    reports: int = 0  #: that it has made, as far as was told
    growth: Growth | None = None  #: None: it was not seen from its start

    @property
    def promise_bytes(self) -> int:
        """What is set aside for it now. Its cap stays what it was started with."""
        first = self.attempt.promise_bytes
        return first if self.now_promised_bytes is None else self.now_promised_bytes


def is_outgrown(lease: Lease) -> bool:
    """It has held, or come near to, more than was set aside for it later than its start."""
    now, growth = lease.now_promised_bytes, lease.growth
    if now is None:
        return False
    return (lease.peak_bytes or 0) > now or (growth is not None and growth.outgrew)


class Starting(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """Its host was told, and has not yet said that the process is there."""

    lease: Lease
    process: None = None


class Running(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    lease: Lease
    process: Process


class Stopping(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """Its host was told to end it. Kept apart from Running, or each poll would stop it anew."""

    lease: Lease
    process: Process | None
    cause: Cause
    because: str


class Releasing(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """Its process is gone; the promise counts until the device shows that its memory is back.

    ``settle`` is what its host was told, to be told again if it asks again. None: nothing yet,
    because nobody said how it ended, or (``evidence`` is set) it is waited for what may explain it:
    the next reading, or, where ``verdict`` is set, a GPU fault told in the next seconds.
    """

    lease: Lease
    process: Process | None
    since_s: float
    used_bytes: int | None  #: on the device, when it ended
    stopped: Stopping | None
    company: int  #: attempts of ours that ran at once when it ended, itself included
    evidence: Evidence | None = None
    verdict: Verdict | None = None
    settle: Settle | None = None


Life = Starting | Running | Stopping | Releasing


class Began(msgspec.Struct, frozen=True, kw_only=True):
    """Its process is there."""

    process: Process


class Told(msgspec.Struct, frozen=True, kw_only=True):
    """We asked for its end."""

    cause: Cause
    because: str


class Ended(msgspec.Struct, frozen=True, kw_only=True):
    """Its process is gone, or never came to be."""

    at_s: float
    used_bytes: int | None
    company: int


class Freed(msgspec.Struct, frozen=True, kw_only=True):
    """Its memory is back."""


Happening = Began | Told | Ended | Freed

# fmt: off
NEXT: dict[tuple[type[Life], type[Happening]], type[Life] | None] = {
    (Starting,  Began): Running,   (Starting,  Told): Stopping, (Starting,  Ended): Releasing,
    (Running,   Began): Running,   (Running,   Told): Stopping, (Running,   Ended): Releasing,
    (Stopping,  Began): Stopping,                               (Stopping,  Ended): Releasing,
    (Releasing, Began): Releasing,                              (Releasing, Ended): Releasing,
    (Releasing, Freed): None,
}
# fmt: on


class Impossible(AssertionError):
    """Something happened to an attempt that cannot happen in its state: a bug of ours."""

    def __init__(self, attempt: str, state: str, happening: str) -> None:
        super().__init__(attempt, state, happening)
        self.attempt, self.state, self.happening = attempt, state, happening

    def __str__(self) -> str:
        return f"attempt {self.attempt} is {self.state}, where {self.happening} cannot happen"


def step(life: Life, happening: Happening) -> Life | None:
    """The state after *happening*; None: the attempt is over. Raises Impossible."""
    pair = (type(life), type(happening))
    if pair not in NEXT:
        raise Impossible(life.lease.attempt.id, pair[0].__name__, pair[1].__name__)
    if NEXT[pair] is None:
        return None
    match life, happening:
        case Stopping(), Began(process=process):
            return msgspec.structs.replace(life, process=process)
        case Releasing(), _:
            return life
        case _, Began(process=process):
            return Running(lease=life.lease, process=process)
        case _, Told(cause=cause, because=because):
            return Stopping(lease=life.lease, process=life.process, cause=cause, because=because)
        case _, Ended():
            return _releasing(life, happening)
    return None


def _releasing(life: Life, ended: Ended) -> Releasing:
    return Releasing(
        lease=life.lease,
        process=life.process,
        since_s=ended.at_s,
        used_bytes=ended.used_bytes,
        stopped=life if isinstance(life, Stopping) else None,
        company=ended.company,
    )


def is_active(life: Life) -> bool:
    """Whether its process runs or is about to."""
    return not isinstance(life, Releasing)
