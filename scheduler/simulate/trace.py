"""What is kept of a simulation: each attempt's span, each device's memory over time."""

from __future__ import annotations

from typing import Literal

import msgspec

from scheduler.core.model import Evidence
from scheduler.simulate.site import Body, Site

MOMENTS = 1200  #: kept of a device at most: more than a picture has columns

_TERMINATED = 15

How = Literal["finished", "out of memory", "stopped", "failed"]


class Span(msgspec.Struct, frozen=True, kw_only=True):
    """One attempt, from its start to its end. Works are in seconds of a trial that is alone."""

    attempt: str
    run: str
    trial: int
    device: str
    began_s: float
    ended_s: float
    how: How
    promise_bytes: int
    peak_bytes: int  #: the most that it held
    work_s: float  #: done by this attempt
    kept_work_s: float  #: of it, by which a later attempt goes on; all of it where it finished

    def lost_s(self) -> float:
        """Time that it ran for nothing."""
        lost = 1 - self.kept_work_s / self.work_s if self.work_s > 0 else 1.0
        return (self.ended_s - self.began_s) * max(0.0, lost)


def how_of(body: Body, evidence: Evidence) -> How:
    """One that was refused by its cap has other evidence than its script's."""
    if evidence is body.evidence and evidence is not body.script.evidence:
        return "out of memory"
    if evidence.signal == _TERMINATED:
        return "stopped"
    return "finished" if evidence.outcome in ("complete", "pruned") else "failed"


def span_of(body: Body, at_s: float, how: How) -> Span:
    """Of an attempt that ends now."""
    attempt, work_s, began_s = body.attempt, body.work_s(at_s), body.began_work_s
    kept_s = work_s if how == "finished" else body.saved_work_s(at_s)
    return Span(
        attempt=attempt.id,
        run=attempt.trial.run,
        trial=attempt.trial.number,
        device=attempt.device,
        began_s=body.began_s,
        ended_s=at_s,
        how=how,
        promise_bytes=attempt.promise_bytes,
        peak_bytes=body.shape.highest_bytes(began_s, work_s),
        work_s=work_s - began_s,
        kept_work_s=max(0.0, kept_s - began_s),
    )


class Moment(msgspec.Struct, frozen=True):
    """A device's memory; what attempts hold by their ids."""

    at_s: float
    strangers_bytes: int
    held_bytes: dict[str, int]


class Overflow(msgspec.Struct, frozen=True, kw_only=True):
    """More was wanted of a device than there is; one of our attempts was refused."""

    at_s: float
    device: str
    over_bytes: int
    strangers_bytes: int  #: held by strangers then
    strangers_grew: bool  #: since the poll before: they came, and found too little


class DeviceTrace:
    """A device over time. Sums go on for ever, of the moments every second is dropped at times."""

    def __init__(self) -> None:
        self.moments: list[Moment] = []
        self.held_byte_s = 0.0  #: ours, over time
        self.attempt_s = 0.0
        self.busy_s = 0.0  #: with an attempt of ours
        self._last_s = 0.0
        self._now = (0, 0)  #: bytes held, attempts, since the last look
        self._every_s = 0.0

    def look(self, site: Site, at_s: float, polled_s: float, *, keeps: bool) -> None:
        """Called whenever something has changed; what was seen last held until the last poll."""
        self.pass_time(at_s)
        bodies = site.bodies.values()
        held = {body.attempt.id: body.held_bytes(at_s) for body in bodies}
        self._now = (sum(held.values()), len(held))
        if keeps and self.moments and polled_s > self.moments[-1].at_s + self._every_s:
            before = self.moments[-1]
            self.moments.append(Moment(polled_s, before.strangers_bytes, before.held_bytes))
        if keeps and (not self.moments or at_s - self.moments[-1].at_s >= self._every_s):
            self.moments.append(Moment(at_s, site.card.strangers_bytes(at_s), held))
            if len(self.moments) > MOMENTS:
                self.moments = self.moments[::2]
                self._every_s = 2 * (at_s - self.moments[0].at_s) / MOMENTS

    def pass_time(self, at_s: float) -> None:
        held, attempts = self._now
        took_s = at_s - self._last_s
        self._last_s = at_s
        self.held_byte_s += held * took_s
        self.attempt_s += attempts * took_s
        self.busy_s += took_s if attempts else 0.0
