"""How fast a run gets on, and when it may be done. Pure arithmetic on times; no words.

All times are seconds since the epoch or lengths in seconds. What is too little to tell is None.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from random import Random

HOUR_S = 3600.0
FEW, MANY = 5, 20  #: finishes that the pace of now is taken from, at least and at most
ENOUGH = 3  #: durations without which nothing is foretold
RECENT = 200  #: durations that count: pruners and samplers change what a trial takes
FUTURES = 100  #: drawn for one estimate; 10 of them lie beyond each end of its range
DRAWN = 200  #: trials drawn one by one in a future; the rest takes their mean
FINISHES = 20  #: gaps between the last finishes, that say how many run at once on the whole
FEWEST_GAPS = 5
IN_A_ROW = 4  #: gaps that are drawn together, as a long one and a short one may belong together
#: A gap of more than so many of the longest trials is no pace: nothing ran, the run was paused.
STALLED = 1.5
AS_NOW = 3  #: in every third future as many run at once as do now


class Left(msgspec.Struct, frozen=True, kw_only=True):
    """Seconds until a run is done: the middle of what may come, and the 80 % around it."""

    about_s: float
    low_s: float
    high_s: float


class Progress(msgspec.Struct, frozen=True, kw_only=True):
    """Shares are of the trials done, 0 to 1. ``left``: None where there is no end to foretell."""

    done: int
    trials_an_hour_now: float | None
    trials_an_hour: float | None  #: since the first attempt of this life of the run
    pruned_share: float | None
    too_big_share: float | None
    left: Left | None


def share(part: int, done: int) -> float | None:
    return part / done if done else None


def rate(count: int, from_s: float | None, to_s: float) -> float | None:
    """Trials an hour over a stretch of time; None before the first, or where time stood still."""
    if from_s is None or to_s <= from_s or not count:
        return None
    return count * HOUR_S / (to_s - from_s)


def rate_now(finished_at_s: Sequence[float], since_s: float | None, now_s: float) -> float | None:
    """Trials an hour, of late: in the last hour, in the time of the last 20, or of the last 5.

    The last 20 where those took less than the hour, the last 5 where the hour has seen fewer. The
    time since the latest counts, so a run that has come to a halt slows down. *since_s* is when
    the first of them could begin.
    """
    times = sorted(at_s for at_s in finished_at_s if at_s <= now_s)
    if since_s is None or not times:
        return None
    from_s = max(since_s, now_s - HOUR_S)
    if len(times) > MANY:
        from_s = max(from_s, times[-MANY - 1])
    few_s = times[-FEW - 1] if len(times) > FEW else since_s
    from_s = max(since_s, min(from_s, few_s))
    return rate(sum(at_s > from_s for at_s in times), from_s, now_s)


def gaps(
    finished_at_s: Sequence[float], since_s: float | None, took_s: Sequence[float]
) -> tuple[float, ...]:
    """Seconds between the last finishes after *since_s*, without those in which nothing ran."""
    if since_s is None or not took_s:
        return ()
    longest_s = STALLED * max(took_s[-RECENT:])
    times = sorted(at_s for at_s in finished_at_s[-FINISHES - 1 :] if at_s >= since_s)
    between = (later - at_s for at_s, later in pairwise(times))
    return tuple(gap for gap in between if gap <= longest_s)


def time_left(
    remaining: int,
    took_s: Sequence[float],
    ages_s: Sequence[float],
    at_once: int,
    *,
    again: float = 0.0,
    gaps_s: Sequence[float] = (),
) -> Left | None:
    """When *remaining* trials, those that run among them, may be done.

    *took_s* are durations of this run's trials, finished and pruned, the latest last; *ages_s* for
    how long each that runs has run; *at_once* how many run now. *again* is how many attempts came
    back for each trial done: one that does is taken to cost as much as a trial. *gaps_s*: between
    the last finishes, see ``gaps``.

    Futures are drawn: from the durations as many again (what is known of them is a sample too),
    from those the trials to come, each placed where a running one ends first. The k-th future
    draws the same trials whatever remains, and a further one never ends it earlier; so neither do
    its quantiles.

    How many will run at once is not what runs now: where sizes are mixed, that is one at one moment
    and four at the next. By Little's law it is the mean duration over the mean gap, so that is
    drawn too, from half to twice as many as now. In 30 simulated runs of mixed sizes asked at half
    way the range held the end 24 times, 14 times by what runs at the moment alone.

    None where nothing runs or fewer than 3 trials have ended. Not foreseen: holds, other runs, and
    that later trials may be of another size.
    """
    if remaining <= 0:
        return Left(about_s=0.0, low_s=0.0, high_s=0.0)
    known = [took for took in took_s[-RECENT:] if took >= 0.0]
    if len(known) < ENOUGH or at_once < 1:
        return None
    new = math.ceil(max(0, remaining - len(ages_s)) * (1.0 + max(0.0, again)))
    ends = sorted(_future(number, known, ages_s, at_once, new, gaps_s) for number in range(FUTURES))
    tenth = FUTURES // 10
    return Left(about_s=ends[FUTURES // 2], low_s=ends[tenth], high_s=ends[-1 - tenth])


def _future(
    number: int,
    known: Sequence[float],
    ages_s: Sequence[float],
    at_once: int,
    new: int,
    gaps_s: Sequence[float],
) -> float:
    from random import Random  # 3 ms, for those who have an end to foretell

    chance = Random(number)
    sample = chance.choices(known, k=len(known))
    usual = float(at_once)
    if len(gaps_s) >= FEWEST_GAPS and number % AS_NOW:
        usual = _at_once(chance, sample, gaps_s, at_once)
    places = max(1, math.ceil(usual - 1e-9))
    slower = places / usual
    still = sorted(_still(chance, sample, age) for age in ages_s)
    last_s = still[-1] if still else 0.0
    # Where fewer are to run than do now, nothing new comes in the place of the first that end.
    free = [0.0] * (places - len(still)) + still[max(0, len(still) - places) :]
    drawn = chance.choices(sample, k=min(new, DRAWN))
    for took in drawn:
        heapq.heapreplace(free, free[0] + took * slower)
    rest = (new - len(drawn)) * sum(sample) / len(sample) * slower
    return max(last_s, *free) + rest / len(free)


def _at_once(
    chance: Random, sample: Sequence[float], gaps_s: Sequence[float], at_once: int
) -> float:
    """By Little's law, from gaps drawn as many again."""
    drawn: list[float] = []
    while len(drawn) < len(gaps_s):
        at = chance.randrange(len(gaps_s))
        drawn += [gaps_s[(at + more) % len(gaps_s)] for more in range(IN_A_ROW)]
    gap_s = sum(drawn) / len(drawn)
    usual = sum(sample) / len(sample) / gap_s if gap_s > 0 else 2.0 * at_once
    return max(at_once / 2, min(2.0 * at_once, usual))


def _still(chance: Random, sample: Sequence[float], age_s: float) -> float:
    """What one that has run for so long still takes; as long again, if it is older than all."""
    longer = [took for took in sample if took > age_s]
    return chance.choice(longer) - age_s if longer else age_s
