"""What a trial holds as its work goes on: straight lines between points. Pure."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from math import inf

Point = tuple[float, int]  #: work done in seconds, bytes held then


class Curve:
    """Through *points*, in order of work. Two at the same work are a jump.

    Before the first it is as there, after the last it stays. Raises ValueError where there is no
    point, or one is out of order or below 0.
    """

    __slots__ = ("_last", "_sizes", "_works", "peak_bytes")

    def __init__(self, points: Sequence[Point]) -> None:
        self._works = [float(work) for work, _ in points]
        self._sizes = [size for _, size in points]
        if not points or min(self._sizes) < 0 or self._works != sorted(self._works):
            raise ValueError(f"a curve needs points in order and none below 0: {points!r:.200}")
        self.peak_bytes = max(self._sizes)
        self._last = self._works[-1]

    def held_bytes(self, work_s: float) -> int:
        if work_s >= self._last:
            return self._sizes[-1]
        after = bisect_right(self._works, work_s)
        if after == 0:
            return self._sizes[0]
        from_s, to_s = self._works[after - 1], self._works[after]
        below, above = self._sizes[after - 1], self._sizes[after]
        return below + int((above - below) * (work_s - from_s) / (to_s - from_s))

    def first_above_s(self, limit_bytes: int, from_s: float = 0.0) -> float | None:
        """The work from *from_s* on at which it wants more than *limit_bytes*; None: it never
        does."""
        if self.peak_bytes <= limit_bytes:
            return None
        if self.held_bytes(from_s) > limit_bytes:
            return from_s
        for at in range(max(1, bisect_right(self._works, from_s)), len(self._works)):
            below, above = self._sizes[at - 1], self._sizes[at]
            if above > limit_bytes:
                began_s, took_s = self._works[at - 1], self._works[at] - self._works[at - 1]
                share = (limit_bytes - below) / (above - below)
                return max(from_s, began_s + took_s * max(0.0, share))
        return None

    def still_until_s(self, work_s: float) -> float:
        """Up to which work it stays as it is; *work_s* itself where it is rising or falling."""
        if work_s >= self._last:
            return inf
        after = bisect_right(self._works, work_s)
        held = self._sizes[max(0, after - 1)]
        if after and self._sizes[after] != held:
            return work_s
        while after < len(self._works) and self._sizes[after] == held:
            after += 1
        return self._works[after - 1] if after < len(self._works) else inf

    def bends(self, from_s: float, to_s: float) -> Sequence[float]:
        """The works of its points after *from_s* up to *to_s*: between them it is straight."""
        if from_s >= self._last:
            return ()
        return self._works[bisect_right(self._works, from_s) : bisect_right(self._works, to_s)]

    def highest_bytes(self, from_s: float, to_s: float) -> int:
        """The most that it holds on the way."""
        after, last = bisect_right(self._works, from_s), bisect_right(self._works, to_s)
        return max(self.held_bytes(from_s), self.held_bytes(to_s), *self._sizes[after:last])
