"""The host's connection to the supervisor: messages out, messages in, and connecting again.

The supervisor may be killed and come back; attempts go on meanwhile. Not here: what the messages
mean (``serve``).
"""

from __future__ import annotations

import contextlib
import socket

import msgspec

from scheduler import wire
from scheduler.core.events import Joined, Running
from scheduler.core.model import Run
from scheduler.machine import state as state_folder
from scheduler.machine.state import StateFolder


class Refusal(Exception):
    """The supervisor will not take this run; the text is for its user."""


class Link:
    """One connection. Sending never fails: what is lost is said again after joining anew."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._pending = b""

    def fileno(self) -> int:
        return self._connection.fileno()

    def send(self, message: wire.FromHost) -> None:
        with contextlib.suppress(OSError):
            self._connection.sendall(wire.encode(message))

    def receive(self) -> list[wire.ToHost] | None:
        """What has come; None when the supervisor is gone."""
        try:
            data = self._connection.recv(1 << 16)
        except (TimeoutError, InterruptedError):
            return []
        except OSError:
            return None
        if not data:
            return None
        *lines, self._pending = (self._pending + data).split(b"\n")
        return [wire.parse_to_host(line) for line in lines if line]

    def close(self) -> None:
        self._connection.close()


def join(
    state: StateFolder, run: Run, running: tuple[Running, ...], timeout_s: float = 10.0
) -> tuple[Link, wire.Welcome, list[wire.ToHost]]:
    """Connect and say what runs. Returns the link, the welcome, and what came right behind it.

    Raises OSError where no supervisor listens or it does not answer, Refusal where it says no.
    """
    link = Link(state_folder.connect(state, state_folder.HOSTS, timeout_s))
    try:
        link.send(Joined(at_s=0.0, run=run, running=running))
        messages: list[wire.ToHost] = []
        while not messages:
            received = link.receive()
            if received is None:
                raise ConnectionError("the supervisor closed the connection")
            messages += received
        return link, _welcome(messages[0]), messages[1:]
    except msgspec.MsgspecError as error:
        link.close()
        raise Refusal(f"the supervisor speaks another language: {error}") from error
    except BaseException:
        link.close()
        raise


def _welcome(message: wire.ToHost) -> wire.Welcome:
    if isinstance(message, wire.Refused):
        raise Refusal(message.error)
    if not isinstance(message, wire.Welcome):
        raise Refusal(f"the supervisor answered {type(message).__name__} instead of a welcome")
    return message
