"""Statistics of the last values of a loop, for reinforcement learning: one episode says little.

Imports neither Optuna nor numpy. The objects are plain values: they can be pickled along with a
checkpoint.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Sequence
from typing import SupportsFloat

from scheduler.study.offered import reporting

#: What of a spread, as a part of the largest value, is rounding: ten times a tenth is not one.
ROUNDING = 1e-12

Statistic = Callable[[Sequence[float]], float | None]


def mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values)


def sharpe(values: Sequence[float]) -> float | None:
    """Mean over standard deviation, which is numpy's default: of these values, not an estimate of
    a larger lot's (ddof 0). None where all are equal, but for rounding."""
    centre = mean(values)
    spread = math.hypot(*(value - centre for value in values)) / math.sqrt(len(values))
    if spread <= ROUNDING * max(map(abs, values)):
        return None
    return centre / spread


class Rolling:
    """The last *window* values and *statistic* of them, the mean unless another is given.

        rolling = scheduler.Rolling(window=50, minimum=10)
        for episode in range(EPISODES):
            if rolling.report(play(agent)):
                raise optuna.TrialPruned
        return rolling.value

    It is undefined (None) before there are *minimum* values, and where *statistic* returns None.
    It is NaN while one of the values is NaN or infinite: that is divergence, which pruners know
    as the worst there is, and not "too early to tell".

    ``count`` is the number of values so far, ``value`` the statistic of now.
    """

    def __init__(
        self, window: int, minimum: int = 1, statistic: Statistic = mean, *, every: int = 1
    ) -> None:
        """*every*: only each so manyth value is reported. Raises ValueError."""
        if not 1 <= minimum <= window or every < 1:
            raise ValueError(
                f"window={window}, minimum={minimum}, every={every}:"
                " wanted is 1 <= minimum <= window, and 1 <= every"
            )
        self._last: deque[float] = deque(maxlen=window)
        self._minimum = minimum
        self._statistic = statistic
        self._every = every
        self.count = 0
        self.value: float | None = None

    def add(self, value: SupportsFloat) -> float | None:
        """Take *value* in; returns the statistic, None where it is undefined."""
        self._last.append(float(value))
        self.count += 1
        self.value = self._now()
        return self.value

    def report(self, value: SupportsFloat, step: int | None = None) -> bool:
        """Take *value* in, report the statistic where it is defined, ask whether to prune.

        *step* None: the number of values before this one, so that the steps of all trials mean
        the same, whenever they were first defined. Returns False where nothing was to report.
        """
        defined = self.add(value)
        if defined is None or self.count % self._every:
            return False
        reporting.report(defined, self.count - 1 if step is None else step)
        return reporting.should_prune()

    def _now(self) -> float | None:
        if len(self._last) < self._minimum:
            return None
        if not all(map(math.isfinite, self._last)):
            return math.nan
        return self._statistic(tuple(self._last))


class RollingSharpe(Rolling):
    """Mean over standard deviation of the last episodes' rewards.

    Undefined (None) before there are *minimum* of them and while all are equal. The deviation is
    numpy's default, ``ddof=0``; with ``ddof=1`` the ratio would be smaller by sqrt((n - 1) / n).
    """

    def __init__(self, window: int = 20, minimum: int = 6, *, every: int = 1) -> None:
        super().__init__(window, minimum, sharpe, every=every)
