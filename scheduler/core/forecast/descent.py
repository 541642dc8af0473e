"""The lowest point of a smooth function: L-BFGS (Nocedal and Wright, algorithms 7.4 and 7.5).

scipy has a better one; it is not worth a dependency of 100 MB for 20 numbers.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from scheduler.core.forecast.features import Array

MEMORY = 8
MOST_STEP = 2.0  #: of any coordinate at once
HALVINGS = 6
ENOUGH = 1e-3  #: a step that gains less is the last

Slope = Callable[[Array], tuple[float, Array]]  #: value and gradient; inf: not defined there


def lowest(slope: Slope, start: Array, most_steps: int) -> Array:
    """Where it ended. Never higher than *start*."""
    at = start
    value, gradient = slope(at)
    steps: list[tuple[Array, Array]] = []
    for _ in range(most_steps):
        way = _way(gradient, steps)
        found = _walk(slope, at, value, gradient, way)
        if found is None:
            break
        there, lower, turned = found
        step, turn = there - at, turned - gradient
        if step @ turn > 1e-10:
            steps = [*steps, (step, turn)][-MEMORY:]
        gained = value - lower
        at, value, gradient = there, lower, turned
        if gained < ENOUGH:
            break
    return at


def _way(gradient: Array, steps: list[tuple[Array, Array]]) -> Array:
    way = gradient.copy()
    if not steps:
        return -way / max(1.0, float(np.abs(way).max()))
    shares = []
    for step, turn in reversed(steps):
        share = (step @ way) / (turn @ step)
        shares.append(share)
        way -= share * turn
    step, turn = steps[-1]
    way *= (step @ turn) / (turn @ turn)
    for (step, turn), share in zip(steps, reversed(shares), strict=True):
        way += (share - (turn @ way) / (turn @ step)) * step
    return -way


def _walk(
    slope: Slope, at: Array, value: float, gradient: Array, way: Array
) -> tuple[Array, float, Array] | None:
    """A step that goes down by what its slope promises. None: there is none."""
    longest = float(np.abs(way).max())
    if longest > MOST_STEP:
        way = way * (MOST_STEP / longest)
    down, length = float(gradient @ way), 1.0
    for _ in range(HALVINGS):
        there = at + length * way
        found, turned = slope(there)
        if found <= value + 1e-4 * length * down:
            return there, found, turned
        length *= 0.3
    return None
