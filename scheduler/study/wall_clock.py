"""Whether the machine's clock was set, as told by one that cannot be."""

from __future__ import annotations

import time
from collections.abc import Callable

#: Less is a clock that is kept right little by little, and changes no estimate.
STEP_S = 5.0


def _since_boot_s() -> float:
    """With the time that the machine was suspended: waking up is no setting of the clock."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class WallClock:
    """*wall* is the time of day, *steady* a clock that nobody sets."""

    def __init__(
        self, wall: Callable[[], float] = time.time, steady: Callable[[], float] = _since_boot_s
    ) -> None:
        self._wall = wall
        self.steady_s = steady
        self._apart_s = wall() - steady()

    def set_by_s(self) -> float:
        """By how much it was set since this was last asked; 0: it was not."""
        step_s = self._wall() - self.steady_s() - self._apart_s
        if abs(step_s) < STEP_S:
            return 0.0
        self._apart_s += step_s
        return step_s
