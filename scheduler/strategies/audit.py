"""Were pruned trials really bad? Some verdicts are not carried out, and those trials tell.

Pure: the seed and the trial's number come in as arguments.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence

import msgspec

from scheduler.strategies.curves import Curve, Direction, better

SHARE = 0.08  #: of prune verdicts that are not carried out
LIMIT = 0.05  #: of pruned trials that may have mattered


def is_control(seed: int, trial: int, share: float = SHARE) -> bool:
    """Whether the verdict on *trial* is not carried out; always the same for the same arguments."""
    digest = hashlib.blake2b(f"{seed}:{trial}".encode(), digest_size=8).digest()
    return int.from_bytes(digest) < share * 2**64


def chance_of_at_most(hits: int, trials: int, rate: float) -> float:
    """P(X <= hits) of a binomial X; the plain sum, in logarithms."""
    if hits >= trials or rate <= 0:
        return 1.0
    if rate >= 1:
        return 0.0
    total = 0.0
    for k in range(hits + 1):
        total += math.exp(
            math.lgamma(trials + 1)
            - math.lgamma(k + 1)
            - math.lgamma(trials - k + 1)
            + k * math.log(rate)
            + (trials - k) * math.log1p(-rate)
        )
    return min(1.0, total)


def interval(hits: int, trials: int, confidence: float = 0.95) -> tuple[float, float]:
    """Clopper and Pearson's (Biometrika 26, 1934, 404-413): lower and upper bound of the rate."""
    tail = (1 - confidence) / 2
    return lower_bound(hits, trials, tail), upper_bound(hits, trials, tail)


def lower_bound(hits: int, trials: int, tail: float) -> float:
    """The rate at which *hits* or more have a chance of *tail*; 0 where there were none."""
    if hits == 0:
        return 0.0
    return _bisect(lambda rate: 1 - chance_of_at_most(hits - 1, trials, rate) < tail)


def upper_bound(hits: int, trials: int, tail: float) -> float:
    """The rate at which *hits* or fewer have a chance of *tail*; 1 where all were."""
    if hits >= trials:
        return 1.0
    return _bisect(lambda rate: chance_of_at_most(hits, trials, rate) > tail)


def _bisect(is_below) -> float:  # type: ignore[no-untyped-def]
    low, high = 0.0, 1.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if is_below(middle) else (low, middle)
    return (low + high) / 2


class Summary(msgspec.Struct, frozen=True, kw_only=True):
    """What the controls say."""

    finished: int
    pruned: int
    controls: int  #: that ran to their end
    false: int  #: of these, would have mattered
    low: float
    high: float
    confidence: float
    saved_share: float | None  #: of the time (steps where times are not known); None: not known
    value_lost: float | None = None


def audit(
    curves: Sequence[Curve], direction: Direction, *, since: int = 0, confidence: float = 0.95
) -> Summary:
    finished = [one for one in curves if one.state in ("complete", "pruned", "control")]
    controls = [one for one in finished if one.state == "control" and one.trial >= since]
    ends = sorted((better(one.final, direction) for one in finished if one.final is not None))
    bar = ends[-max(1, math.ceil(len(finished) * 0.1)) :][0] if ends else 0.0
    false = sum(one.final is not None and better(one.final, direction) >= bar for one in controls)
    low, high = interval(false, len(controls), confidence)
    return Summary(
        finished=len(finished),
        pruned=sum(one.state == "pruned" for one in finished),
        controls=len(controls),
        false=false,
        low=low,
        high=high,
        confidence=confidence,
        saved_share=None,
    )
