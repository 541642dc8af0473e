"""A machine that is only a heap of future events and a virtual clock; the core is the real one.

Covers what the core sees of devices and hosts: trials that grow to their peak and end, caps that
are hit, devices that overflow, strangers that come and go, probes that fall silent, memory that is
freed late. Does not cover what a trial computes, nor how one slows its neighbours down. The same
world, the same events.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from heapq import heappop, heappush
from itertools import count

import msgspec

from probes.reading import Held, Reading
from scheduler.core.actions import Action, Halt, Settle, Start, Stop
from scheduler.core.events import Event, Exited, Found, Joined, Left, Offered, Sampled, Started
from scheduler.core.model import Attempt, Budget, Evidence, Process, Run, Settlement, Trial
from scheduler.core.policy import Key, key_of

_STOPPED = Evidence(signal=15)
_CRASHED = Evidence(signal=6)
_CRASH_S = 0.5  #: between a fault and the last crash of what it takes along


class Script(msgspec.Struct, frozen=True, kw_only=True):
    """How a trial behaves: it climbs evenly to its peak in *ramp_s* and ends after *run_s*.

    ``resets``: its end resets the card, and takes along whatever else runs there.
    """

    peak_bytes: int
    ramp_s: float
    run_s: float
    evidence: Evidence = Evidence(outcome="complete", exit_code=0)
    resets: bool = False

    def held_bytes(self, age_s: float) -> int:
        return int(self.peak_bytes * (min(1.0, age_s / self.ramp_s) if self.ramp_s else 1.0))


class Card(msgspec.Struct, frozen=True, kw_only=True):
    """A device. *strangers* are the bytes they hold from each moment on, in order of time."""

    budget: Budget
    strangers: tuple[tuple[float, int], ...] = ()
    silent: tuple[tuple[float, float], ...] = ()  #: spans in which it does not answer
    can_tell: bool = True  #: processes apart
    lag_s: float = 0.0  #: from the end of a process to the moment when its memory is free

    def strangers_bytes(self, at_s: float) -> int:
        now = [size for from_s, size in self.strangers if from_s <= at_s]
        return now[-1] if now else 0

    def is_silent(self, at_s: float) -> bool:
        return any(from_s <= at_s < to_s for from_s, to_s in self.silent)

    def total_bytes(self) -> int:
        return self.budget.device.total_bytes or 0


class _Body(msgspec.Struct):
    """An attempt's process."""

    attempt: Attempt
    script: Script
    pid: int
    since_s: float

    def held_bytes(self, at_s: float) -> int:
        return self.script.held_bytes(at_s - self.since_s)


class _Freeing(msgspec.Struct, frozen=True):
    """Memory of a process that is gone, which its driver has not yet freed."""

    device: str
    until_s: float
    held_bytes: int


class Ticked(msgspec.Struct, frozen=True):
    """The clock of the polls."""


class Due(msgspec.Struct, frozen=True):
    """An attempt's process ends, if it is still there."""

    attempt: str
    evidence: Evidence


