"""The private line between a host and one attempt: a socket pair, one request at a time.

The host sends ``Go`` once; after that the attempt asks and the host answers. Messages are pickled:
both ends are the same user's processes and nobody else can reach a socket pair.

    attempt -> host   Request(what, arguments)
    host -> attempt   Answer(value) or Raised(error)
"""

from __future__ import annotations

import pickle
import threading
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any

from optuna.distributions import BaseDistribution
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial

from scheduler.core.model import Attempt


@dataclass(frozen=True, slots=True, kw_only=True)
class StudyHandle:
    """A study of the host's script, by its place in the order of creation."""

    index: int
    study_id: int
    name: str
    directions: tuple[StudyDirection, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Go:
    """All that an attempt needs to begin."""

    attempt: Attempt
    study: int  #: index of the study that is optimized
    studies: tuple[StudyHandle, ...]
    trial: FrozenTrial  #: as stored now
    search_space: dict[str, BaseDistribution]
    relative_params: dict[str, Any]
    environment: dict[str, str | None]  #: None: unset
    on_host: bool  #: the device is the host's RAM
    total_bytes: int | None  #: of the device
    threads: int
    log: str
    outcome: str  #: where to write the outcome down


@dataclass(frozen=True, slots=True)
class Request:
    what: str
    arguments: tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class Answer:
    value: Any


@dataclass(frozen=True, slots=True)
class Raised:
    error: BaseException


class HostGone(Exception):
    """The host's end is closed: nobody will ever hear of this attempt."""


class Line:
    """The attempt's end. Any thread of the objective may ask; questions wait for each other."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._lock = threading.Lock()

    def ask(self, what: str, *arguments: Any) -> Any:
        """Ask the host and wait. Raises what the host's side raised, or HostGone."""
        try:
            with self._lock:
                self._connection.send(Request(what, arguments))
                reply = self._connection.recv()
        except (EOFError, OSError) as error:
            raise HostGone from error
        if isinstance(reply, Raised):
            raise reply.error
        return reply.value


def answer(connection: Connection, reply: Answer | Raised) -> None:
    """Send *reply*; an attempt that is gone does not need it any more."""
    try:
        connection.send(_portable(reply))
    except OSError:
        return


def _portable(reply: Answer | Raised) -> Answer | Raised:
    """An exception that cannot be pickled and read again travels as its text."""
    if isinstance(reply, Raised):
        try:
            pickle.loads(pickle.dumps(reply.error))
        except Exception:
            return Raised(RuntimeError(f"{type(reply.error).__name__}: {reply.error}"))
    return reply
