"""Asks the supervisor over its control socket, and gives it orders.

HTTP/1.0 by hand: one request, one answer, the end of the stream ends it (RFC 1945). ``http.client``
would do the same and imports ssl and email for it, 20 ms of the 160 that `scheduler status` takes.
"""

from __future__ import annotations

from typing import Any, TypeVar

import msgspec

from scheduler.machine import state as folder
from scheduler.machine.state import StateFolder

TIMEOUT_S = 5.0
ORDER_TIMEOUT_S = 15.0  #: the supervisor itself gives up an order after 5 s
T = TypeVar("T")


class NoAnswer(Exception):
    """A supervisor is there, and its answer cannot be used. Takes why."""

    def __str__(self) -> str:
        return f"the supervisor does not answer as it should: {self.args[0]}"


class Refused(Exception):
    """The supervisor has understood and will not. Takes the HTTP status and its sentence."""

    @property
    def status(self) -> int:
        status: int = self.args[0]
        return status

    def __str__(self) -> str:
        return str(self.args[1])


def ask(state: StateFolder, path: str, kind: type[T], *, timeout_s: float = TIMEOUT_S) -> T | None:
    """The supervisor's answer; None where none runs. Raises NoAnswer."""
    answer = _exchange(state, f"GET {path} HTTP/1.0\r\nHost: supervisor\r\n\r\n", timeout_s)
    if answer is None:
        return None
    status_line, status, body = answer
    if status != "200":
        raise NoAnswer(f"{status_line!r} to {path}")
    return _decoded(body, kind, path)


def order(state: StateFolder, path: str, body: dict[str, Any] | None = None) -> bool:
    """Has the supervisor do what POST *path* stands for; False where none runs.

    Raises Refused where it will not, NoAnswer where it does not say.
    """
    text = msgspec.json.encode(body or {}).decode()
    head = f"POST {path} HTTP/1.0\r\nHost: supervisor\r\nContent-Type: application/json\r\n"
    length = len(text.encode())
    answer = _exchange(state, f"{head}Content-Length: {length}\r\n\r\n{text}", ORDER_TIMEOUT_S)
    if answer is None:
        return False
    status_line, status, said = answer
    if status == "200":
        return True
    try:
        sentence = msgspec.json.decode(said, type=_Error).error
    except (msgspec.MsgspecError, ValueError):
        raise NoAnswer(f"{status_line!r} to {path}") from None
    raise Refused(int(status), sentence)


class _Error(msgspec.Struct):
    error: str


def _decoded(body: bytes, kind: type[T], path: str) -> T:
    try:
        return msgspec.json.decode(body, type=kind)
    except (msgspec.MsgspecError, ValueError) as error:
        raise NoAnswer(f"{error}, in the answer to {path}") from None


def _exchange(state: StateFolder, request: str, timeout_s: float) -> tuple[str, str, bytes] | None:
    """The answer's first line, the status in it and its body; None where no supervisor runs."""
    answer = bytearray()
    try:
        with folder.connect(state, folder.CONTROL, timeout_s) as connection:
            connection.sendall(request.encode())
            while part := connection.recv(1 << 16):
                answer += part
    except (FileNotFoundError, ConnectionError):
        return None
    except OSError as error:
        raise NoAnswer(str(error)) from None
    head, _, body = bytes(answer).partition(b"\r\n\r\n")
    status_line = head.partition(b"\r\n")[0].decode("latin-1")
    return status_line, "".join(status_line.split(" ")[1:2]), body
