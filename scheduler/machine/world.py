"""The machine as the loop sees it: events come out of one queue, actions go to the hosts.

Wires devices, hosts and orphans together, and publishes what others may see. What is decided here
is only whether there is anything left to do.
"""

from __future__ import annotations

import logging
import math
import os
import socket
import time
from collections import deque
from collections.abc import Iterator, Sequence
from queue import SimpleQueue

from probes.reading import Probe, Reading
from scheduler.core import pace
from scheduler.core.actions import Action
from scheduler.core.core import Core
from scheduler.core.events import Event, Exited, Found, Joined, Sampled, Vanished
from scheduler.core.model import Budget
from scheduler.core.view import AttemptView, View
from scheduler.machine import hosts, processes
from scheduler.machine.answers import Answers, Devices, Status, Supervisor
from scheduler.machine.budgets import Here
from scheduler.machine.compaction import events_of
from scheduler.machine.devices import Poller, blind
from scheduler.machine.journal import Journal, Unwritten
from scheduler.machine.orphans import Lease, Orphans
from scheduler.machine.sessions import Sessions
from scheduler.machine.state import StateFolder

_log = logging.getLogger(__name__)

#: Journals are shortened beyond this: it takes some 6 s to replay, and a start may take 15.
JOURNAL_BYTES = 32 << 20
FRESH_S = 1.5  #: a reading older than this admits nobody who has just come


