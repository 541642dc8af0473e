"""Hosts' connections: takes what they send for events, brings them the core's actions.

One thread serves all of them and never waits for one. Nothing that a host sends can harm the
others: what is not understood, or is about another's run, ends that host's connection with a
``Refused``. What the events mean is the core's business; whose processes are left behind when a
host is gone is told in ``machine.orphans``.
"""

from __future__ import annotations

import contextlib
import logging
import os
import selectors
import socket
import struct
import time
from collections import deque
from collections.abc import Callable
from threading import Thread

import msgspec

from scheduler import wire
from scheduler.core.actions import Action, Halt, Hold, Note, Refuse, Settle, Start, Stop
from scheduler.core.events import (
    Event,
    Exited,
    Joined,
    Left,
    Limited,
    Offered,
    Progressed,
    Saved,
    Started,
    Withdrawn,
)
from scheduler.core.model import Budget, Process
from scheduler.machine import processes
from scheduler.machine.admittance import refusal

_log = logging.getLogger(__name__)

MESSAGE_BYTES = 4 << 20  #: longest line taken from a host
_BACKLOG_BYTES = 16 << 20  #: unread actions at which a host counts as stuck; it may join anew
_PEER = struct.Struct("3i")  # pid, uid, gid: unix(7), SO_PEERCRED


class _Bad(Exception):
    """A host said something that it may not say. Holds the sentence that it is refused with."""


class _Connection:
    def __init__(self, peer: socket.socket, pid: int) -> None:
        self.peer = peer
        self.host = processes.identify(pid)
        self.run: str | None = None  #: set once joined
        self.received = bytearray()
        self.to_send = bytearray()


