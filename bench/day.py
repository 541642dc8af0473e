"""A day of a busy supervisor in minutes: its memory, its files, and how long the next start takes.

A thousand events a minute for 24 hours of the events' own clock, through the real world, core,
journal and chronicle: 16 places on a card, trials of four seconds that save, a hundredth of which
run out of memory, a new run every hour. Not real are the processes, the readings and the hosts'
connections. Wanted: memory flat from the first hour on, files bounded, a start within 2 s.

    python bench/day.py [hours]
"""

from __future__ import annotations

import gc
import heapq
import itertools
import os
import random
import socket
import sys
import time
from collections import deque
from collections.abc import Callable
from typing import Any, NamedTuple

import measure
import psutil

import scheduler.loop as loop
from probes.reading import Device, Held, Reading
from scheduler.core.actions import Action, Settle, Start, Stop
from scheduler.core.core import Core
from scheduler.core.events import Event, Exited, Joined, Left, Offered, Sampled, Saved, Started
from scheduler.core.model import Attempt, Budget, Evidence, Process, Run, Trial
from scheduler.machine.chronicle.chronicle import MOST_BYTES, NAME, Chronicle
from scheduler.machine.devices import Poller
from scheduler.machine.journal import Journal, replay
from scheduler.machine.sessions import Sessions
from scheduler.machine.state import StateFolder, open_state
from scheduler.machine.world import JOURNAL_BYTES, World

HOURS = 24.0
PLACES = 16
TOTAL_BYTES, PROMISE_BYTES, HELD_BYTES = 16 << 30, 768 << 20, 500 << 20
LASTS_S, POLL_S = 4.0, 0.5
UNLUCKY = 0.01
SHOWN_H = (1, 6, 12, 18, 24)

CARD = Device(
    key="0000:03:00.0",
    kind="amd",
    name="a card",
    total_bytes=TOTAL_BYTES,
    source="amdgpu",
    because="it is made up",
)
BUDGET = Budget(
    device=CARD, reserve_bytes=1 << 30, promise_bytes=PROMISE_BYTES, max_attempts=PLACES
)
COMPLETE = Evidence(outcome="complete", exit_code=0, proven=True)
OUT_OF_MEMORY = Evidence(
    outcome="failed",
    exit_code=1,
    exception=("torch.OutOfMemoryError", "RuntimeError"),
    message="HIP out of memory. Tried to allocate 256.00 MiB.",
    proven=True,
)


class Hour(NamedTuple):
    """What is so at the end of an hour."""

    events: int
    resident_bytes: int
    blocks: int  #: that Python's allocator has given out
    journal_bytes: int
    chronicle_bytes: int


class Hosts(Sessions):
    """Runs that come one after the other; their trials are a heap of what will happen."""

    def start(self) -> None:
        """Nobody connects."""

    def begin(self, now_s: float) -> None:
        self._now_s = now_s
        self._heap: list[tuple[float, int, Callable[[], list[Event]]]] = []
        self._order = itertools.count()
        self._chance = random.Random(0)
        self._running: dict[str, int] = {}
        self._runs, self._trials = 0, 0
        self._pids = itertools.count(1 << 23)  # beyond what a kernel gives out
        self.at(0.0, self._poll)
        self.at(0.0, self._next_run)

    def at(self, in_s: float, happening: Callable[[], list[Event]]) -> None:
        heapq.heappush(self._heap, (self._now_s + in_s, next(self._order), happening))

    def happenings(self) -> list[Event]:
        """What happens next, at one moment."""
        self._now_s, _, happening = heapq.heappop(self._heap)
        return happening()

    def send(self, action: Action) -> None:
        match action:
            case Start(attempt=attempt):
                self.at(0.04, lambda: self._begin(attempt))
                self.at(0.0, self._offer)
            case Stop(attempt=attempt):
                self.at(0.1, lambda: self._exit(attempt, Evidence(signal=15)))
            case Settle(again=again) if again is not None and again.run == self.run:
                self.at(0.01, lambda: [Offered(at_s=self._now_s, trial=again)])

    def _next_run(self) -> list[Event]:
        self.at(3600.0, self._next_run)
        former, self._runs = self._runs, self._runs + 1
        run = Run(id=f"train-{self._runs}", name="train")
        self.run = run.id
        self.connected = frozenset({run.id, f"train-{former}"})  # whose last trials still end
        self.at(0.01, self._offer)
        left = [Left(at_s=self._now_s, run=f"train-{former}")] if former else []
        return [*left, Joined(at_s=self._now_s, run=run)]

    def _offer(self) -> list[Event]:
        self._trials += 1
        trial = Trial(run=self.run, number=self._trials)
        return [Offered(at_s=self._now_s, trial=trial)]

    def _begin(self, attempt: Attempt) -> list[Event]:
        pid = self._running[attempt.id] = next(self._pids)
        lasts_s = LASTS_S * self._chance.uniform(0.5, 1.5)
        self.at(lasts_s / 2, lambda: [self._saved(attempt)])
        evidence = OUT_OF_MEMORY if self._chance.random() < UNLUCKY else COMPLETE
        self.at(lasts_s, lambda: self._exit(attempt, evidence))
        process = Process(pid=pid, started_ticks=pid)
        return [Started(at_s=self._now_s, attempt=attempt.id, process=process)]

    def _saved(self, attempt: Attempt) -> Event:
        return Saved(at_s=self._now_s, attempt=attempt.id, saved_at_s=self._now_s)

    def _exit(self, attempt: Attempt, evidence: Evidence) -> list[Event]:
        if self._running.pop(attempt.id, None) is None:
            return [self._saved(attempt)]  # it was stopped before: a late word
        return [Exited(at_s=self._now_s, attempt=attempt.id, evidence=evidence)]

    def _poll(self) -> list[Event]:
        self.at(POLL_S, self._poll)
        held = tuple(Held(pid=pid, held_bytes=HELD_BYTES) for pid in self._running.values())
        used_bytes = (300 << 20) + len(held) * HELD_BYTES
        reading = Reading(
            device=CARD.key, total_bytes=TOTAL_BYTES, used_bytes=used_bytes, held=held
        )
        return [Sampled(at_s=self._now_s, readings=(reading,))]


