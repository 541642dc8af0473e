"""The ``auto`` pruner: none of those that ended best was ever this low for so long.

What is known of the trials that ended best is where they were on their way. A trial goes when it
has been lower than the lowest of them for a tenth of its reports in a row. So where early values
say little (the best of an RL study often start flat) it goes late, where they say much it goes
early, and where the best start slowly nobody goes early. It looks at values where they were
reported, never at the best so far: one lucky first report protects nobody.

Where trials are early in the order of their ends, half as long is enough. In the second half of a
trial it takes more: little can be saved any more, and up to a third of the verdicts there were
wrong.

Users can check a rule of one sentence, so nothing is fitted. It has no scale: values that are all
doubled, or turned round with the direction, give the same verdicts.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Sequence

import msgspec
import numpy as np

from scheduler.strategies.curves import Curve, Direction, better

STRETCHES = 50  #: at most so many looks at a trial; longer curves are looked at in stretches
LATE = 0.5  #: of a trial has passed, and
LATE_MARGIN = 1.0  #: is the least margin. On PPO's Acrobot that lost half as many of the best 1 %.


class Setting(msgspec.Struct, frozen=True, kw_only=True):
    """How strict ``auto`` is; the defaults are its start, ``ladder`` has the others.

    Measured with ``bench/strategies`` on recorded and trained tables, as everything in here.
    """

    direction: Direction
    startup: int = 8  #: trials known to their end before the first verdict
    good_least: int = 4  #: trials that count as the best,
    good_share: float = 0.1  #: or this share of the finished ones where that is more,
    good_most: int = 10  #: but no more, so that it stays with what still counts late in a study
    margin: float = 0.0  #: further below the lowest, as a part of its distance to their median
    patience: float = 0.1  #: so long in a row, as a share of the reports of a whole trial
    #: Kendall's tau of the values where a verdict may first fall and of the ends, from which on
    #: half the patience is enough; above 1: never. It is 0.5 to 0.9 on tables of supervised
    #: trainings, 0 to 0.35 on PPO's, below 0 where the best start slowly.
    order: float = 0.5
    order_startup: int = 16  #: trials known to their end before their order counts


class Keep(msgspec.Struct, frozen=True, kw_only=True):
    """Go on."""

    because: str


class Prune(msgspec.Struct, frozen=True, kw_only=True):
    """Stop here."""

    because: str  #: a sentence for people
    level: float  #: where the trial stands, in the user's direction
    threshold: float  #: what was wanted, in the user's direction


Verdict = Keep | Prune

EARLY = Keep(because="too few trials are known to their end")
SHORT = Keep(because="too few reports so far")
AT_END = Keep(because="it is about to end")
FINE = Keep(because="some that ended among the best were no better here")


class Auto:
    """What the finished trials say, worked out once; made anew when a trial has finished.

    With 400 trials of 50 reports making one takes 3 ms, a verdict 15 us (a busy machine).
    """

    def __init__(self, history: Sequence[Curve], setting: Setting) -> None:
        self.setting = setting
        known = [one for one in history if one.is_known_to_the_end and one.steps]
        self.good = best(known, how_many(history, setting), setting.direction)
        self.ends: tuple[int, ...] = ()
        self.thresholds = np.empty(0)
        self.patience = 1  #: looks in a row
        if len(known) >= max(1, setting.startup):
            self.ends = stretches(self.good)
            self._decide(known)

    def _decide(self, known: Sequence[Curve]) -> None:
        """How long a trial has to be low, and how low."""
        setting, count = self.setting, len(self.ends)
        self.patience = max(1, round(setting.patience * count))
        if len(known) >= setting.order_startup:
            look = min(self.patience, count) - 1
            if in_order(known, self.ends, look, setting.direction) >= setting.order:
                half = math.ceil(setting.patience / 2 * count)
                self.patience = min(self.patience, max(2, half))
        self.thresholds = lowest(self.good, self.ends, setting)

    def verdict(self, curve: Curve, step: int) -> Verdict:
        """On *curve* as far as *step*, which its reports may go beyond."""
        if not self.ends:
            return EARLY
        if step >= self.ends[-1]:
            return AT_END
        looks = bisect_right(self.ends, step)
        if looks < self.patience:
            return SHORT
        window = range(looks - self.patience, looks)
        levels = [level(curve, self.ends, look, self.setting.direction) for look in window]
        low = all(
            here is not None and here < self.thresholds[look]
            for look, here in zip(window, levels, strict=True)
        )
        if not low or levels[-1] is None:
            return FINE
        return self._prune(levels[-1], looks - 1)

    def _prune(self, here: float, look: int) -> Prune:
        turn = 1 if self.setting.direction == "maximize" else -1
        wanted = turn * float(self.thresholds[look])
        word = "low" if turn == 1 else "high"
        return Prune(
            because=(
                f"at step {self.ends[look]} it has been at {turn * here:.6g}; none of the "
                f"{len(self.good)} best was this {word} for so long, the limit is {wanted:.6g}"
            ),
            level=turn * here,
            threshold=wanted,
        )


def verdict(curve: Curve, step: int, history: Sequence[Curve], setting: Setting) -> Verdict:
    """``Auto(history, setting).verdict(curve, step)`` for who asks once."""
    return Auto(history, setting).verdict(curve, step)


def how_many(history: Sequence[Curve], setting: Setting) -> int:
    """Trials that count as the best."""
    finished = sum(one.state in ("complete", "pruned", "control") for one in history)
    wanted = round(setting.good_share * finished)
    return min(setting.good_most, max(setting.good_least, wanted))


def best(known: Sequence[Curve], count: int, direction: Direction) -> list[Curve]:
    """The *count* of *known* that ended best; of equal ones the earlier."""

    def end(one: Curve) -> float:
        return better(one.final, direction) if one.final is not None else -np.inf

    return sorted(known, key=end, reverse=True)[:count]


def stretches(curves: Sequence[Curve]) -> tuple[int, ...]:
    """The steps at which a trial is looked at: where the best reported, thinned to ``STRETCHES``.

    They end where the median one ended, so that one that ran on for long does not stretch them.
    """
    last = sorted(one.steps[-1] for one in curves)[len(curves) // 2]
    steps = sorted({step for one in curves for step in one.steps if step <= last})
    every = -(-len(steps) // STRETCHES)
    return tuple(steps[::-1][::every][::-1])


def level(curve: Curve, ends: Sequence[int], look: int, direction: Direction) -> float | None:
    """The median report of stretch *look*, else the last one before it; larger is better.

    None: nothing was reported as early as that.
    """
    upto = bisect_right(curve.steps, ends[look])
    since = bisect_right(curve.steps, ends[look - 1]) if look else 0
    if upto == 0:
        return None
    inside = sorted(better(v, direction) for v in curve.values[min(since, upto - 1) : upto])
    return inside[len(inside) // 2]


def in_order(known: Sequence[Curve], ends: Sequence[int], look: int, direction: Direction) -> float:
    """Kendall's tau (a: ties count for neither) of *known* at *look* and at their ends, -1 to 1.

    0 where there is no pair.
    """
    levels = [level(one, ends, look, direction) for one in known]
    here = np.array([-np.inf if one is None else one for one in levels])
    final = np.array(
        [-np.inf if one.final is None else better(one.final, direction) for one in known]
    )
    above, ended_above = here[:, None] > here, final[:, None] > final
    pairs = len(known) * (len(known) - 1) / 2
    agree, against = (above & ended_above).sum(), (above & ended_above.T).sum()
    return float(agree - against) / pairs if pairs else 0.0


def lowest(good: Sequence[Curve], ends: Sequence[int], setting: Setting) -> np.ndarray:
    """The threshold at each stretch, larger is better; -inf where nobody goes."""
    thresholds = np.full(len(ends), -np.inf)
    for look in range(len(ends)):
        levels = [level(one, ends, look, setting.direction) for one in good]
        seen = sorted(value for value in levels if value is not None)
        is_late = look >= LATE * len(ends)
        margin = max(setting.margin, LATE_MARGIN) if is_late else setting.margin
        if len(seen) == len(good) and np.isfinite(seen[0]):
            thresholds[look] = seen[0] - margin * (seen[len(seen) // 2] - seen[0])
    return thresholds


def notches(direction: Direction) -> tuple[Setting, ...]:
    """``auto`` as it starts, and ever milder: more patient, then for those far below all others."""
    asked = Setting(direction=direction)
    later = msgspec.structs.replace(
        asked, startup=2 * asked.startup, patience=2 * asked.patience, order=math.inf
    )
    return asked, later, msgspec.structs.replace(later, margin=1.0)
