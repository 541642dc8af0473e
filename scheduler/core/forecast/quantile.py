"""A high quantile of the peaks seen, with more slack the fewer there are. Knows no parameters."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import NormalDist, fmean, median, pstdev

MOST_SLACK = 1.5  #: times the largest peak
LEAST_SLACK = 0.02  #: beyond the largest peak, while so few are known that it is exceeded too often


def upper(peaks: Sequence[float], share: float) -> float:
    """What the next of its kind exceeds with at most the probability *share*.

    Exchangeable peaks, of which there is at least one. The k-th of n is exceeded with the
    probability (n + 1 - k) / (n + 1); where n is too small for that, the tail is extrapolated as
    that of a normal distribution of the logarithms (its prediction interval).
    """
    ranked = sorted(peaks)
    count = len(ranked)
    place = math.ceil((1 - share) * (count + 1))
    if place <= count:
        return ranked[place - 1]
    if count == 1:
        return ranked[0] * MOST_SLACK
    logs = [math.log(max(one, 1.0)) for one in ranked]
    spread = pstdev(logs) * math.sqrt(count / (count - 1))
    reach = student(1 - share, count - 1) * spread * math.sqrt(1 + 1 / count)
    wanted = math.exp(min(fmean(logs) + reach, math.log(max(ranked[-1], 1.0)) + 1))
    least = ranked[-1] * (1 + LEAST_SLACK)
    return max(least, min(wanted, ranked[-1] * MOST_SLACK))


def middle(peaks: Sequence[float]) -> float:
    return median(peaks)


def student(probability: float, freedom: int) -> float:
    """Quantile of Student's t: exact for 1 and 2 degrees of freedom, else by Cornish and Fisher's
    expansion (Abramowitz and Stegun 26.7.5)."""
    if freedom == 1:
        return math.tan(math.pi * (probability - 0.5))
    if freedom == 2:
        side = 2 * probability - 1
        return side * math.sqrt(2 / (1 - side * side))
    z = NormalDist().inv_cdf(probability)
    g1 = (z**3 + z) / 4
    g2 = (5 * z**5 + 16 * z**3 + 3 * z) / 96
    g3 = (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384
    return z + g1 / freedom + g2 / freedom**2 + g3 / freedom**3
