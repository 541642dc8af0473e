"""What neighbours are worth to a device: its total of progress, and how sure that is. Pure.

The total of k at once is k times the speed that each of them then has. So only how speeds compare
is asked for, and slow and fast trials mix. Does not cover what is done about it (``throughput``).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from math import exp, log, sqrt
from typing import Literal

import msgspec

from scheduler.core.course import Ratio

#: A neighbour costs memory and a larger loss when something goes wrong, and has to bring this much.
PAYS = log(1.02)
#: One that is seen to bring less than that, and certainly not this, is not worth its memory either.
EVEN = log(1.06)
#: Standard errors on either side. With 2, one look in forty would find what is not so, and a search
#: has hundreds.
ERRORS = 3.0
#: For more than one neighbour at a time: where each pays they differ by so much that this is enough
#: (four of eight by a factor of two), and there are few such looks.
ERRORS_OF_MANY = 2.0
#: What attempts are held to differ by as long as few were seen, worth so many of them: three that
#: agree by luck prove little. A scaled inverse chi-squared prior on the variance.
USUAL_SPREAD = 0.2
USUAL_SPREAD_OF_ENDS = 0.3
USUAL_WEIGHT = 4
#: A trial's speed may change by itself by so much from one stay to the next. Attempts that went
#: from fewer to more and such that went the other way err in opposite directions.
DRIFT = 0.15
MIN_RATIOS = 6  #: or all of the fewer: so many tell of one that leaves
#: Of companies further apart fewer tell, as fewer have lived in both. Two only tell a difference as
#: large as between four and eight that do not feel each other, which ends a search.
MIN_FAR_RATIOS = 2
_FAR_FEW = 0.6
#: Of each direction; with fewer only a difference as large as this is believed. Three attempts that
#: by chance were slow when there were four of them have had a place taken away that was worth 10 %.
MIN_A_SIDE = 2
_FEW = 0.3
MIN_ENDS = 2

Verdict = Literal["harms", "pays", "open"]


class Lasted(msgspec.Struct, frozen=True, kw_only=True):
    """A finished attempt that lived among ``company``.

    *log_s*: the logarithm of how long it took, or, *by_reports*, from one report to the next.
    """

    run: str
    company: int
    log_s: float
    by_reports: bool


class Gain(msgspec.Struct, frozen=True, kw_only=True):
    """The total of ``company`` at once over that of ``fewer``, by its logarithm, give or take."""

    company: int
    fewer: int
    log_gain: float
    slack: float
    attempts: int  #: that tell of it, once for each change they lived through

    @property
    def ratio(self) -> float:
        return exp(self.log_gain)

    @property
    def low_ratio(self) -> float:
        return exp(self.log_gain - self.slack)

    @property
    def high_ratio(self) -> float:
        return exp(self.log_gain + self.slack)

    @property
    def wanted(self) -> float:
        return PAYS * (self.company - self.fewer)

    @property
    def verdict(self) -> Verdict:
        """Whether each of the neighbours that are more brings what it has to."""
        most = self.log_gain + self.slack
        is_even = self.log_gain < PAYS and most < EVEN and self.slack < 2 * EVEN
        if most < self.wanted or is_even:
            return "harms"
        return "pays" if self.log_gain - self.slack > self.wanted else "open"


def by_ratios(company: int, fewer: int, ratios: Sequence[Ratio]) -> Gain | None:
    """By attempts that lived among *company* and among *fewer*. None: there are too few."""
    rising = [one.log_ratio for one in ratios if one.rising]
    falling = [one.log_ratio for one in ratios if not one.rising]
    sides = [side for side in (rising, falling) if side]
    is_far = company - fewer > 1
    if not sides or len(ratios) < min(MIN_FAR_RATIOS if is_far else MIN_RATIOS, fewer):
        return None
    variance = _variance(sides, USUAL_SPREAD)
    error = sqrt(sum(variance / len(side) for side in sides)) / len(sides)
    slower = sum(_mean(side) for side in sides) / len(sides)
    drift = DRIFT if len(sides) == 1 else 0.0
    slack = (ERRORS_OF_MANY if is_far else ERRORS) * error + drift
    if min(len(rising), len(falling)) < min(MIN_A_SIDE, fewer):
        slack = max(slack, _FEW)
    if is_far and len(ratios) < min(MIN_FAR_RATIOS + 1, fewer):
        slack = max(slack, _FAR_FEW)
    return _gain(company, fewer, slower, slack, len(ratios))


def by_ends(company: int, lasted: Iterable[Lasted]) -> Gain | None:
    """By trials that each lived among *company*, or one fewer. None: too few of one run did so.

    Trials of one run are compared among themselves, as another's take another time.
    """
    groups: dict[tuple[str, bool], dict[int, list[float]]] = defaultdict(lambda: defaultdict(list))
    after: dict[tuple[str, bool], int] = defaultdict(int)
    for one in lasted:
        group = one.run, one.by_reports
        if one.company in (company, company - 1):
            groups[group][one.company].append(one.log_s)
            after[group] = after[group] + 1 if one.company == company else 0
    weights, weighted, attempts = 0.0, 0.0, 0
    is_between = True  #: those among fewer have others before and after them
    for group, of in groups.items():
        more, less = of[company], of[company - 1]
        if min(len(more), len(less)) >= MIN_ENDS:
            variance = _variance((more, less), USUAL_SPREAD_OF_ENDS)
            weight = 1 / (variance / len(more) + variance / len(less))
            weights, weighted = weights + weight, weighted + weight * (_mean(less) - _mean(more))
            attempts += len(more) + len(less)
            is_between &= MIN_ENDS <= after[group] < len(more)
    if not weights:
        return None
    drift = 0.0 if is_between else DRIFT
    slack = ERRORS / sqrt(weights) + drift
    return _gain(company, company - 1, weighted / weights, slack, attempts)


def _gain(company: int, fewer: int, slower: float, slack: float, attempts: int) -> Gain:
    log_gain = log(company / fewer) + slower
    return Gain(company=company, fewer=fewer, log_gain=log_gain, slack=slack, attempts=attempts)


def _variance(sides: Iterable[Sequence[float]], usual: float) -> float:
    """Of one value, each side about its own mean."""
    squares, weight = USUAL_WEIGHT * usual**2, USUAL_WEIGHT
    for side in sides:
        mean = _mean(side)
        squares += sum((one - mean) ** 2 for one in side)
        weight += len(side) - 1
    return squares / weight


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
