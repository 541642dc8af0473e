"""How a supervisor that was told to leave does so: what runs is told to end, and waited for.

Nothing is lost by it. Runs that are kept go on with the next supervisor; the others are
interrupted as by Ctrl-C in their terminal.
"""

from __future__ import annotations

import logging
import signal
import time
from collections.abc import Callable, Iterable
from typing import Literal

from scheduler.core.model import Process, Rule

_log = logging.getLogger(__name__)

GRACE_S = 15.0  #: for "now": then hosts that still live are killed
_ALONE_S = 5.0  #: after that; then what is left is left alone

How = Literal["drain", "now"]


class Leaving:
    """*tell* signals a host. Nothing happens before ``begin``."""

    def __init__(
        self,
        tell: Callable[[Process, int], None],
        *,
        grace_s: float = GRACE_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._tell = tell
        self._grace_s = grace_s
        self._clock = clock
        self._told: dict[Process, int] = {}
        self._since_s = 0.0
        self.how: How | None = None  #: None: it stays

    def begin(self, how: How) -> None:
        """Once it is "now", it does not become "drain" again."""
        if self.how == "now" or self.how == how:
            return
        self.how, self._since_s = how, self._clock()
        _log.info("told to leave: %s", "what runs may finish" if how == "drain" else "now")

    def rules(self) -> tuple[Rule, ...]:
        if self.how is None:
            return ()
        return (Rule(source="you", max_attempts=0, because="the supervisor is being stopped"),)

    def look(self, hosts: Iterable[Process]) -> bool:
        """Tells the hosts that live, those that are new too; whether it is time to leave."""
        if self.how is None:
            return False
        living = list(hosts)
        waited_s = self._clock() - self._since_s
        number: int = signal.SIGINT
        if self.how == "now":
            number = signal.SIGTERM if waited_s < self._grace_s else signal.SIGKILL
        for host in living:
            if self._told.get(host) != number:
                self._told[host] = number
                self._tell(host, number)
        return not living or (self.how == "now" and waited_s >= self._grace_s + _ALONE_S)
