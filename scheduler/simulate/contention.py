"""How much work attempts get done together on one device. Pure.

A *total* is the sum of their speeds, 1 being what each does alone. Who gets which part of it was
not measured: they share it evenly.
"""

from __future__ import annotations

from collections.abc import Callable

#: From how many there are, and the sum of what each uses of the device alone (0 to 1), the total.
Contention = Callable[[int, float], float]

#: Of two: ``min(2, 2.24 - 0.40 U)``, U the sum of both uses. Fitted on 1,091 measured pairs of
#: other people's cards, RMSE 0.15. The same as a loss of 0.40 for each U above 0.60.
_LOSS, _FREE_USE = 0.40, 0.60


def fitted(count: int, use: float) -> float:
    """The measured total of two; of more an extrapolation, measured nowhere.

    Each pair among them is taken to lose what it would lose by itself. So a total grows ever more
    slowly, has a top (at an even use of 0.55: 3.0 with five or six), and can fall with the third
    (at 1: 1.44 with two, 1.32 with three). Never below 1: taking turns is always possible.
    """
    if count < 2:
        return float(count)
    loss = _LOSS * max(0.0, 2 * use / count - _FREE_USE)
    return min(float(count), max(1.0, count - loss * count * (count - 1) / 2))


def taking_turns(count: int, use: float) -> float:
    """The pessimist's: together they do what one does."""
    return float(min(count, 1))


def unhindered(count: int, use: float) -> float:
    """The optimist's: each does what it does alone."""
    return float(count)


def by_count(*totals: float) -> Contention:
    """*totals* of 1, 2, 3, ... at once; the last holds for more."""

    def total(count: int, use: float) -> float:
        return totals[min(count, len(totals)) - 1] if count else 0.0

    return total


#: By the names that workload files give them.
NAMED: dict[str, Contention] = {
    "fitted": fitted,
    "taking turns": taking_turns,
    "unhindered": unhindered,
}
