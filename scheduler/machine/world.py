"""The machine as the loop sees it: events come out of one queue, actions go to the hosts.

Wires devices, hosts and orphans together, and publishes what others may see. What is decided here
is only whether there is anything left to do.
"""

from __future__ import annotations

import logging
import os
import socket
import time
from collections import deque
from collections.abc import Iterator, Sequence
from queue import SimpleQueue

from probes.reading import LeftOut, Probe, Reading
from scheduler.core.actions import Action
from scheduler.core.core import Core
from scheduler.core.events import Event, Exited, Found, Sampled, Vanished
from scheduler.core.model import Budget
from scheduler.core.view import AttemptView
from scheduler.machine import hosts, processes
from scheduler.machine.answers import Answers, Devices, Status, Supervisor
from scheduler.machine.compaction import events_of
from scheduler.machine.devices import Poller, blind
from scheduler.machine.journal import Journal, Unwritten
from scheduler.machine.orphans import Lease, Orphans
from scheduler.machine.sessions import Sessions
from scheduler.machine.state import StateFolder

_log = logging.getLogger(__name__)

#: Journals are shortened beyond this: it takes some 6 s to replay, and a start may take 15.
JOURNAL_BYTES = 32 << 20


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
        probes: Sequence[Probe],
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
        self._poller = Poller(probes, self._trees, self._queue.put)
        self._orphans = Orphans(self._is_host_alive)
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
        if any(one.state == "releasing" for one in self._attempts()):
            self._poller.nudge(
                again=True
            )  # a device shows what it got back some time after the exit
        if self._next:
            return self._next.popleft()
        while (event := self._queue.get()) is not None:
            if isinstance(event, Sampled) and not self._is_seen(event):
                continue
            if isinstance(event, Exited | Vanished):
                self._poller.nudge()  # the memory that it gave back is waited for
            break
        return None if event is None or self._is_done(event) else event

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
        self.readings = sampled.readings
        for attempt in self._orphans.look(self._leases(), self._sessions.connected):
            self._queue.put(Vanished(at_s=time.time(), attempt=attempt))
        if not self._journal.retry():
            return self._is_done(sampled)
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

    def answers(self, left_out: tuple[LeftOut, ...]) -> Answers:
        """What the control socket answers, by path."""
        return {"/v1/status": self._status, "/v1/devices": lambda: self._devices(left_out)}

    def _status(self) -> Status:
        supervisor = Supervisor(
            pid=os.getpid(),
            since_s=self._since_s,
            state_folder=str(self._state.path),
            journal_bytes=self._journal.size_bytes,
            problem=self._journal.problem,
        )
        return Status(supervisor=supervisor, view=self.view)

    def _devices(self, left_out: tuple[LeftOut, ...]) -> Devices:
        return Devices(budgets=self._budgets, readings=self.readings, left_out=left_out)
