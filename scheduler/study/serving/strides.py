"""How often attempts have reported, told to the supervisor: from it, it learns how fast they go."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection

from scheduler.core.events import Progressed
from scheduler.study.serving.live import Live

#: A script may report a hundred times a second, and each word of it is in the journal.
TELL_EVERY_S = 5.0


class Strides:
    """*send* takes what the supervisor must know.

    Where reports are further apart than that, each is told as it comes: then the time between two
    is known exactly, and few are enough.
    """

    def __init__(self, send: Callable[[Progressed], None]) -> None:
        self._send = send

    def reported(self, live: Live) -> None:
        if time.monotonic() >= live.told_reports_s + TELL_EVERY_S:
            self.tell(live)

    def look(self, lives: Collection[Live]) -> None:
        """Tell of what was reported too soon after the last word."""
        for live in lives:
            if live.runs and live.reports > live.told_reports:
                self.reported(live)

    def tell(self, live: Live) -> None:
        """Say how often *live* has reported, if it has."""
        if live.reports:
            live.told_reports, live.told_reports_s = live.reports, time.monotonic()
            self._send(Progressed(at_s=0.0, attempt=live.attempt.id, reports=live.reports))

    def tell_last(self, live: Live) -> None:
        """The same, before its end is told."""
        if live.reports > live.told_reports:
            self.tell(live)
