"""One device of a simulated machine, and the processes that are on it at the moment."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from math import inf

import msgspec

from probes.reading import Held, Reading
from scheduler.core.events import Event, Progressed, Saved
from scheduler.core.model import Attempt, Budget, Evidence
from scheduler.simulate.contention import Contention
from scheduler.simulate.script import Script

_BEFORE_S = 1e-6


class Card(msgspec.Struct, frozen=True, kw_only=True):
    """A device. *strangers* are the bytes they hold from each moment on, in order of time."""

    budget: Budget
    strangers: tuple[tuple[float, int], ...] = ()
    silent: tuple[tuple[float, float], ...] = ()  #: spans in which it does not answer
    can_tell: bool = True  #: processes apart
    lag_s: float = 0.0  #: from the end of a process to the moment when its memory is free

    def strangers_bytes(self, at_s: float) -> int:
        before = bisect_right(self.strangers, at_s, key=lambda one: one[0])
        return self.strangers[before - 1][1] if before else 0

    def is_silent(self, at_s: float) -> bool:
        return any(from_s <= at_s < to_s for from_s, to_s in self.silent)

    def total_bytes(self) -> int:
        return self.budget.device.total_bytes or 0


class Body:
    """An attempt's process. Its work goes on at the speed that its company leaves it."""

    def __init__(
        self, attempt: Attempt, script: Script, pid: int, at_s: float, from_work_s: float
    ) -> None:
        self.attempt, self.script, self.pid = attempt, script, pid
        self.shape = script.shape()
        self.began_s = self.at_s = at_s
        self.began_work_s = self.done_s = from_work_s
        self.speed = 1.0
        self.turn = 0  #: of its end's date: with each change in speed there is a new one
        self.ends_at_work_s, self.evidence = script.run_s, script.evidence
        self.reports_told = int(from_work_s * self._reports_a_second())
        self.saves_told = int(from_work_s / (script.saves_every_s or inf))

    def work_s(self, at_s: float) -> float:
        return self.done_s + (at_s - self.at_s) * self.speed

    def held_bytes(self, at_s: float) -> int:
        """0 before it was there."""
        if at_s < self.began_s:
            return 0
        return self.shape.held_bytes(self.done_s + (at_s - self.at_s) * self.speed)

    def when(self, work_s: float) -> float:
        """At which time it has done so much, as long as its speed stays."""
        return self.at_s + (work_s - self.done_s) / self.speed

    def go_on(self, at_s: float, speed: float) -> None:
        self.done_s, self.at_s, self.speed = self.work_s(at_s), at_s, speed
        self.turn += 1

    def reports(self, at_s: float) -> int:
        return int(self.work_s(at_s) * self._reports_a_second() + 1e-9)

    def saves(self, at_s: float) -> int:
        every_s = self.script.saves_every_s
        return int(self.work_s(at_s) / every_s + 1e-9) if every_s else 0

    def saved_work_s(self, at_s: float) -> float:
        return self.saves(at_s) * (self.script.saves_every_s or 0.0)

    def news(self, at_s: float) -> Iterator[Event]:
        """What its host tells of it that is new: reports, a checkpoint."""
        reports, saves = self.reports(at_s), self.saves(at_s)
        if reports > self.reports_told:
            self.reports_told = reports
            yield Progressed(at_s=at_s, attempt=self.attempt.id, reports=reports)
        if saves > self.saves_told:
            self.saves_told = saves
            yield Saved(at_s=at_s, attempt=self.attempt.id, saved_at_s=at_s)

    def _reports_a_second(self) -> float:
        return self.script.steps / self.script.run_s if self.script.run_s > 0 else 0.0