class SimulatedWorld:
    """Cards, runs with all their trials offered at once, a poll every *period_s*, and what happens
    *also*.

    It ends when every trial has ended, but for those of ``halted`` runs, or at *until_s*. ``ended``
    has the settlement of each trial that has.
    """

    def __init__(
        self,
        *,
        cards: Iterable[Card],
        runs: Iterable[Run],
        trials: Mapping[Trial, Script] | Iterable[tuple[Trial, Script]],
        also: Iterable[Event] = (),
        period_s: float = 1.0,
        until_s: float = float("inf"),
    ) -> None:
        self.now_s = 0.0
        self.ended: dict[Key, Settlement] = {}
        self.halted: set[str] = set()
        self.attempts = 0
        self._proven: set[str] = set()  #: runs of which a trial has finished well
        self._cards = {card.budget.device.key: card for card in cards}
        self._until_s = until_s
        self._period_s = period_s
        self._bodies: dict[str, _Body] = {}
        self._freeing: list[_Freeing] = []
        self._order = count()
        self._pids = count(1000)
        self._heap: list[tuple[float, int, Event | Ticked | Due]] = []
        pairs = tuple(trials.items() if isinstance(trials, Mapping) else trials)
        self._scripts = {key_of(trial): script for trial, script in pairs}
        self._open = set(self._scripts)  #: trials that are yet to end
        self.at(0.0, Found(at_s=0.0, budgets=tuple(c.budget for c in self._cards.values())))
        for run in runs:
            self.at(0.0, Joined(at_s=0.0, run=run))
        for trial, _ in pairs:
            self.at(0.0, Offered(at_s=0.0, trial=trial))
        for event in also:
            self.at(event.at_s, event)
        self.at(0.0, Ticked())

    def at(self, at_s: float, happening: Event | Ticked | Due) -> None:
        """Let it happen then, after what was told earlier for the same moment."""
        heappush(self._heap, (at_s, next(self._order), happening))

    def next_event(self) -> Event | None:
        while self._heap and self._open:
            at_s, _, happening = self._heap[0]
            if at_s > self._until_s:
                break
            heappop(self._heap)
            self.now_s = at_s
            match happening:
                case Ticked():
                    return self._poll()
                case Due(attempt=attempt, evidence=evidence):
                    if attempt in self._bodies:
                        return self._exit(self._take_away(attempt), evidence)
                case _:
                    return happening
        return None

    def _take_away(self, attempt: str) -> _Body:
        body = self._bodies.pop(attempt)
        lag_s, device = self._cards[body.attempt.device].lag_s, body.attempt.device
        self._freeing = [one for one in self._freeing if one.until_s > self.now_s]
        if lag_s:
            held = body.held_bytes(self.now_s)
            self._freeing.append(_Freeing(device, self.now_s + lag_s, held))
        return body

    def _used_bytes(self, key: str) -> int:
        """May be more than there is, as long as nobody was refused."""
        there = (body for body in self._bodies.values() if body.attempt.device == key)
        freeing = (one for one in self._freeing if one.device == key and one.until_s > self.now_s)
        ours = sum(body.held_bytes(self.now_s) for body in there)
        strangers = self._cards[key].strangers_bytes(self.now_s)
        return strangers + ours + sum(one.held_bytes for one in freeing)

    def _exit(self, body: _Body, evidence: Evidence) -> Exited:
        run, device = body.attempt.trial.run, body.attempt.device
        if body.script.resets and evidence == body.script.evidence:
            for other in self._bodies.values():
                if other.attempt.device == device:
                    at_s = self.now_s + _CRASH_S * (other.pid % 2)
                    self.at(at_s, Due(other.attempt.id, _CRASHED))
        if evidence.outcome in ("complete", "pruned"):
            self._proven.add(run)
        evidence = msgspec.structs.replace(evidence, proven=run in self._proven)
        return Exited(at_s=self.now_s, attempt=body.attempt.id, evidence=evidence)

    def perform(self, action: Action) -> None:
        match action:
            case Start(attempt=attempt):
                self._start(attempt)
            case Stop(attempt=attempt):
                self.at(self.now_s, Due(attempt.id, _STOPPED))
            case Halt(run=run):
                self.halted.add(run)
                self._open = {key for key in self._open if key[0] != run}
                for body in self._bodies.values():
                    if body.attempt.trial.run == run:
                        self.at(self.now_s, Due(body.attempt.id, _STOPPED))
                self.at(self.now_s, Left(at_s=self.now_s, run=run))
            case Settle(again=Trial() as again):
                self.at(self.now_s, Offered(at_s=self.now_s, trial=again))
            case Settle(attempt=attempt, settlement=settlement):
                key = key_of(attempt.trial)
                assert key not in self.ended, f"{key} ended twice"
                self.ended[key] = settlement
                self._open.discard(key)
            case _:
                pass

    def _start(self, attempt: Attempt) -> None:
        script = self._scripts[key_of(attempt.trial)]
        pid, self.attempts = next(self._pids), self.attempts + 1
        body = _Body(attempt=attempt, script=script, pid=pid, since_s=self.now_s)
        self._bodies[attempt.id] = body
        process = Process(pid=pid, started_ticks=pid)
        self.at(self.now_s, Started(at_s=self.now_s, attempt=attempt.id, process=process))
        cap, after_s, evidence = attempt.cap_bytes, script.run_s, script.evidence
        if cap is not None and script.peak_bytes > cap:
            after_s = min(after_s, script.ramp_s * cap / script.peak_bytes)
            evidence = _refused(self._kind(attempt), cap)
        self.at(self.now_s + after_s, Due(attempt.id, evidence))

    def _kind(self, attempt: Attempt) -> str:
        return self._cards[attempt.device].budget.device.kind

    def _poll(self) -> Event:
        """The readings; but first, one at a time, the ends of those for whom there was no room."""
        for key, card in self._cards.items():
            bodies = [body for body in self._bodies.values() if body.attempt.device == key]
            if self._used_bytes(key) > card.total_bytes() and bodies:
                return self._overflow(bodies)
        self.at(self.now_s + self._period_s, Ticked())
        readings = tuple(self._reading(key, card) for key, card in self._cards.items())
        return Sampled(at_s=self.now_s, readings=readings)

    def _overflow(self, bodies: list[_Body]) -> Event:
        """The one that has grown most since the last poll asked for what was not there."""
        before_s = self.now_s - self._period_s
        unlucky = max(
            bodies,
            key=lambda body: (body.held_bytes(self.now_s) - body.held_bytes(before_s), body.pid),
        )
        self._take_away(unlucky.attempt.id)
        self.at(self.now_s, Ticked())
        evidence = _refused(self._kind(unlucky.attempt), None)
        return Exited(at_s=self.now_s, attempt=unlucky.attempt.id, evidence=evidence)

    def _reading(self, key: str, card: Card) -> Reading:
        if card.is_silent(self.now_s):
            return Reading(
                device=key, total_bytes=None, used_bytes=None, held=None, problem="no answer"
            )
        held = tuple(
            Held(pid=body.pid, held_bytes=body.held_bytes(self.now_s))
            for body in self._bodies.values()
            if body.attempt.device == key
        )
        return Reading(
            device=key,
            total_bytes=card.total_bytes(),
            used_bytes=min(card.total_bytes(), self._used_bytes(key)),
            held=held if card.can_tell else None,
        )


def _refused(kind: str, cap: int | None) -> Evidence:
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
