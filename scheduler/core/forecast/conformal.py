"""How far beyond what is expected a promise has to be, from how wrong earlier ones were.

Split conformal prediction on normalised errors (Lei et al. 2018, section 5.2) with errors of trials
that the model was left without, and a factor on top that follows the promises really broken.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from scheduler.core.forecast.quantile import student

#: The factor follows promises that break this share, whatever share a run allows: so a run that
#: allows less is never promised less.
FOLLOWED_SHARE = 0.02
STEP = 0.25
MOST = math.log(4.0)
#: Errors are larger than those of trials that were left out: the weights have seen them all. By
#: this over their count, and over its square; so 95 % of the promises at 10 to 20 trials held.
OPTIMISM = (8.0, 30.0)


def reach(errors: Sequence[float], share: float) -> float:
    """Spreads above the expected one, that a new trial exceeds with the probability *share*.

    *errors* are normalised by their own spread. Never below 0, and never less for a smaller share.
    Where there are too few for the k-th largest (k = share of their number + 1), the tail is that
    of Student's t, and reaches no less far than the largest.
    """
    if not errors:
        return student(1 - share, 3)
    count = len(errors)
    ranked = sorted(errors)
    grown = 1 + OPTIMISM[0] / count + OPTIMISM[1] / count**2
    place = math.ceil((1 - share) * (count + 1))
    if place <= count:
        return max(0.0, ranked[place - 1] * grown)
    typical = math.sqrt(sum(one * one for one in errors) / count) * math.sqrt(1 + 1 / count)
    tail = student(1 - share, max(3, count - 1)) * typical
    return max(tail, ranked[-1], 0.0) * grown


def followed(log_factor: float, *, broken: bool) -> float:
    """The logarithm of the factor after one more promise: adaptive conformal inference (Gibbs and
    Candes 2021) on the width instead of the share, as Angelopoulos et al. (2023) do. Never below 0:
    promises that hold are no reason to go below the quantile."""
    moved = log_factor + STEP * (float(broken) - FOLLOWED_SHARE)
    return min(MOST, max(0.0, moved))


def factor(log_factor: float) -> float:
    return math.exp(log_factor)