class Site:
    """A card with what is on it. May have to hold more than there is until somebody is refused."""

    def __init__(self, card: Card) -> None:
        self.card = card
        self.key = card.budget.device.key
        self.total_bytes = card.total_bytes()
        self.bodies: dict[str, Body] = {}
        self._freeing: list[tuple[float, int]] = []  #: until when, and how much
        self._most_strangers = max((size for _, size in card.strangers), default=0)
        self._last: Reading | None = None
        self.new_s = 0.0  #: until then each reading is like the last one

    def add(self, body: Body) -> None:
        self.bodies[body.attempt.id] = body
        self.new_s = 0.0

    def remove(self, attempt: str, at_s: float) -> Body:
        body = self.bodies.pop(attempt)
        self.new_s = 0.0
        self._freeing = [one for one in self._freeing if one[0] > at_s]
        if self.card.lag_s:
            self._freeing.append((at_s + self.card.lag_s, body.held_bytes(at_s)))
        return body

    def share_out(self, at_s: float, contention: Contention) -> list[Body]:
        """Put all speeds right for the company there is; those whose speed is another now."""
        count = len(self.bodies)
        if not count:
            return []
        use = sum(body.script.use for body in self.bodies.values())
        speed = max(1e-9, contention(count, use) / count)
        changed = [body for body in self.bodies.values() if body.speed != speed]
        for body in changed:
            body.go_on(at_s, speed)
            self.new_s = 0.0
        return changed

    def used_bytes(self, at_s: float) -> int:
        """May be more than there is, as long as nobody was refused."""
        ours = sum(body.held_bytes(at_s) for body in self.bodies.values())
        return ours + self.not_ours_bytes(at_s)

    def not_ours_bytes(self, at_s: float) -> int:
        """Strangers', and what gone processes have not given back."""
        back = (
            sum(held for until_s, held in self._freeing if until_s > at_s) if self._freeing else 0
        )
        return self.card.strangers_bytes(at_s) + back

    def overflow_s(self, after_s: float, at_s: float) -> float | None:
        """The first moment after *after_s* up to *at_s* at which more was wanted than there is.

        None: there was none. Held memory is straight between the moments looked at.
        """
        most = self._most_strangers + sum(body.shape.peak_bytes for body in self.bodies.values())
        if most + sum(held for _, held in self._freeing) <= self.total_bytes:
            return None
        moments = {at_s}
        for body in self.bodies.values():
            works = body.shape.bends(body.work_s(after_s), body.work_s(at_s))
            for work_s in works:  # and just before, as it may fall at once from there
                moments.update(max(after_s, body.when(one)) for one in (work_s - _BEFORE_S, work_s))
        return next(
            (one for one in sorted(moments) if self.used_bytes(one) > self.total_bytes), None
        )

    def read(self, at_s: float) -> Reading:
        if self._last is None or at_s >= self.new_s:
            self._last, self.new_s = self._reading(at_s), self._changes_s(at_s)
        return self._last

    def _changes_s(self, at_s: float) -> float:
        """When a reading will next differ from the one at *at_s*; then, if it does all the time."""
        soonest = min((one[0] for one in self._freeing if one[0] > at_s), default=inf)
        strangers = self.card.strangers
        after = bisect_right(strangers, at_s, key=lambda one: one[0])
        if after < len(strangers):
            soonest = min(soonest, strangers[after][0])
        for span in self.card.silent:
            soonest = min([soonest, *(edge for edge in span if edge > at_s)])
        for body in self.bodies.values():
            soonest = min(soonest, body.when(body.shape.still_until_s(body.work_s(at_s))))
        return max(soonest, at_s)

    def _reading(self, at_s: float) -> Reading:
        if self.card.silent and self.card.is_silent(at_s):
            return Reading(
                device=self.key, total_bytes=None, used_bytes=None, held=None, problem="no answer"
            )
        held = [
            Held(pid=body.pid, held_bytes=body.held_bytes(at_s)) for body in self.bodies.values()
        ]
        ours = sum(one.held_bytes or 0 for one in held)
        return Reading(
            device=self.key,
            total_bytes=self.total_bytes,
            used_bytes=min(self.total_bytes, ours + self.not_ours_bytes(at_s)),
            held=tuple(held) if self.card.can_tell else None,
        )


def end_of(body: Body, kind: str) -> tuple[float, Evidence]:
    """At how much work it ends, and how: by itself, or where it runs into its cap."""
    cap, script = body.attempt.cap_bytes, body.script
    if cap is not None:
        over_s = body.shape.first_above_s(cap, body.done_s)
        if over_s is not None and over_s < script.run_s:
            return over_s, refused(kind, cap)
    return max(script.run_s, body.done_s), script.evidence


def refused(kind: str, cap: int | None) -> Evidence:
    """What an attempt leaves behind that was refused memory, by its cap or for want of it."""
    if kind == "host":
        return Evidence(outcome="failed", exit_code=1, exception=("MemoryError", "Exception"))
    size = "" if cap is None else f"{cap / (1 << 30):.2f} GiB"
    cause = f" {size} allowed; {size} is allocated by PyTorch." if size else ""
    return Evidence(
        outcome="failed",
        exit_code=1,
        exception=("torch.OutOfMemoryError", "RuntimeError", "Exception"),
        message=f"HIP out of memory. Tried to allocate 256.00 MiB.{cause}",
    )
