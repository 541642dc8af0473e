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
from collections.abc import Callable, Sequence
from enum import Enum
from queue import SimpleQueue

import msgspec

from probes.reading import Probe, Reading
from scheduler.core import pace
from scheduler.core.actions import Action
from scheduler.core.core import Core
from scheduler.core.events import Event, Exited, Found, Joined, Sampled, Vanished
from scheduler.core.model import Budget
from scheduler.core.view import View
from scheduler.machine import hosts, processes
from scheduler.machine.api.answers import Answers, Devices, Status, Supervisor
from scheduler.machine.budgets import Here
from scheduler.machine.chronicle.chronicle import Chronicle
from scheduler.machine.chronicle.witness import Witness
from scheduler.machine.counted import attempts, leases, trees
from scheduler.machine.devices import Poller, blind
from scheduler.machine.journal import Journal, Unwritten
from scheduler.machine.keeper import RUNS_AT_ONCE
from scheduler.machine.leaving import GRACE_S
from scheduler.machine.orders import Given, Orders, Refused
from scheduler.machine.orphans import Lease, Orphans
from scheduler.machine.sessions import Sessions
from scheduler.machine.state import StateFolder
from scheduler.machine.steward import Rules, Steward

_log = logging.getLogger(__name__)

#: Journals are shortened beyond this: it takes half a second to replay.
JOURNAL_BYTES = 2 << 20
FRESH_S = 1.5  #: a reading older than this admits nobody who has just come


class _Call(Enum):
    LEAVE = "leave"
    LOOK = "look"  #: a host has ended


