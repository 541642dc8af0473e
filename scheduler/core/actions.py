"""What the core asks of the outside. Each one says why."""

from __future__ import annotations

import msgspec

from scheduler.core.model import Attempt, Change, Settlement, Trial, Verdict


class Start(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    attempt: Attempt
    because: str


class Hold(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """A trial waits. Given when the kind of reason changes, not on each poll."""

    run: str
    trial: int
    because: str


class Stop(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """End this attempt; its trial comes back (the Exited that follows is settled "again").

    Unless it broke its promise alone on the device: then it does not fit.
    """

    attempt: Attempt
    because: str


class Settle(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """How an attempt's end is to be taken.

    ``again`` is set when the settlement is "again": the trial as its host is to offer it anew.
    """

    attempt: Attempt
    verdict: Verdict
    settlement: Settlement
    again: Trial | None = None
    peak_bytes: int | None = None  #: the most that the attempt was seen to hold; None: never seen
    was_growing: bool = False  #: shortly before its end, so its peak may have been yet to come


class Refuse(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """A new trial waits no more: it wants more than any device could lately give it, empty."""

    run: str
    trial: int
    want_bytes: int
    most_bytes: int
    because: str


class Halt(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """Nothing more of this run may start, what runs of it is to be put back.

    What ended one of its trials would end all of them alike.
    """

    run: str
    because: str


class Note(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """Write this change down and show it."""

    change: Change


Action = Start | Hold | Stop | Settle | Refuse | Halt | Note
