"""How attempts' memory grew, and what the ended ones of a run say of one that runs. Pure.

Covers when peaks come: the share by which an attempt may still grow at its age. Does not cover what
is promised by it (``following``), nor how large a trial's peak will be (``forecast``). The structs
are written into journals (``memory``): a field, once written, keeps its meaning.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from math import ceil, inf

import msgspec

STEP_RATIO = 1.02  #: growth of a running maximum that is kept as a level of its own
LEVELS = 16
#: An attempt at less than that part of its peak is of no interest: nothing is given away then.
DEEP = 4
KEPT = 100  #: at 2 % overruns that is enough to pass over the one oddest
LEAST = 8
#: More company slows an attempt down, and following promises brings company: it is taken for
#: younger than it is; and for one of fewer reports than it told, as it may be one of more epochs
#: than all before it. So what comes in the last fifth of the longest never counts as past.
SLOWER = 0.8
#: A trial that returned after a second, since its parameters had been tried, says nothing of one
#: that has run for minutes. Without a limit, half of its second would be half of their hour.
STRETCH = 5
MARGIN = 0.03  #: what allocators add to a peak from one attempt to the next
#: Of n records, too few for the quantile that is asked for, the largest is exceeded by one in
#: n + 1. So there is more margin then, and more is taken to be yet to come; both divided by n.
FEW_MARGIN, FEW_GROWTH = 0.4, 4.0
REPORTS = 5  #: with fewer in all, one of them says little of how far an attempt is
CELLS = 100  #: parts of the longest attempt within which growth is not looked up anew


class Level(msgspec.Struct, frozen=True, array_like=True):
    """The running maximum reached *bytes* at that age.

    ``reports``: by how many reports that was over. One more than were told by then, as they are
    told a few seconds late.
    """

    age_s: float
    bytes: int
    reports: int = 1


class Growth(msgspec.Struct, frozen=True, kw_only=True):
    """Of an attempt that was seen from its start. Levels are the first to be 2 % above the former;
    ``top`` is its peak, when it was reached; None: nothing was held yet."""

    levels: tuple[Level, ...] = ()
    top: Level | None = None
    unseen_s: float = 0.0  #: of its age: the machine slept, or nobody looked
    outgrew: bool = False  #: it came near to a promise that had been made smaller


class Grown(msgspec.Struct, frozen=True, kw_only=True):
    """Of an attempt that has ended. The last level is its peak."""

    levels: tuple[Level, ...]
    took_s: float
    reports: int = 0


class Followed(msgspec.Struct, frozen=True, kw_only=True):
    """What a run has learned of when its attempts' peaks come."""

    grown: tuple[Grown, ...] = ()  #: the last that ended, oldest first
    pause: int = 0  #: so many more have to finish before a promise is made smaller
    next_pause: int = LEAST
    told: bool = False  #: that promises follow


def grown(growth: Growth, peak_bytes: int, age_s: float, reports: int) -> Growth:
    """With a peak that is new at *age_s*."""
    top = Level(age_s, peak_bytes, reports + 1)
    levels = growth.levels
    if not levels or peak_bytes >= STEP_RATIO * levels[-1].bytes:
        levels = _thinned((*levels, top))
    return msgspec.structs.replace(growth, levels=levels, top=top)


def is_still(growth: Growth, age_s: float, share: float) -> bool:
    """Whether it has not grown for this *share* of its age, up to *age_s*. It has levels."""
    return age_s - growth.levels[-1].age_s >= share * age_s


def _thinned(levels: tuple[Level, ...]) -> tuple[Level, ...]:
    """Without the level that is missed least, where there are too many.

    One that is left out makes the maximum of that time look smaller, so what followed larger.
    """
    if len(levels) <= LEVELS:
        return levels
    if levels[-1].bytes > DEEP * levels[0].bytes:
        return levels[1:]
    steps = [(levels[n + 1].bytes / levels[n - 1].bytes, n) for n in range(1, len(levels) - 1)]
    _, least = min(steps)
    return levels[:least] + levels[least + 1 :]


