"""What the chronicle tells, as values: one entry for each thing that happened."""

from __future__ import annotations

from typing import Literal

import msgspec

LIMIT = 1000  #: entries in one answer, at most

Kind = Literal["run", "trial", "change", "device", "supervisor"]


class Draft(msgspec.Struct, frozen=True, kw_only=True):
    """An entry before it has its number and time."""

    kind: Kind
    what: str
    text: str
    run: str | None = None
    trial: int | None = None
    device: str | None = None


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that happened.

    Numbers grow by one from 1 and go on after a restart; one that is missing could not be written
    down. ``trial`` counts a run's trials in the order they were offered, over all attempts of each;
    it is not Optuna's number.
    """

    number: int
    at_s: float  #: since the epoch
    kind: Kind
    what: str  #: in a word or two: "started", "finished", "put back", "out of service"
    text: str  #: one sentence
    run: str | None = None
    trial: int | None = None
    device: str | None = None