class World:
    """Give it to the loop after ``start``. Other threads may read ``view`` and ``readings``."""

    def __init__(
        self,
        *,
        core: Core,
        journal: Journal,
        state: StateFolder,
        listener: socket.socket,
        budgets: tuple[Budget, ...],
        sources: Sequence[Sequence[Probe]],
        linger_s: float,
    ) -> None:
        self._core = core
        self._journal = journal
        self._state = state
        self._budgets = budgets
        self._linger_s = linger_s
        self._since_s = time.time()
        self._journal_limit_bytes = JOURNAL_BYTES
        self._queue: SimpleQueue[Event | None] = SimpleQueue()
        self._next: deque[Event] = deque()
        self._sessions = Sessions(listener, budgets, self._queue.put)
        self._poller = Poller(sources, self._trees, self._queue.put)
        self._orphans = Orphans(self._is_host_alive)
        self._last: Event | None = None  #: the event that is handled, or was last
        self._polled: View | None = None  #: what was so after the last reading
        self._kept: deque[Event] = deque()  #: until there is a reading that is not old
        self._read_at_s = -math.inf  #: monotonic
        self.view = core.view()
        self.readings: tuple[Reading, ...] = ()
        self.is_broken = False  #: a thread of ours has ended by a bug

    def start(self) -> None:
        """Begins to poll and to take hosts."""
        self._next.append(Found(at_s=time.time(), budgets=self._budgets))
        self._sessions.start()
        self._poller.start()

    def stop(self) -> None:
        """Ends the loop soon. From any thread or signal handler."""
        self._queue.put(None)

    def break_off(self) -> None:
        """Ends the loop for a bug of ours."""
        self.is_broken = True
        self.stop()

    def next_event(self) -> Event | None:
        """Waits for the next event; None: it is time to leave."""
        self.view = self._core.view()
        if isinstance(self._last, Sampled):
            self._poller.every(min(pace.period_s(self._polled, self.view), self._linger_s))
            self._polled = self.view
        if any(one.state == "releasing" for one in self._attempts()):
            # A device shows what it got back some time after the exit.
            self._poller.nudge(again=True)
        while not self._next:
            event = self._queue.get()
            if event is None or self._is_done(event):
                return None
            self._take(event)
        self._last = self._next.popleft()
        return self._last

    def _take(self, event: Event) -> None:
        """Line up what is to be handled: *event*, or with it what waited for it, or nothing yet."""
        if isinstance(event, Sampled):
            if self._is_seen(event):
                self._next.append(event)
            self._next.extend(self._kept)
            self._kept.clear()
        elif self._kept or self._is_in_the_dark(event):
            self._kept.append(event)
        else:
            self._next.append(event)
        if isinstance(event, Exited | Vanished):
            self._poller.nudge()  # the memory that it gave back is waited for

    def _is_in_the_dark(self, event: Event) -> bool:
        """A run that comes after a time without readings waits for a new one, so that its trials
        are not admitted by what was so seconds ago."""
        if not isinstance(event, Joined) or time.monotonic() - self._read_at_s <= FRESH_S:
            return False
        self._poller.nudge()
        return True

    def perform(self, action: Action) -> None:
        self._sessions.send(action)

    def go_blind(self, unwritten: Unwritten) -> None:
        """Holds all new starts until the journal can be written again.

        What hosts tell is acted on all the same: they would wait for ever for an answer, and will
        tell a new supervisor what runs. No reading passes on before the journal has caught up.
        """
        keys = [budget.device.key for budget in self._budgets]
        if not isinstance(unwritten.event, Sampled):
            self._next.appendleft(unwritten.event)
        self._next.appendleft(blind(keys, time.time(), unwritten.problem))

    def _is_seen(self, sampled: Sampled) -> bool:
        """Does what is due once a poll; whether the core may see this one."""
        self.readings, self._read_at_s = sampled.readings, time.monotonic()
        for attempt in self._orphans.look(self._leases(), self._sessions.connected):
            self._queue.put(Vanished(at_s=time.time(), attempt=attempt))
        if not self._journal.retry():
            return False
        if self._journal.size_bytes > self._journal_limit_bytes:
            self._shorten_journal()
        return True

    def _shorten_journal(self) -> None:
        try:
            self._journal.begin_anew(events_of(self.view, self._budgets))
            self._journal_limit_bytes = JOURNAL_BYTES
        except OSError as error:
            self._journal_limit_bytes = 2 * self._journal.size_bytes
            _log.error("the journal stays long: %s", error)

    def _is_done(self, event: Event) -> bool:
        idle_since_s = self._sessions.idle_since_s
        if not isinstance(event, Sampled) or idle_since_s is None or self._leases():
            return False
        return time.monotonic() - idle_since_s >= self._linger_s

    @property
    def is_idle(self) -> bool:
        """Nobody is connected, and nothing of ours runs."""
        return not self._sessions.connected and not self._leases()

    def _attempts(self) -> Iterator[AttemptView]:
        """All that count on a device, as last published."""
        for device in self.view.devices:
            yield from device.attempts

    def _leases(self) -> list[Lease]:
        """Attempts whose process runs, or is about to."""
        return [
            Lease(attempt=one.attempt.id, run=one.attempt.trial.run, process=one.process)
            for one in self._attempts()
            if one.state != "releasing"
        ]

    def _trees(self, device: str) -> tuple[int, ...]:
        """Whom to ask a device about: those who give memory back included."""
        processes_there = (one.process for one in self._attempts() if one.attempt.device == device)
        return tuple(one.pid for one in processes_there if one is not None)

    def _is_host_alive(self, run: str) -> bool | None:
        """By the process that joined; after a restart, by what its host has written."""
        if run not in self._sessions.hosts:
            return hosts.is_host_alive(self._state, run)
        known = self._sessions.hosts[run]
        return known is not None and processes.is_alive(known)

    def answers(self, here: Here) -> Answers:
        """What the control socket answers, by path."""
        return {"/v1/status": self._status, "/v1/devices": lambda: self._devices(here)}

    def _status(self) -> Status:
        supervisor = Supervisor(
            pid=os.getpid(),
            since_s=self._since_s,
            state_folder=str(self._state.path),
            journal_bytes=self._journal.size_bytes,
            problem=self._journal.problem,
        )
        return Status(supervisor=supervisor, view=self.view)

    def _devices(self, here: Here) -> Devices:
        trees = {budget.device.key: self._trees(budget.device.key) for budget in here.budgets}
        return Devices(
            budgets=here.budgets,
            readings=self.readings,
            sources=self._poller.sources(),
            trees=trees,
            left_out=here.left_out,
            absent=here.absent,
        )
