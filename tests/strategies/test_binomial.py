"""Bounds of a rate cover it as often as they say, whatever the rate."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scheduler.strategies.binomial import at_most_chance, lower, upper


def chance(hits: int, trials: int, rate: float) -> float:
    return math.comb(trials, hits) * rate**hits * (1 - rate) ** (trials - hits)


@settings(max_examples=30)
@given(st.integers(1, 40), st.floats(0.001, 0.999))
def test_the_interval_covers_the_rate_by_the_exact_sum(trials: int, rate: float) -> None:
    bounds = [(lower(k, trials, 0.025), upper(k, trials, 0.025)) for k in range(trials + 1)]
    covered = sum(
        chance(k, trials, rate) for k, (low, high) in enumerate(bounds) if low <= rate <= high
    )
    assert covered >= 0.95 - 1e-9


def test_known_bounds() -> None:
    """None of n: 1 - tail**(1/n). 3 of 16: R's binom.test."""
    assert upper(0, 23, 0.05) == pytest.approx(1 - 0.05 ** (1 / 23))
    assert lower(3, 16, 0.025) == pytest.approx(0.0405, abs=5e-5)
    assert upper(3, 16, 0.025) == pytest.approx(0.4565, abs=5e-5)


def test_of_none_nothing_is_known() -> None:
    assert (lower(0, 0, 0.05), upper(0, 0, 0.05)) == (0.0, 1.0)


def test_ten_thousand_trials_do_not_underflow() -> None:
    assert at_most_chance(5000, 10_000, 0.5) == pytest.approx(0.504, abs=1e-3)


@given(st.integers(0, 30), st.integers(1, 30), st.integers(2, 5))
def test_more_of_the_same_narrows_it(hits: int, others: int, times: int) -> None:
    def width(factor: int) -> float:
        of = factor * (hits + others)
        return upper(factor * hits, of, 0.025) - lower(factor * hits, of, 0.025)

    assert width(times) < width(1)