class World:
    """Give it to the loop after ``start``. Other threads may read ``view`` and ``readings``, and
    give ``orders``."""

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
        lasting: bool = False,
        rules: Rules = tuple,
        runs_at_once: Callable[[], int] = lambda: RUNS_AT_ONCE,
        grace_s: float = GRACE_S,
        chronicle: Chronicle | None = None,
    ) -> None:
        self._core = core
        self._journal = journal
        self._state = state
        self._budgets = budgets
        self._linger_s = linger_s
        self._since_s = time.time()
        self._journal_limit_bytes = JOURNAL_BYTES
        self._witness = Witness(state, chronicle, self._since_s)
        self._is_lasting = lasting
        self._queue: SimpleQueue[Event | Given | _Call] = SimpleQueue()
        self._next: deque[Event] = deque()
        self._sessions = Sessions(listener, budgets, self._queue.put)
        self._poller = Poller(sources, self._trees, self._queue.put)
        self._orphans = Orphans(self._is_host_alive)
        self._steward = Steward(
            state,
            lambda: self._queue.put(_Call.LOOK),
            rules=rules,
            runs_at_once=runs_at_once,
            grace_s=grace_s,
            tell=self._witness.tell_of_run,
        )
        self.orders = Orders(self._queue.put)
        self._obeyed: list[Given] = []  #: those that are not answered yet
        self._last: Event | None = None  #: the event that is handled, or was last
        self._polled: View | None = None  #: what was so after the last reading
        self._kept: deque[Event] = deque()  #: until there is a reading that is not old
        self._read_at_s = -math.inf  #: monotonic
        self.view = core.view()
        self.readings: tuple[Reading, ...] = ()
        self._when_ready: Callable[[], None] = lambda: None
        self.is_broken = False  #: a thread of ours has ended by a bug

    def start(self, when_ready: Callable[[], None] = lambda: None) -> None:
        """Begins to poll and to take hosts, once the core knows of this life: by then pids of a
        former boot are forgotten, which may be anybody's now. Raises OSError where the state folder
        takes nothing.

        *when_ready* is called after that, on the loop's thread: what others may see is whole.
        """

        def begin() -> None:
            self._sessions.start()
            self._poller.start()
            when_ready()

        self._when_ready = begin
        if self._is_lasting:
            self._steward.stay()
        self._next.append(Found(at_s=time.time(), budgets=self._budgets, boot_id=hosts.boot_id()))
        self._next.extend(self._steward.ruled())

    def stop(self) -> None:
        """Ends the loop soon. From any thread or signal handler."""
        self._queue.put(_Call.LEAVE)

    def nudge(self) -> None:
        """Has the devices read soon, and the rules in force looked at. From any thread."""
        self._poller.nudge()

    def ours(self) -> frozenset[int]:
        """The pids of our hosts and attempts, as last published. From any thread."""
        joined = (host.pid for host in dict(self._sessions.hosts).values() if host is not None)
        running = (one.process.pid for one in attempts(self.view) if one.process is not None)
        return frozenset({*joined, *running})

    def break_off(self) -> None:
        """Ends the loop for a bug of ours."""
        self.is_broken = True
        self.stop()

    def next_event(self) -> Event | None:
        """Waits for the next event; None: it is time to leave."""
        self.view = self._core.view()
        if isinstance(self._last, Sampled):
            period_s = pace.period_s(self._polled, self.view)
            self._poller.every(min(period_s, math.inf if self.is_lasting else self._linger_s))
            self._polled = self.view
            self._witness.polled(self.view, time.time())
        if any(one.state == "releasing" for one in attempts(self.view)):
            # A device shows what it got back some time after the exit.
            self._poller.nudge(again=True)
        if not self._next:
            self._when_ready()
            self._when_ready = lambda: None
        while not self._next:
            self._answer_orders()
            if self._is_time_to_leave(self._queue.get()):
                self._answer_orders()
                return None
        self._last = self._next.popleft()
        return self._last

    def _is_time_to_leave(self, come: Event | Given | _Call) -> bool:
        """Takes what has come out of the queue."""
        if come is _Call.LEAVE:
            return True
        if isinstance(come, Given):
            self._obey(come)
        elif not isinstance(come, _Call):
            if self._is_done(come):
                return True
            self._take(come)
        is_due = isinstance(come, Given | _Call | Sampled)
        return is_due and self._steward.look(
            dict(self._sessions.hosts), may_start=self._journal.problem is None
        )

    def _obey(self, given: Given) -> None:
        if not given.take():
            return
        try:
            events = self._steward.carry_out(given.order, self.view, dict(self._sessions.hosts))
        except Refused as refused:
            given.answer(refused)
            return
        except BaseException as bug:  # it ends us; who waits must not wait for the dead
            given.answer(Refused(500, f"a bug of ours: {type(bug).__name__}: {bug}"))
            raise
        self._next.extend(events)
        self._obeyed.append(given)

    def _answer_orders(self) -> None:
        """Once all that they led to is handled and published: who asks next sees it."""
        while self._obeyed:
            self._obeyed.pop().answer(None)

    def _take(self, event: Event) -> None:
        """Line up what is to be handled: *event*, or with it what waited for it, or nothing yet."""
        if isinstance(event, Joined):
            event = self._with_priority(event)
        if isinstance(event, Sampled):
            self._next.extend(self._steward.ruled())
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

    def _with_priority(self, joined: Joined) -> Joined:
        """A host says the one that its life began with; its user may have set another since."""
        priority = self._steward.priority(joined.run.id)
        if priority is None:
            return joined
        run = msgspec.structs.replace(joined.run, priority=priority)
        return msgspec.structs.replace(joined, run=run)

    def _is_in_the_dark(self, event: Event) -> bool:
        """A run that comes after a time without readings waits for a new one, so that its trials
        are not admitted by what was so seconds ago."""
        if not isinstance(event, Joined) or time.monotonic() - self._read_at_s <= FRESH_S:
            return False
        self._poller.nudge()
        return True

    def perform(self, action: Action) -> None:
        self._sessions.send(action)
        self._witness.acted(action)

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
        self._witness.look(self._sessions.connected)
        for attempt in self._orphans.look(self._leases(), self._sessions.connected):
            self._queue.put(Vanished(at_s=time.time(), attempt=attempt))
        if not self._journal.retry():
            return False
        if self._journal.size_bytes > self._journal_limit_bytes:
            self._shorten_journal()
        return True

    def _shorten_journal(self) -> None:
        try:
            self._journal.begin_anew([self._core.remember()])
        except OSError as error:
            _log.error("the journal stays long: %s", error)
        self._journal_limit_bytes = max(JOURNAL_BYTES, 2 * self._journal.size_bytes)

    def _is_done(self, event: Event) -> bool:
        idle_since_s = self._sessions.idle_since_s
        if self.is_lasting:
            return False
        if not isinstance(event, Sampled) or idle_since_s is None or self._leases():
            return False
        return time.monotonic() - idle_since_s >= self._linger_s

    @property
    def is_lasting(self) -> bool:
        """It does not leave after the last run."""
        return self._steward.is_lasting

    @property
    def is_idle(self) -> bool:
        """Nobody is connected, and nothing of ours runs."""
        return not self._sessions.connected and not self._leases()

    def _leases(self) -> list[Lease]:
        return leases(self.view)

    def _trees(self, device: str) -> tuple[int, ...]:
        return trees(self.view, device)

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
