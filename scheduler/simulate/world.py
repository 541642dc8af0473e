"""A machine that is only a heap of future events and a virtual clock; the core is the real one.

Covers what the core sees of devices and hosts: trials that grow to their peak and end, that slow
each other down, caps that are hit, devices that overflow, strangers that come and go, probes that
fall silent, memory that is freed late. Does not cover what a trial computes. The same world, the
same events.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from heapq import heappop, heappush
from itertools import count
from math import floor

import msgspec

from scheduler.core.actions import Action, Halt, Settle, Start, Stop
from scheduler.core.events import (
    Event,
    Exited,
    Found,
    Joined,
    Left,
    Offered,
    Sampled,
    Started,
)
from scheduler.core.model import Attempt, Evidence, Process, Run, Settlement, Trial
from scheduler.core.places import Key, key_of
from scheduler.simulate.contention import Contention, unhindered
from scheduler.simulate.script import Script
from scheduler.simulate.site import Body, Card, Site, end_of, refused
from scheduler.simulate.trace import DeviceTrace, How, Overflow, Span, how_of, span_of

_STOPPED = Evidence(signal=15)
_CRASHED = Evidence(signal=6)
_CRASH_S = 0.5  #: between a fault and the last crash of what it takes along
_AFTER_S = 0.02  #: from a start or an end to the poll that follows it


class Ticked(msgspec.Struct, frozen=True):
    """The clock of the polls."""


class Due(msgspec.Struct, frozen=True):
    """An attempt's process ends, if it is still there."""

    attempt: str
    evidence: Evidence


class _Ends(msgspec.Struct, frozen=True):
    """The same by itself, if its speed has not changed since *turn*."""

    attempt: str
    turn: int


