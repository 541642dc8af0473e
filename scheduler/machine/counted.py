"""Which processes count on the devices, by what the core shows. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from scheduler.core.view import AttemptView, View
from scheduler.machine.orphans import Lease


def attempts(view: View) -> Iterator[AttemptView]:
    """All that count on a device."""
    for device in view.devices:
        yield from device.attempts


def leases(view: View) -> list[Lease]:
    """Attempts whose process runs, or is about to."""
    return [
        Lease(attempt=one.attempt.id, run=one.attempt.trial.run, process=one.process)
        for one in attempts(view)
        if one.state != "releasing"
    ]


def trees(view: View, device: str) -> tuple[int, ...]:
    """Whom to ask a device about: those who give memory back included."""
    there = (one.process for one in attempts(view) if one.attempt.device == device)
    return tuple(one.pid for one in there if one is not None)