def record(growth: Growth, took_s: float, reports: int) -> Grown | None:
    """None: it held nothing, or its ages are not sure."""
    if growth.top is None or growth.unseen_s or took_s <= 0:
        return None
    levels = growth.levels
    if levels[-1].bytes < growth.top.bytes:
        levels = (*levels, growth.top)
    return Grown(levels=levels, took_s=max(took_s, growth.top.age_s), reports=reports)


class Outlook:
    """By how much attempts of a run may still grow, by those that ended.

    For each of them: its peak over its maximum when it was as far. How far is told by reports, or
    by time for those of them that told few. Reports are the trial's own units: in one that is
    slower than all before it the first epoch ends later than in any of them, but not after more
    reports; and where one takes ten times as long as another, its time says little of either. Both
    are stretched to the most of any, up to five times, since a trial may be one of 100 epochs after
    many of 20. (As they were they would never say more.)

    The answer is the conformal quantile of these ratios, rank ceil((n + 1)(1 - share)) of n (Vovk
    et al., 2005); where n is too small for it, the largest and more.
    """

    def __init__(self, of: tuple[Grown, ...], overrun_share: float) -> None:
        self.of, self.overrun_share = of, overrun_share
        self.longest_s = max((one.took_s for one in of), default=0.0)
        rank = ceil((len(of) + 1) * (1 - overrun_share))
        self._rank = min(rank, len(of))
        few = 0.0 if rank <= len(of) else 1 / max(1, len(of))
        self.margin, self._wary = MARGIN + FEW_MARGIN * few, 1 + FEW_GROWTH * few
        told = [one for one in of if one.reports >= REPORTS]
        self._most_reports = max((one.reports for one in told), default=0)
        self._by_reports = [_curve(one, _reported(one, self._most_reports)) for one in told]
        untold = [one for one in of if one.reports < REPORTS]
        self._by_age = [_curve(one, _aged(one, self.longest_s)) for one in untold]
        self._known: dict[tuple[int, int], float] = {}

    def may_grow_by(self, age_s: float, reports: int) -> float | None:
        """The ratio of the final peak to the maximum so far, ``margin`` not included; None: they do
        not say (there are too few, or some held nothing when they were as far)."""
        if len(self.of) < LEAST or self.longest_s <= 0:
            return None
        age = _cell(age_s, self.longest_s) if self._by_age else 0
        far = _cell(reports, self._most_reports) if self._by_reports else 0
        if (age, far) not in self._known:
            self._known[age, far] = self._quantile(age / CELLS, far / CELLS)
        ratio = self._known[age, far]
        return None if ratio == inf else 1 + self._wary * (ratio - 1)

    def _quantile(self, age: float, far: float) -> float:
        """By the age for those that told little, by how far they were for the others."""
        ratios = [_after(curve, age) for curve in self._by_age]
        ratios += [_after(curve, far) for curve in self._by_reports]
        ratios.sort()
        return ratios[self._rank - 1]


#: When its maxima were reached, as shares of the longest, and the ratio of its peak to each.
_Curve = tuple[Sequence[float], Sequence[float]]


def _curve(one: Grown, when: Sequence[float]) -> _Curve:
    peak = one.levels[-1].bytes
    return when, [peak / level.bytes for level in one.levels]


def _aged(one: Grown, longest_s: float) -> list[float]:
    stretch = min(longest_s / one.took_s, STRETCH) / longest_s
    return [level.age_s * stretch for level in one.levels]


def _reported(one: Grown, most: int) -> list[float]:
    stretch = min(most / one.reports, STRETCH) / most
    return [level.reports * stretch for level in one.levels]


def _cell(so_far: float, longest: float) -> int:
    return int(CELLS * SLOWER * min(so_far, longest) / longest)


def _after(curve: _Curve, when: float) -> float:
    """By how much it grew after that; infinite where it held nothing then."""
    points, to_peak = curve
    place = bisect_right(points, when)
    return to_peak[place - 1] if place else inf
