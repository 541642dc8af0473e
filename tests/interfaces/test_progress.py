"""How fast, and when done: laws, and a few numbers that can be reckoned by hand."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scheduler.interfaces.progress import (
    DRAWN,
    ENOUGH,
    FEW,
    FINISHES,
    HOUR_S,
    MANY,
    Left,
    gaps,
    rate,
    rate_now,
    share,
    time_left,
)

DURATIONS = st.lists(st.floats(0.0, 1e5), min_size=ENOUGH, max_size=30)
AGES = st.lists(st.floats(0.0, 1e5), max_size=6)
AT_ONCE = st.integers(1, 8)
GAPS = st.lists(st.floats(0.0, 1e4), max_size=25)
NOW_S = 1_000_000.0


@given(st.integers(0, 300), st.integers(0, 300), DURATIONS, AGES, AT_ONCE, GAPS)
def test_more_that_remains_is_never_done_earlier(
    some: int,
    more: int,
    took: list[float],
    ages: list[float],
    at_once: int,
    between: list[float],
) -> None:
    first = time_left(some, took, ages, at_once, gaps_s=between)
    later = time_left(some + more, took, ages, at_once, gaps_s=between)
    assert first is not None
    assert later is not None
    assert first.about_s <= later.about_s
    assert first.low_s <= later.low_s
    assert first.high_s <= later.high_s


@given(st.integers(0, 2 * DRAWN), DURATIONS, AGES, AT_ONCE, st.floats(0.0, 2.0))
def test_the_range_holds_the_point(
    remaining: int, took: list[float], ages: list[float], at_once: int, again: float
) -> None:
    left = time_left(remaining, took, ages, at_once, again=again)
    assert left is not None
    assert 0.0 <= left.low_s <= left.about_s <= left.high_s


@given(DURATIONS, AGES, AT_ONCE)
def test_nothing_remains_nothing_is_left(
    took: list[float], ages: list[float], at_once: int
) -> None:
    assert time_left(0, took, ages, at_once) == Left(about_s=0.0, low_s=0.0, high_s=0.0)


@given(st.integers(1, 300), DURATIONS, AGES, AT_ONCE)
def test_it_says_the_same_when_asked_again(
    remaining: int, took: list[float], ages: list[float], at_once: int
) -> None:
    assert time_left(remaining, took, ages, at_once) == time_left(remaining, took, ages, at_once)


@pytest.mark.parametrize("remaining", [7, 8, DRAWN + 40])
def test_equal_trials_are_reckoned_by_hand(remaining: int) -> None:
    left = time_left(remaining, [60.0] * 5, [], 2)
    rounds = (remaining + 1) // 2 if remaining <= DRAWN else remaining / 2
    assert left == Left(about_s=60 * rounds, low_s=60 * rounds, high_s=60 * rounds)


def test_what_runs_has_less_to_go() -> None:
    left = time_left(2, [60.0] * 3, [50.0, 20.0], 2)
    assert left is not None
    assert left.about_s == 40.0


def test_one_older_than_all_that_ended_lasts_as_long_again() -> None:
    left = time_left(1, [60.0] * 3, [500.0], 1)
    assert left is not None
    assert left.about_s == 500.0


def test_attempts_that_come_back_cost_as_much_as_a_trial() -> None:
    left = time_left(10, [60.0] * 3, [], 1, again=0.5)
    assert left is not None
    assert left.about_s == 15 * 60.0


@pytest.mark.parametrize(("took", "at_once"), [([60.0] * (ENOUGH - 1), 2), ([60.0] * ENOUGH, 0)])
def test_too_little_foretells_nothing(took: list[float], at_once: int) -> None:
    assert time_left(5, took, [], at_once) is None


def test_the_range_is_wider_where_trials_differ() -> None:
    even = time_left(20, [50.0, 60.0, 70.0] * 4, [], 2)
    uneven = time_left(20, [5.0, 60.0, 115.0] * 4, [], 2)
    assert even is not None
    assert uneven is not None
    assert uneven.high_s - uneven.low_s > 2 * (even.high_s - even.low_s)


def test_how_many_run_on_the_whole_counts_more_than_what_runs_now() -> None:
    """Trials of 60 s, one done every 20 s: three at once, of which two are between two trials."""
    now_s, finished = 3000.0, [20.0 * number for number in range(1, 150)]
    between = gaps(finished, 0.0, [60.0] * 30)
    assert between == (20.0,) * FINISHES
    left = time_left(60, [60.0] * 30, [10.0], 1, gaps_s=between)
    assert left is not None
    assert left.about_s == pytest.approx(1800.0, rel=0.05)  # no more than twice what runs now
    assert left.high_s == pytest.approx(3600.0, rel=0.05)
    assert gaps([*finished, now_s + 9000.0], 0.0, [60.0] * 30) == (20.0,) * (FINISHES - 1)
    assert gaps(finished, now_s, [60.0]) == gaps(finished, None, [60.0]) == ()


def every(gap_s: float, count: int, end_s: float = NOW_S) -> list[float]:
    """Finishes *gap_s* apart, the last one at *end_s*."""
    return [end_s - gap_s * back for back in reversed(range(count))]


@pytest.mark.parametrize("gap_s", [0.5, 60.0, 400.0, 3000.0, 20000.0])
def test_a_steady_pace_is_the_same_by_any_window(gap_s: float) -> None:
    since_s = NOW_S - 1e6
    pace = rate_now(every(gap_s, 40), since_s, NOW_S)
    assert pace == pytest.approx(HOUR_S / gap_s, rel=0.2)


def test_quick_trials_are_judged_by_the_last_and_not_by_the_hour() -> None:
    slow, quick = every(60.0, 30, NOW_S - 20.0), every(1.0, MANY)
    assert rate_now([*slow, *quick], NOW_S - 1e5, NOW_S) == pytest.approx(HOUR_S, rel=0.06)


def test_slow_trials_are_judged_by_more_than_an_hour() -> None:
    finished = every(7200.0, FEW + 1)
    assert rate_now(finished, NOW_S - 1e6, NOW_S) == pytest.approx(0.5)


def test_a_halt_slows_it_down() -> None:
    finished = every(60.0, 30)
    later = rate_now(finished, NOW_S - 1e5, NOW_S + HOUR_S / 2)
    assert later is not None
    assert later < 60.0
    after_hours = rate_now(finished, NOW_S - 1e5, NOW_S + 9 * HOUR_S)
    assert after_hours is not None
    assert after_hours < 1.0


def test_what_was_before_this_life_of_the_run_does_not_count() -> None:
    finished = [*every(1.0, 100, NOW_S - 7200.0), NOW_S - 900.0, NOW_S - 800.0]
    assert rate_now(finished, NOW_S - 1800.0, NOW_S) == pytest.approx(4.0)


@given(st.lists(st.floats(0.0, 2e6)), st.floats(0.0, 2e6), st.floats(0.0, 2e6))
def test_a_pace_is_never_negative_whatever_the_clock_did(
    finished: list[float], since_s: float, now_s: float
) -> None:
    pace = rate_now(finished, since_s, now_s)
    assert pace is None or pace >= 0.0


def test_without_a_beginning_or_an_end_there_is_no_pace_and_no_share() -> None:
    assert rate_now([], NOW_S, NOW_S) is None
    assert rate_now([NOW_S], None, NOW_S) is None
    assert rate(3, NOW_S, NOW_S) is None
    assert rate(0, NOW_S - 1.0, NOW_S) is None
    assert rate(3, NOW_S - 60.0, NOW_S) == 180.0
    assert share(0, 0) is None
    assert share(1, 4) == 0.25
