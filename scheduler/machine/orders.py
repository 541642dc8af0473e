"""What the user may ask of the supervisor, and the way in: from any thread to the loop's own.

Not here: how an order is carried out (``world``), or how it comes here (``control``).
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Literal

import msgspec

PATIENCE_S = 5.0  #: a loop that has not answered for so long is stuck, and the user is told


class TakeRun(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """Put a run whose folder is there into the queue; one that was interrupted goes on."""

    run: str


class PauseRun(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """Nothing more of it starts. *stop*: what runs is stopped and put back, else it may finish."""

    run: str
    stop: bool = False


class ResumeRun(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    run: str


class CancelRun(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """End it for good: what runs of it is stopped."""

    run: str


class InterruptRun(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """As Ctrl-C: once, what runs may finish; twice, it is stopped and put back."""

    run: str


class Prioritise(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    run: str
    priority: int


class PauseDevice(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    device: str
    stop: bool = False


class ResumeDevice(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """A paused one is used again; one that is out of service is taken into service."""

    device: str


class Stay(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """Do not leave after the last run."""


class Leave(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """End the supervisor: if nothing runs, when all that runs has finished, or by stopping it."""

    how: Literal["plain", "drain", "now"]


Order = (
    TakeRun
    | PauseRun
    | ResumeRun
    | CancelRun
    | InterruptRun
    | Prioritise
    | PauseDevice
    | ResumeDevice
    | Stay
    | Leave
)


class Refused(Exception):
    """An order that is not carried out: an HTTP status, and a sentence for the user."""

    def __init__(self, status: int, sentence: str) -> None:
        super().__init__(status, sentence)
        self.status = status
        self.sentence = sentence

    def __str__(self) -> str:
        return self.sentence


class Given:
    """An order on its way, and its answer."""

    def __init__(self, order: Order) -> None:
        self.order = order
        self._answered = threading.Event()
        self._lock = threading.Lock()
        self._is_taken = False
        self._refusal: Refused | None = None

    def take(self) -> bool:
        """False where nobody waits for it any more: then it must not be carried out."""
        with self._lock:
            self._is_taken = not self._answered.is_set()
            return self._is_taken

    def answer(self, refusal: Refused | None) -> None:
        self._refusal = refusal
        self._answered.set()

    def wait(self, timeout_s: float) -> None:
        """Raises Refused as answered, or where nobody has taken it in time."""
        if not self._answered.wait(timeout_s):
            with self._lock:
                if not self._is_taken:
                    self._answered.set()
                    raise Refused(503, f"the supervisor has been busy for {timeout_s:.0f} s")
            self._answered.wait(timeout_s)
        if self._refusal is not None:
            raise self._refusal


class Orders:
    """*put* hands an order to the loop. Used by any number of threads."""

    def __init__(self, put: Callable[[Given], None]) -> None:
        self._put = put

    def give(self, order: Order, timeout_s: float = PATIENCE_S) -> None:
        """Returns when *order* is carried out, or well under way. Raises Refused."""
        given = Given(order)
        self._put(given)
        given.wait(timeout_s)
