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
from typing import Any, Literal

from optuna.distributions import BaseDistribution
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial

from scheduler.core.model import Attempt
from scheduler.study.attempt.stopping import Undisturbed


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
    nice: int  #: see RunSpec, as the next
    io: Literal["best-effort", "idle", "none"]
    log: str
    outcome: str  #: where to write the outcome down
    checkpoints: str  #: the trial's folder; not there until the objective asks for it


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
        self._unread = 0  #: answers that are still to come

    def ask(self, what: str, *arguments: Any) -> Any:
        """Ask the host and wait. Raises what the host's side raised, or HostGone.

        What a handler of the objective's own raises meanwhile comes out as it is: these two are
        no errors that a pipe without a time limit has.
        """
        try:
            with Undisturbed(), self._lock:
                reply = self._exchange(Request(what, arguments))
        except (TimeoutError, InterruptedError):
            raise
        except (EOFError, OSError) as error:
            raise HostGone from error
        if isinstance(reply, Raised):
            raise reply.error
        return reply.value

    def _exchange(self, request: Request) -> Any:
        """Answers come in order; one that a handler of the objective's own has cut is passed by."""
        self._connection.send(request)
        self._unread += 1
        while True:
            reply = self._connection.recv()
            self._unread -= 1
            if not self._unread:
                return reply


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
