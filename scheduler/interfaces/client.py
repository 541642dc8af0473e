"""Asks the supervisor over its control socket."""

from __future__ import annotations

import http.client
import socket
from typing import TypeVar

import msgspec

from scheduler.machine import state as folder
from scheduler.machine.state import StateFolder

TIMEOUT_S = 5.0
T = TypeVar("T")


class _OnSocket(http.client.HTTPConnection):
    def __init__(self, state: StateFolder) -> None:
        super().__init__("supervisor", timeout=TIMEOUT_S)
        self._state = state

    def connect(self) -> None:
        self.sock: socket.socket = folder.connect(self._state, folder.CONTROL, TIMEOUT_S)


class NoAnswer(Exception):
    """A supervisor is there, and its answer cannot be used. Takes why."""

    def __str__(self) -> str:
        return f"the supervisor does not answer as it should: {self.args[0]}"


def ask(state: StateFolder, path: str, kind: type[T]) -> T | None:
    """The supervisor's answer; None where none runs. Raises NoAnswer."""
    connection = _OnSocket(state)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        body = answer.read()
    except (FileNotFoundError, ConnectionError):
        return None
    except (OSError, http.client.HTTPException) as error:
        raise NoAnswer(str(error) or type(error).__name__) from None
    finally:
        connection.close()
    if answer.status != http.client.OK:
        raise NoAnswer(f"{answer.status} {answer.reason} to {path}")
    try:
        return msgspec.json.decode(body, type=kind)
    except msgspec.MsgspecError as error:
        raise NoAnswer(f"{error}, in the answer to {path}") from None