class Sessions:
    """All hosts. ``put`` takes their events, on this object's thread."""

    def __init__(
        self, listener: socket.socket, budgets: tuple[Budget, ...], put: Callable[[Event], None]
    ) -> None:
        self._listener = listener
        self._budgets = budgets
        self._put = put
        self._outbox: deque[Action] = deque()
        self._joined: dict[str, _Connection] = {}
        self._selector = selectors.DefaultSelector()
        self._wake = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self.connected: frozenset[str] = frozenset()
        self.idle_since_s: float | None = time.monotonic()  #: None while a host is connected
        #: The process that last joined for a run; None: it has said that it leaves.
        self.hosts: dict[str, Process | None] = {}

    def start(self) -> None:
        self._listener.setblocking(False)
        self._selector.register(self._listener, selectors.EVENT_READ)
        self._selector.register(self._wake, selectors.EVENT_READ)
        Thread(target=self._work, name="sessions", daemon=True).start()

    def send(self, action: Action) -> None:
        """Brings *action* to the host of its run, if it is connected. From any thread."""
        self._outbox.append(action)
        os.eventfd_write(self._wake, 1)

    def _work(self) -> None:
        while True:
            for key, ready in self._selector.select():
                if key.fileobj is self._listener:
                    self._accept()
                elif key.fileobj == self._wake:
                    os.eventfd_read(self._wake)
                    self._deliver()
                else:
                    self._serve(key.data, ready)

    def _accept(self) -> None:
        try:
            peer, _ = self._listener.accept()
        except OSError as error:  # no descriptors left, or it has gone again
            _log.error("a host could not be taken: %s", error)
            time.sleep(0.05)
            return
        pid, uid, _gid = _PEER.unpack(
            peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _PEER.size)
        )
        if uid != os.getuid():
            peer.close()
            return
        peer.setblocking(False)
        self._selector.register(peer, selectors.EVENT_READ, _Connection(peer, pid))

    def _serve(self, connection: _Connection, ready: int) -> None:
        if connection.peer.fileno() < 0:  # dropped for another's sake in this same round
            return
        try:
            if ready & selectors.EVENT_WRITE:
                self._flush(connection)
            if ready & selectors.EVENT_READ:
                self._read(connection)
        except _Bad as bad:
            self._refuse(connection, str(bad))
        except OSError:
            self._drop(connection)

    def _read(self, connection: _Connection) -> None:
        part = connection.peer.recv(1 << 18)
        if not part:
            self._drop(connection)
            return
        seen = len(connection.received)
        connection.received += part
        if b"\n" in part:
            *lines, rest = bytes(connection.received).split(b"\n")
            connection.received = bytearray(rest)
            for line in lines:
                self._take(connection, line)
        elif seen + len(part) > MESSAGE_BYTES:
            raise _Bad(f"a message is longer than {MESSAGE_BYTES} bytes")

    def _take(self, connection: _Connection, line: bytes) -> None:
        try:
            said = wire.parse_from_host(line)
            msgspec.msgpack.encode(said)  # refuses numbers beyond 64 bits, which JSON may have
        except (msgspec.MsgspecError, UnicodeError, RecursionError, ValueError) as error:
            raise _Bad(f"a message was not understood: {error}") from None
        except OverflowError:
            raise _Bad("a message was not understood: a number is too large") from None
        if isinstance(said, Joined):
            self._join(connection, said)
        elif connection.run is None:
            raise _Bad(f"the first message must be Joined, not {type(said).__name__}")
        elif _run_of(said) != connection.run:
            raise _Bad(f"{type(said).__name__} is about {_run_of(said)!r}, not {connection.run!r}")
        self._put(msgspec.structs.replace(said, at_s=time.time()))
        if isinstance(said, Left):
            self._forget(connection)
            self.hosts[said.run] = None

    def _join(self, connection: _Connection, said: Joined) -> None:
        run = said.run.id
        if connection.run is not None:
            raise _Bad("Joined was said twice")
        problem = refusal(said, self._budgets)
        if problem is not None:
            raise _Bad(problem)
        former = self._joined.get(run)
        if former is not None and former.host != connection.host:
            pid = former.host.pid if former.host else "unknown"
            raise _Bad(f"run {run} is served by another process already (pid {pid})")
        if former is not None:
            self._drop(former)
        connection.run = run
        self._joined[run] = connection
        self.hosts[run] = connection.host
        self._publish()
        self._queue(connection, wire.Welcome(supervisor_pid=os.getpid(), budgets=self._budgets))

    def _deliver(self) -> None:
        while self._outbox:
            action = self._outbox.popleft()
            run = _addressee(action)
            for connection in list(self._joined.values()):
                if run in (None, connection.run):
                    self._queue(connection, action)

    def _queue(self, connection: _Connection, message: wire.ToHost) -> None:
        connection.to_send += wire.encode(message)
        try:
            if len(connection.to_send) > _BACKLOG_BYTES:
                _log.error("run %s does not read what it is sent; disconnected", connection.run)
                raise BrokenPipeError
            self._flush(connection)
        except OSError:
            self._drop(connection)

    def _flush(self, connection: _Connection) -> None:
        with contextlib.suppress(BlockingIOError):
            while connection.to_send:
                del connection.to_send[: connection.peer.send(connection.to_send)]
        wanted = selectors.EVENT_READ | (selectors.EVENT_WRITE if connection.to_send else 0)
        if self._selector.get_key(connection.peer).events != wanted:
            self._selector.modify(connection.peer, wanted, connection)

    def _refuse(self, connection: _Connection, error: str) -> None:
        _log.warning("refused %s: %s", connection.run or "a host", error)
        with contextlib.suppress(OSError):
            connection.peer.send(wire.encode(wire.Refused(error=error)))
        self._drop(connection)

    def _drop(self, connection: _Connection) -> None:
        """Ends a connection. The run has left unless it said so itself."""
        run = connection.run
        if self._forget(connection) and run is not None:
            self._put(Left(at_s=time.time(), run=run))
        with contextlib.suppress(KeyError, ValueError):
            self._selector.unregister(connection.peer)
        connection.peer.close()

    def _forget(self, connection: _Connection) -> bool:
        """Takes a run off the list of the joined; whether it was on it."""
        run, connection.run = connection.run, None
        if run is None or self._joined.get(run) is not connection:
            return False
        del self._joined[run]
        self._publish()
        return True

    def _publish(self) -> None:
        self.connected = frozenset(self._joined)
        self.idle_since_s = None if self._joined else time.monotonic()


_Said = Limited | Offered | Withdrawn | Started | Exited | Saved | Progressed | Left


def _run_of(said: _Said) -> str:
    match said:
        case Offered():
            return said.trial.run
        case Withdrawn() | Left() | Limited():
            return said.run
        case Started() | Exited() | Saved() | Progressed():
            return said.attempt.rpartition("/")[0]


def _addressee(action: Action) -> str | None:
    """The run that an action is for; None: all of them."""
    match action:
        case Note():
            return action.change.run
        case Hold() | Refuse() | Halt():
            return action.run
        case Start() | Stop() | Settle():
            return action.attempt.trial.run
