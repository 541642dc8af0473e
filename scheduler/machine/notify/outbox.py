"""What waits to be told to one address, and when the next message may go. Pure: times come in.

What is told while a message is on its way, or while none may be sent, goes with the next one. So
many messages in a short time become one, and an address that was out of reach for a night gets one
message in the morning.
"""

from __future__ import annotations

from collections import deque
from typing import NamedTuple

MOST_MESSAGES = 6  #: to one address within WITHIN_S
WITHIN_S = 600.0
MOST_WAITING = 200  #: the oldest are left out beyond
MOST_AGE_S = 24 * 3600.0  #: what could not be told for so long is left out
MOST_LINES = 20  #: of one message
MOST_CHARACTERS = 1900  #: Discord takes 2000
LINE_CHARACTERS = 300
BACKOFF_S = 5.0  #: after a first failure, then twice as long each time
MOST_BACKOFF_S = 600.0


class _Line(NamedTuple):
    at_s: float
    text: str


class Outbox:
    """One address's. At most one message is on its way at a time: ``take``, then ``sent`` or
    ``failed``."""

    def __init__(self) -> None:
        self._waiting: deque[_Line] = deque()
        self._on_its_way: tuple[_Line, ...] = ()
        self._left_out = 0  #: in the message on its way it is told
        self._told_left_out = 0
        self._sent_s: deque[float] = deque(maxlen=MOST_MESSAGES)
        self._failures = 0
        self._not_before_s = 0.0

    def put(self, text: str, at_s: float) -> None:
        self._waiting.append(_Line(at_s, text))
        if len(self._waiting) > MOST_WAITING:
            self._waiting.popleft()
            self._left_out += 1

    def due_in_s(self, now_s: float) -> float | None:
        """How long until ``take`` gives a message, 0: now; None: nothing waits."""
        if not self._waiting:
            return None
        due_s = self._not_before_s
        if len(self._sent_s) == MOST_MESSAGES:
            due_s = max(due_s, self._sent_s[0] + WITHIN_S)
        # A clock that was set back must not silence it for longer than the rules mean.
        return min(max(0.0, due_s - now_s), max(WITHIN_S, MOST_BACKOFF_S))

    def take(self, now_s: float) -> str | None:
        """All that waits, as one message; None where none may be sent now."""
        due_in_s = self.due_in_s(now_s)
        if due_in_s is None or due_in_s > 0:
            return None
        fresh = [line for line in self._waiting if now_s - line.at_s < MOST_AGE_S]
        self._left_out += len(self._waiting) - len(fresh)
        self._waiting.clear()
        if not fresh:
            return None
        self._on_its_way, self._told_left_out = tuple(fresh), self._left_out
        return compose([line.text for line in fresh], self._left_out)

    def sent(self, now_s: float) -> None:
        """The message has arrived."""
        self._sent_s.append(now_s)
        self._left_out -= self._told_left_out
        self._on_its_way, self._failures, self._not_before_s = (), 0, 0.0

    def failed(self, now_s: float) -> float:
        """The message did not arrive and goes again, with what came since. Seconds until then."""
        self._waiting.extendleft(reversed(self._on_its_way))
        self._on_its_way = ()
        while len(self._waiting) > MOST_WAITING:
            self._waiting.popleft()
            self._left_out += 1
        wait_s: float = min(BACKOFF_S * 2 ** min(self._failures, 20), MOST_BACKOFF_S)
        self._failures += 1
        self._not_before_s = now_s + wait_s
        return wait_s


def compose(texts: list[str], left_out: int = 0) -> str:
    """One message: a line each, the newest where they are too many, and how many were left out."""
    lines: list[str] = []
    room = MOST_CHARACTERS
    for text in reversed(texts[-MOST_LINES:]):
        line = _one_line(text)
        if lines and len(line) + 1 > room:
            break
        room -= len(line) + 1
        lines.insert(0, line)
    more = left_out + len(texts) - len(lines)
    if more:
        lines.insert(0, f"(and {more} more before, see `scheduler events`)")
    return "\n".join(lines)


def _one_line(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= LINE_CHARACTERS else f"{line[: LINE_CHARACTERS - 1]}…"
