"""Does narrowing help? A share of the trials uses the full ranges all the same, and those tell.

Pure: which trials were drawn how, and what came of them, come in as values.

Ranges of another study may mislead. The story: 1. an earlier task was best at small learning rates,
this one is at large ones, 2. nine of ten trials are drawn from the small ones, 3. the tenth that is
not takes fifty trials to show it. So such ranges are on probation at first: two of three trials use
the full ranges, more where these have been better, until one side is seen to be better.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Sequence

import msgspec

from scheduler.strategies.ranges import Limits, Range, Side, scaled

FULL_SHARE = 0.1
#: At least, until the narrowed ones are better: a search that finds its goal within ten trials
#: cannot make up for five that were drawn where nothing is. In 60 simulated searches each on PPO's
#: Acrobot and CartPole misleading ranges took 1.17 times the trials of cold starts with 0.5, with
#: this 1.10 and 1.03; good ones took as many with either.
PROBATION_SHARE = 2 / 3
PROBATION_MOST = 0.9
PROBATION = 20  #: finished trials of both sides after which it ends if nothing is seen
CONVINCED = 0.1  #: the narrowed ones are better, by chance in one of ten
DOUBTFUL = 0.05  #: the full ones are, by chance in one of twenty
#: While on probation, in one of ten: ranges that mislead cost most at first, and where they make no
#: difference it does no harm to end them.
DOUBTFUL_EARLY = 0.1
LEAST = 3  #: of each side
TOP_SHARE = 0.1  #: of all, the best
TOP_LEAST = 4
EDGE = 0.1  #: of the narrowed range; this near to its end is at its end
AT_EDGE = 0.75  #: of the best narrowed trials, and the range is widened there
EXACT = 200  #: pairs up to which the rank sum's distribution is counted out


class Drawn(msgspec.Struct, frozen=True, kw_only=True):
    """A finished trial. ``value``: larger is better; None: pruned, or no number."""

    is_full: bool
    value: float | None
    params: dict[str, object] = {}


def is_full(run: str, trial: int, share: float) -> bool:
    """Whether *trial* uses the full ranges; always the same for the same arguments, and for a
    larger share whenever it is for a smaller one."""
    digest = hashlib.blake2b(f"{run}:ranges:{trial}".encode(), digest_size=8).digest()
    return int.from_bytes(digest) < share * 2**64


def share_now(drawn: Sequence[Drawn], full_share: float, *, proven: bool) -> float:
    """Of the trials to come, how many use the full ranges. *proven*: the ranges are this study's
    own, so there is nothing to prove."""
    if proven or len(drawn) >= PROBATION or full_share <= 0:
        return full_share
    full, narrow = _sides(drawn)
    if min(len(full), len(narrow)) >= LEAST and chance(narrow, full) <= CONVINCED:
        return full_share
    better = 1 - chance(full, narrow) if full and narrow else 0.0
    return max(full_share, PROBATION_SHARE, min(PROBATION_MOST, better))


def why_undo(drawn: Sequence[Drawn]) -> tuple[str, str] | None:
    """Why narrowing is to end, and the numbers. None: it is not.

    The trials on the full ranges are better by rank, or more of the best are theirs than their
    number explains.
    """
    full, narrow = _sides(drawn)
    if min(len(full), len(narrow)) < LEAST:
        return None
    by_rank = chance(full, narrow)
    if by_rank <= (DOUBTFUL_EARLY if len(drawn) <= PROBATION else DOUBTFUL):
        return "trials on the full ranges are better", _numbers(full, narrow, by_rank)
    by_top = chance_of_top(full, narrow)
    if by_top <= DOUBTFUL / 5:
        return "the best trials are those on the full ranges", _numbers(full, narrow, by_top)
    return None


def _numbers(full: Sequence[float], narrow: Sequence[float], found: float) -> str:
    return f"{len(full)} on the full ranges, {len(narrow)} on the narrowed; by chance {found:.2g}"


def _sides(drawn: Sequence[Drawn]) -> tuple[list[float], list[float]]:
    full = [_rankable(one.value) for one in drawn if one.is_full]
    return full, [_rankable(one.value) for one in drawn if not one.is_full]


def _rankable(value: float | None) -> float:
    return -math.inf if value is None or not math.isfinite(value) else value


def chance(first: Sequence[float], second: Sequence[float]) -> float:
    """How probable it is that *first* ranks at least as high as it does if both are alike.

    Mann and Whitney's test (Annals of Mathematical Statistics 18, 1947, 50-60), one-sided. Ties
    have their mean rank. Counted out over all ways of choosing *first* where these are few, else
    by the normal distribution with the variance that the ties leave.
    """
    ranks = _double_ranks([*first, *second])
    seen = sum(ranks[: len(first)])
    if len(first) * len(second) <= EXACT:
        if len(first) <= len(second):
            return _counted(ranks, len(first), seen)
        # The ranks turned round: the fewer are chosen, from the other end.
        turned = [2 * len(ranks) + 2 - rank for rank in ranks]
        return _counted(turned, len(second), sum(turned[len(first) :]))
    count, total = len(first), len(ranks)
    mean = sum(ranks) / total
    spread = sum((rank - mean) ** 2 for rank in ranks) / (total - 1)
    variance = spread * count * (total - count) / total
    if variance <= 0:
        return 1.0
    above = (seen - 1 - count * mean) / math.sqrt(variance)
    return math.erfc(above / math.sqrt(2)) / 2


def _double_ranks(values: Sequence[float]) -> list[int]:
    """Twice the mean rank of each, from 2: whole numbers for ties too."""
    ordered = sorted(values)
    first = {value: place for place, value in reversed(list(enumerate(ordered)))}
    last = {value: place for place, value in enumerate(ordered)}
    return [first[value] + last[value] + 2 for value in values]


def _counted(ranks: Sequence[int], count: int, seen: int) -> float:
    """Of all ways to take *count* of the ranks, the part whose sum is *seen* or more."""
    ways: list[dict[int, int]] = [{0: 1}, *({} for _ in range(count))]
    for rank in ranks:
        for taken in range(count, 0, -1):
            for total, number in ways[taken - 1].items():
                ways[taken][total + rank] = ways[taken].get(total + rank, 0) + number
    reached = sum(number for total, number in ways[count].items() if total >= seen)
    return reached / math.comb(len(ranks), count)


def chance_of_top(full: Sequence[float], narrow: Sequence[float]) -> float:
    """How probable it is that so many of the best tenth are *full* ones by chance.

    The hypergeometric distribution's upper tail (Fisher's exact test). Ties go to the narrow ones.
    """
    total = len(full) + len(narrow)
    top = min(total, max(TOP_LEAST, math.ceil(TOP_SHARE * total)))
    ordered = sorted([(value, 0) for value in full] + [(value, 1) for value in narrow])[-top:]
    theirs = sum(side == 0 for _, side in ordered)
    ways = sum(
        math.comb(len(full), k) * math.comb(len(narrow), top - k)
        for k in range(theirs, min(top, len(full)) + 1)
    )
    return ways / math.comb(total, top)


def edge(drawn: Sequence[Drawn], name: str, full: Range, limits: Limits) -> Side | None:
    """The end of a narrowed range at which most of the best narrowed trials lie.

    None: at neither, or the range itself ends there, or too few trials say so.
    """
    if full.choices or full.low is None or full.high is None:
        return None
    known = [one for one in drawn if not one.is_full and name in one.params]
    known = [one for one in known if _rankable(one.value) > -math.inf]
    if len(known) < 2 * TOP_LEAST:
        return None
    top = sorted(known, key=lambda one: -_rankable(one.value))
    best = top[: max(TOP_LEAST, math.ceil(TOP_SHARE * len(known)))]
    places = [scaled(full, one.params[name]) for one in best]
    low, high = scaled(full, limits.low), scaled(full, limits.high)
    near = EDGE * (high - low)
    if low > scaled(full, full.low) and _most(place <= low + near for place in places):
        return "low"
    if high < scaled(full, full.high) and _most(place >= high - near for place in places):
        return "high"
    return None


def _most(are: Iterable[bool]) -> bool:
    found = list(are)
    return sum(found) >= AT_EDGE * len(found)
