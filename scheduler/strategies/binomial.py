"""Bounds on a rate of which some trials are known: Clopper and Pearson's, exact for any number.

By the binomial sum itself and bisection: no beta function, and no scipy, which Optuna does without.
C. J. Clopper and E. S. Pearson, Biometrika 26 (1934), 404-413: never covers less than it says.
"""

from __future__ import annotations

import math
from collections.abc import Callable

HALVINGS = 50  #: of 0..1: 1e-15


def at_most_chance(hits: int, trials: int, rate: float) -> float:
    """P(X <= *hits*) for X of *trials* at *rate* each; in logarithms, as 10,000 may underflow."""
    if hits >= trials or rate <= 0:
        return 1.0
    if rate >= 1 or hits < 0:
        return 0.0
    term = trials * math.log1p(-rate)
    total = math.exp(term)
    for k in range(hits):
        term += math.log((trials - k) / (k + 1)) + math.log(rate) - math.log1p(-rate)
        total += math.exp(term)
    return min(1.0, total)


def lower(hits: int, trials: int, tail: float) -> float:
    """The rate at which *hits* or more have a chance of *tail*; 0 where there are none."""
    if hits == 0:
        return 0.0
    return crossing(lambda rate: 1 - at_most_chance(hits - 1, trials, rate) < tail)


def upper(hits: int, trials: int, tail: float) -> float:
    """The rate at which *hits* or fewer have a chance of *tail*; 1 where all are, or of none."""
    if hits >= trials:
        return 1.0
    return crossing(lambda rate: at_most_chance(hits, trials, rate) > tail)


def crossing(is_below: Callable[[float], bool]) -> float:
    low, high = 0.0, 1.0
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        low, high = (middle, high) if is_below(middle) else (low, middle)
    return (low + high) / 2
