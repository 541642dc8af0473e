"""GPU faults: which ends one fault explains, and what the device gets for it. Pure.

A fault that resets a card ends whatever runs on it, so it is an incident of the device: the first
that is told has caused it, as far as can be known, and who ends near it was taken along. Does not
cover what follows for a trial, which is ``retry``'s.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from scheduler.core.model import Attempt, Verdict

#: Nothing starts on a device for so long after a fault: a reset takes seconds, and drivers that
#: need a second one fail whoever comes between.
COOL_DOWN_S = 60.0
#: Ends so near to a fault are its doing. The story this prevents: 1. one trial's kernel reads where
#: it must not, 2. the card is reset and three neighbours crash, one of them a second before the
#: fault is told, 3. each of the three has used up one of its few tries.
WINDOW_S = 5.0
#: So many incidents within the span, and the device is taken out of service.
INCIDENTS = 3
SPAN_S = 3600.0


class Fault(msgspec.Struct, frozen=True, kw_only=True):
    """One incident: when the attempt ended that is held to have caused it, and its last words."""

    at_s: float
    attempt: Attempt
    because: str


class Outage(msgspec.Struct, frozen=True, kw_only=True):
    """A device is out of service, until it is asked for again or the machine is started anew.

    It outlives a supervisor that was killed. The story this prevents: 1. a card that fails again
    and again is out of service, 2. the supervisor dies, of whatever, 3. the next one gives it three
    more trials to lose. One that was stopped with nothing left to do leaves no journal: the next
    begins without.
    """

    since_s: float
    because: str


def may_be_its_doing(verdict: Verdict) -> bool:
    """Whether a fault of somebody else's could explain such an end."""
    return verdict.kind in ("gpu_fault", "unknown_kill")


def explaining(faults: Sequence[Fault], attempt: Attempt, ended_at_s: float) -> Fault | None:
    """The fault that took *attempt* along; None: none of *faults*."""
    for fault in faults:
        ran_then = attempt.started_at_s <= fault.at_s and attempt.id != fault.attempt.id
        if ran_then and abs(ended_at_s - fault.at_s) <= WINDOW_S:
            return fault
    return None


def recent(faults: Sequence[Fault], now_s: float) -> tuple[Fault, ...]:
    """Those that count against the device, oldest first."""
    return tuple(fault for fault in faults if now_s - fault.at_s <= SPAN_S)