class SimulatedWorld:
    """Cards, runs with all their trials offered at once, a poll every *period_s*, and what happens
    *also*. It ends when every trial has ended, but for those of ``halted`` runs, or at *until_s*.

    *calm_s*: polls at which nothing would be new are left out for so long, and one follows each
    start and end at once; None: none is left out. *progress_s*: how often attempts that report are
    heard; None: never. *traced*: ``traces`` have their devices' moments, for pictures.

    ``ended`` has the settlement of each trial that has, ``spans`` each attempt that has.
    """

    def __init__(
        self,
        *,
        cards: Iterable[Card],
        runs: Iterable[Run],
        trials: Mapping[Trial, Script] | Iterable[tuple[Trial, Script]] = (),
        also: Iterable[Event] = (),
        period_s: float = 1.0,
        until_s: float = float("inf"),
        contention: Contention = unhindered,
        calm_s: float | None = None,
        progress_s: float | None = None,
        traced: bool = False,
    ) -> None:
        self.now_s = 0.0
        self.ended: dict[Key, Settlement] = {}
        self.halted: set[str] = set()
        self.attempts = 0
        self.events = 0
        self.spans: list[Span] = []
        self.overflows: list[Overflow] = []
        self.sites = {site.key: site for site in map(Site, cards)}
        self.traces = {key: DeviceTrace() for key in self.sites}
        self._proven: set[str] = set()  #: runs of which a trial has finished well
        self._until_s, self._period_s = until_s, period_s
        self._contention, self._calm_s, self._progress_s = contention, calm_s, progress_s
        self._traced = traced
        self._where: dict[str, Site] = {}  #: by attempt
        self._saved: dict[Key, float] = {}  #: work, in the last checkpoint of a trial
        self._order, self._pids = count(), count(1000)
        self._heap: list[tuple[float, int, Event | Ticked | Due | _Ends]] = []
        self._told: deque[Event] = deque()  #: what is heard beside the poll that has just been
        self._polled_s = self._heard_s = self._poll_s = 0.0
        pairs = tuple(trials.items() if isinstance(trials, Mapping) else trials)
        self._scripts = {key_of(trial): script for trial, script in pairs}
        self._open = set(self._scripts)  #: trials that are yet to end
        budgets = tuple(site.card.budget for site in self.sites.values())
        first: list[Event] = [Found(at_s=0.0, budgets=budgets)]
        first += [Joined(at_s=0.0, run=run) for run in runs]
        first += [Offered(at_s=0.0, trial=trial) for trial, _ in pairs]
        for event in (*first, *also):
            self.at(event.at_s, event)
        self.at(0.0, Ticked())

    def at(self, at_s: float, happening: Event | Ticked | Due | _Ends) -> None:
        """Let it happen then, after what was told earlier for the same moment."""
        heappush(self._heap, (at_s, next(self._order), happening))

    # -- for hosts that offer as they go -------------------------------------------------------

    def offer(self, trial: Trial) -> None:
        """Now; also one that waits, with another wish. The world goes on until it has ended."""
        self._open.add(key_of(trial))
        self.at(self.now_s, Offered(at_s=self.now_s, trial=trial))

    def bind(self, trial: Trial, script: Script) -> None:
        """How *trial* is to behave; to be said before it starts."""
        self._scripts[key_of(trial)] = script

    def close(self, key: Key) -> None:
        """It will not be run."""
        self._open.discard(key)

    # -- what happens --------------------------------------------------------------------------

    def next_event(self) -> Event | None:
        event = self._told.popleft() if self._told else self._next()
        self.events += event is not None
        return event

    def _next(self) -> Event | None:
        while self._heap and self._open:
            at_s, _, happening = heappop(self._heap)
            if at_s > self._until_s:
                break
            self.now_s = at_s
            match happening:
                case Ticked():
                    if at_s == self._poll_s:
                        return self._poll()
                case _Ends(attempt=attempt, turn=turn):
                    site = self._where.get(attempt)
                    if site is not None and site.bodies[attempt].turn == turn:
                        return self._exit(attempt, site.bodies[attempt].evidence)
                case Due(attempt=attempt, evidence=evidence):
                    if attempt in self._where:
                        return self._exit(attempt, evidence)
                case _:
                    return happening
        return None

    def _exit(self, attempt: str, evidence: Evidence, how: How | None = None) -> Exited:
        site = self._where.pop(attempt)
        body = site.remove(attempt, self.now_s)
        run = body.attempt.trial.run
        if body.script.resets and evidence == body.script.evidence:
            for other in site.bodies.values():
                at_s = self.now_s + _CRASH_S * (other.pid % 2)
                self.at(at_s, Due(other.attempt.id, _CRASHED))
        if evidence.outcome in ("complete", "pruned"):
            self._proven.add(run)
        self._note(body, how or how_of(body, evidence))
        self._company_changed(site)
        evidence = msgspec.structs.replace(evidence, proven=run in self._proven)
        return Exited(at_s=self.now_s, attempt=attempt, evidence=evidence)

    def _note(self, body: Body, how: How) -> None:
        if body.script.saves_every_s:
            self._saved[key_of(body.attempt.trial)] = body.saved_work_s(self.now_s)
        self.spans.append(span_of(body, self.now_s, how))

    def _company_changed(self, site: Site) -> None:
        for body in site.share_out(self.now_s, self._contention):
            at_s = max(self.now_s, body.when(body.ends_at_work_s))
            self.at(at_s, _Ends(body.attempt.id, body.turn))
        self.traces[site.key].look(site, self.now_s, self._polled_s, keeps=self._traced)
        if self._calm_s is not None:
            self._poll_by(self.now_s + site.card.lag_s + _AFTER_S)

    # -- what is done --------------------------------------------------------------------------

    def perform(self, action: Action) -> None:
        match action:
            case Start(attempt=attempt):
                self._start(attempt)
            case Stop(attempt=attempt):
                self.at(self.now_s, Due(attempt.id, _STOPPED))
            case Halt(run=run):
                self._halt(run)
            case Settle(again=Trial() as again):
                self.at(self.now_s, Offered(at_s=self.now_s, trial=again))
            case Settle(attempt=attempt, settlement=settlement):
                key = key_of(attempt.trial)
                assert key not in self.ended, f"{key} ended twice"
                self.ended[key] = settlement
                self._open.discard(key)
            case _:
                pass

    def _halt(self, run: str) -> None:
        self.halted.add(run)
        self._open = {key for key in self._open if key[0] != run}
        for attempt, site in self._where.items():
            if site.bodies[attempt].attempt.trial.run == run:
                self.at(self.now_s, Due(attempt, _STOPPED))
        self.at(self.now_s, Left(at_s=self.now_s, run=run))

    def _start(self, attempt: Attempt) -> None:
        key, site = key_of(attempt.trial), self.sites[attempt.device]
        pid, self.attempts = next(self._pids), self.attempts + 1
        body = Body(attempt, self._scripts[key], pid, self.now_s, self._saved.get(key, 0.0))
        body.ends_at_work_s, body.evidence = end_of(body, site.card.budget.device.kind)
        body.speed = 0.0  # until it is shared out
        site.add(body)
        self._where[attempt.id] = site
        process = Process(pid=pid, started_ticks=pid)
        self.at(self.now_s, Started(at_s=self.now_s, attempt=attempt.id, process=process))
        self._company_changed(site)

    # -- polls ---------------------------------------------------------------------------------

    def _poll(self) -> Event:
        """The readings; but first, one at a time, the ends of those for whom there was no room."""
        stirred = [site for site in self.sites.values() if self.now_s >= site.new_s]
        for site in stirred:
            over_s = site.overflow_s(self._polled_s, self.now_s) if site.bodies else None
            if over_s is not None:
                return self._overflow(site, over_s)
        for site in stirred:
            self.traces[site.key].look(site, self.now_s, self._polled_s, keeps=self._traced)
        readings = tuple(site.read(self.now_s) for site in self.sites.values())
        self._polled_s = self.now_s
        self._hear()
        self._poll_s = self._next_poll_s()
        self.at(self._poll_s, Ticked())
        return Sampled(at_s=self.now_s, readings=readings)

    def _poll_by(self, at_s: float) -> None:
        if at_s < self._poll_s:
            self._poll_s = at_s
            self.at(at_s, Ticked())

    def _next_poll_s(self) -> float:
        """On the grid of periods, at the first at which there is something new to see."""
        period_s = self._period_s
        if self._calm_s is None:
            return self.now_s + period_s
        next_s = (floor(self.now_s / period_s + 1e-6) + 1) * period_s
        new_s = min(site.new_s for site in self.sites.values())
        latest_s = next_s + self._calm_s - period_s
        if new_s >= latest_s:
            return max(next_s, latest_s)
        return max(next_s, -floor(-new_s / period_s + 1e-6) * period_s)

    def _overflow(self, site: Site, over_s: float) -> Event:
        """The one that has grown most since the last poll asked for what was not there."""
        before_s = min(self._polled_s, self.now_s - self._period_s)
        card, used = site.card, site.used_bytes(over_s)
        strangers = card.strangers_bytes(over_s)
        self.overflows.append(
            Overflow(
                at_s=over_s,
                device=site.key,
                over_bytes=used - site.total_bytes,
                strangers_bytes=strangers,
                strangers_grew=strangers > card.strangers_bytes(before_s),
            )
        )
        unlucky = max(
            site.bodies.values(),
            key=lambda body: (body.held_bytes(over_s) - body.held_bytes(before_s), body.pid),
        )
        self.at(self.now_s, Ticked())
        evidence = refused(card.budget.device.kind, None)
        return self._exit(unlucky.attempt.id, evidence, "out of memory")

    def _hear(self) -> None:
        """What hosts tell of attempts that have reported or saved since."""
        if self._progress_s is None or self.now_s - self._heard_s < self._progress_s:
            return
        self._heard_s = self.now_s
        for site in self.sites.values():
            for body in site.bodies.values():
                self._told.extend(body.news(self.now_s))
