"""How a trial behaves, whatever its attempts meet. Pure."""

from __future__ import annotations

from functools import lru_cache

import msgspec

from scheduler.core.model import Evidence
from scheduler.simulate.curve import Curve, Point


class Script(msgspec.Struct, frozen=True, kw_only=True):
    """It climbs evenly to its peak in *ramp_s*, or goes along its *curve*, and ends after *run_s*.

    All of its times are seconds of work, which are seconds where it is alone on its device.
    """

    peak_bytes: int
    ramp_s: float
    run_s: float
    evidence: Evidence = Evidence(outcome="complete", exit_code=0)
    resets: bool = False  #: its end resets the card, and takes along whatever else runs there
    #: Work and bytes held then, in order; empty: the even climb. ``peak_bytes`` is its highest.
    curve: tuple[Point, ...] = ()
    use: float = 0.0  #: of the device's computing, alone; 0 to 1
    steps: int = 0  #: reports in all, evenly spread; 0: it tells nothing
    #: Between two checkpoints, from which its next attempt goes on; None: it has none.
    saves_every_s: float | None = None

    def shape(self) -> Curve:
        """Its memory."""
        return _shape(self.curve or _climb(self.peak_bytes, self.ramp_s))

    def held_bytes(self, work_s: float) -> int:
        return self.shape().held_bytes(work_s)


def _climb(peak_bytes: int, ramp_s: float) -> tuple[Point, ...]:
    return ((0.0, 0), (ramp_s, peak_bytes)) if ramp_s > 0 else ((0.0, peak_bytes),)


@lru_cache(maxsize=4096)
def _shape(points: tuple[Point, ...]) -> Curve:
    return Curve(points)
