"""When a pruner gives way to a milder one, and when the stricter one gets another chance. Pure.

Notch 0 is what was asked for; larger ones are milder. Only controls whose trials began at the notch
count, so that what an earlier one did wrong is not held against it.
"""

from __future__ import annotations

import msgspec

from scheduler.strategies.audit import Summary

CLEAN = 20  #: controls in a row, none of which would have mattered


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """``falls``: how often it has become milder so far. The sentences are for people."""

    notch: int
    falls: int
    because: str
    evidence: str


def next_notch(now: Summary, notch: int, *, last: int, falls: int, limit: float) -> Step | None:
    """The notch after *notch* by what its controls say; None: it stays.

    The story of why each way back takes twice as long: 1. the median ends good trials that start
    slowly, and gives way, 2. the milder pruner is clean, and the median is back, 3. it ends good
    trials again. With a fixed number of clean controls that would go on for ever.

    It also gives way where a control beat all trials before it and more than *limit* of them
    mattered. The story: 1. the pruner ends all that start slowly, the best among them, 2. of 100
    verdicts 8 are controls, one of these of the best decile, 3. a bound above 5 % takes 2 of 5
    controls or 3 of 12, hundreds of trials. What a verdict would have ended and became the best is
    what pruning must not lose; where it was chance, the price is some steps.
    """
    found = _record(now, limit)
    if found is not None and notch < last:
        return Step(notch=notch + 1, falls=falls + 1, because=found, evidence=_bounds(now))
    if now.low > limit and notch < last:
        return Step(
            notch=notch + 1,
            falls=falls + 1,
            because=f"{now.false} of {now.controls} controls ended among the best",
            evidence=f"at least {100 * now.low:.0f} % of verdicts are wrong with"
            f" {100 * now.confidence:.0f} % confidence, {100 * limit:.0f} % are allowed",
        )
    wanted = CLEAN * 2 ** max(0, falls - 1)
    if notch > 0 and not now.false and now.controls >= wanted:
        return Step(
            notch=notch - 1,
            falls=falls,
            because=f"none of {now.controls} controls ended among the best",
            evidence=f"{wanted} were wanted; at most {100 * now.high:.0f} % of verdicts are wrong"
            f" with {100 * now.confidence:.0f} % confidence",
        )
    return None


def _record(now: Summary, limit: float) -> str | None:
    """None: no control was the best of its time, or it was one of many."""
    if not now.records or now.false <= limit * now.controls:
        return None
    best = "one was the best" if now.records == 1 else f"{now.records} were the best"
    return f"{now.false} of {now.controls} controls ended among the best, {best} so far"


def _bounds(now: Summary) -> str:
    return (
        f"{100 * now.low:.0f} to {100 * now.high:.0f} % of verdicts are wrong with"
        f" {100 * now.confidence:.0f} % confidence"
    )
