"""Asks the supervisor over its control socket.

HTTP/1.0 by hand: one request, one answer, the end of the stream ends it (RFC 1945). ``http.client``
would do the same and imports ssl and email for it, 20 ms of the 160 that `scheduler status` takes.
"""

from __future__ import annotations

from typing import TypeVar

import msgspec

from scheduler.machine import state as folder
from scheduler.machine.state import StateFolder

TIMEOUT_S = 5.0
T = TypeVar("T")


class NoAnswer(Exception):
    """A supervisor is there, and its answer cannot be used. Takes why."""

    def __str__(self) -> str:
        return f"the supervisor does not answer as it should: {self.args[0]}"


def ask(state: StateFolder, path: str, kind: type[T]) -> T | None:
    """The supervisor's answer; None where none runs. Raises NoAnswer."""
    try:
        head, _, body = _exchange(state, path).partition(b"\r\n\r\n")
    except (FileNotFoundError, ConnectionError):
        return None
    except OSError as error:
        raise NoAnswer(str(error)) from None
    status_line = head.partition(b"\r\n")[0].decode("latin-1")
    if status_line.split(" ")[1:2] != ["200"]:
        raise NoAnswer(f"{status_line!r} to {path}")
    try:
        return msgspec.json.decode(body, type=kind)
    except msgspec.MsgspecError as error:
        raise NoAnswer(f"{error}, in the answer to {path}") from None


def _exchange(state: StateFolder, path: str) -> bytes:
    answer = bytearray()
    with folder.connect(state, folder.CONTROL, TIMEOUT_S) as connection:
        connection.sendall(f"GET {path} HTTP/1.0\r\nHost: supervisor\r\n\r\n".encode("ascii"))
        while part := connection.recv(1 << 16):
            answer += part
    return bytes(answer)