class Still(Poller):
    """Readings come from the events' own clock."""

    def start(self) -> None:
        pass


class Coming:
    """In the place of the queue that threads of a supervisor fill."""

    def __init__(self, hosts: Hosts) -> None:
        self._hosts = hosts
        self._events: deque[Any] = deque()

    def put(self, event: Any) -> None:
        self._events.append(event)

    def get(self) -> Any:
        while not self._events:
            self._events += self._hosts.happenings()
        return self._events.popleft()


class Day(World):
    """The real one, to which things happen as fast as it takes them. ``hours`` has how it was."""

    def begin(self, listener: socket.socket, for_hours: float) -> None:
        hosts = self._sessions = Hosts(listener, (BUDGET,), lambda event: None)
        self._queue = Coming(hosts)  # type: ignore[assignment]
        self._poller = Still([], self._trees, self._queue.put)
        self.hours: list[Hour] = []
        self._events = 0
        self._until_h = for_hours
        self._began_s = time.time()
        hosts.begin(self._began_s)
        self.start()

    def next_event(self) -> Event | None:
        event = super().next_event()
        if event is not None:
            self._events += 1
            hour = (event.at_s - self._began_s) / 3600
            if hour >= len(self.hours) + 1:
                self._look_back()
            if hour >= self._until_h:
                self.stop()
        return event

    def _look_back(self) -> None:
        gc.collect()
        assert self._chronicle is not None
        hour = Hour(
            events=self._events,
            resident_bytes=psutil.Process().memory_info().rss,
            blocks=sys.getallocatedblocks(),
            journal_bytes=self._journal.size_bytes,
            chronicle_bytes=(self._state.path / NAME).stat().st_size,
        )
        self.hours.append(hour)
        if len(self.hours) in SHOWN_H:
            print(
                f"after {len(self.hours):2} h: {hour.events} events, "
                f"{hour.resident_bytes / 1e6:.1f} MB resident, {hour.blocks} blocks of Python's, "
                f"journal {hour.journal_bytes / 1e6:.1f} MB, "
                f"chronicle {hour.chronicle_bytes / 1e6:.1f} MB",
                flush=True,
            )


def main() -> None:
    hours = float(sys.argv[1]) if len(sys.argv) > 1 else HOURS
    with measure.workplace() as (_, environment):
        os.environ |= environment
        state = open_state()
        began_s = time.monotonic()
        day = run(state, hours)
        took_s = time.monotonic() - began_s
        replayed_s = start_again(state)
    first, last = day[0], day[-1]
    minutes = len(day) * 60
    print(f"{last.events / minutes:.0f} events a minute, {took_s / last.events * 1e6:.0f} us each")
    grown = last.resident_bytes / first.resident_bytes
    measure.verdict("resident at the end / after an hour", grown, "under 1.05", grown < 1.05)
    grown = last.blocks / first.blocks
    measure.verdict("blocks at the end / after an hour", grown, "under 1.05", grown < 1.05)
    journal = max(one.journal_bytes for one in day) / JOURNAL_BYTES
    measure.verdict("longest journal / its limit", journal, "under 1.1", journal < 1.1)
    chronicle = max(one.chronicle_bytes for one in day) / MOST_BYTES
    measure.verdict("longest chronicle / its limit", chronicle, "at most 1", chronicle <= 1)
    measure.verdict("start after it, s", replayed_s, "under 2", replayed_s < 2)


def run(state: StateFolder, hours: float) -> list[Hour]:
    """Each hour of it."""
    core, journal = Core(), Journal(state.journal)
    with socket.socket() as listener:
        day = Day(
            core=core,
            journal=journal,
            state=state,
            listener=listener,
            budgets=(BUDGET,),
            sources=(),
            linger_s=0.0,
            lasting=True,
            chronicle=Chronicle(state.path / NAME),
        )
        day.begin(listener, hours)
        loop.run(core, day, journal)
    return day.hours


def start_again(state: StateFolder) -> float:
    """Seconds until the next supervisor knows what this one knew."""
    began_s = time.perf_counter()
    core = Core()
    for event in replay(state.journal):
        core.handle(event)
    Chronicle(state.path / NAME).close()
    return time.perf_counter() - began_s


if __name__ == "__main__":
    main()
