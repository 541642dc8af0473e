"""What a neighbour is worth, and when that is sure enough to act upon."""

from __future__ import annotations

from math import log
from random import Random

import pytest

from scheduler.core.course import Ratio
from scheduler.core.gains import Lasted, by_ends, by_ratios


def told(
    company: int, speed: float, count: int, spread: float = 0.02, *, fewer: int | None = None
) -> list[Ratio]:
    """*count* attempts for each direction, each *speed* as fast with one neighbour more."""
    random = Random(1)
    return [
        Ratio(company, fewer or company - 1, log(speed) + random.gauss(0, spread), rising)
        for rising in (True, False)
        for _ in range(count)
    ]


def lasted(run: str, company: int, *durations_s: float) -> list[Lasted]:
    return [
        Lasted(run=run, company=company, log_s=log(one), by_reports=False) for one in durations_s
    ]


def test_the_total_is_the_number_times_the_speed() -> None:
    gain = by_ratios(2, 1, told(2, 0.72, 4, spread=0.0))
    assert gain is not None
    assert gain.ratio == pytest.approx(1.44)
    assert gain.low_ratio < 1.44 < gain.high_ratio


@pytest.mark.parametrize(
    ("company", "speed", "verdict"),
    [(2, 0.95, "pays"), (3, 0.60, "harms"), (4, 0.75, "open"), (2, 0.4, "harms")],
)
def test_it_pays_harms_or_cannot_be_told(company: int, speed: float, verdict: str) -> None:
    gain = by_ratios(company, company - 1, told(company, speed, 6))
    assert gain is not None
    assert gain.verdict == verdict


def test_what_brings_nothing_for_sure_is_not_worth_its_memory() -> None:
    """Of seven that take turns the last one costs nothing either, and would stay for ever."""
    even = by_ratios(7, 6, told(7, 6 / 7, 12))
    assert even is not None
    assert even.ratio == pytest.approx(1, abs=0.01)
    assert even.high_ratio > 1.02
    assert even.verdict == "harms"
    few = by_ratios(7, 6, told(7, 6 / 7, 3))
    assert few is not None
    assert few.verdict == "open"


@pytest.mark.parametrize(
    ("total", "count", "verdict"),
    [
        (0.76, 3, "harms"),
        (1.0, 3, "open"),
        (7 / 3, 3, "pays"),
        (0.76, 1, "open"),
        (7 / 3, 1, "pays"),
    ],
)
def test_of_numbers_further_apart_few_attempts_tell(total: float, count: int, verdict: str) -> None:
    gain = by_ratios(7, 3, told(7, total * 3 / 7, count, spread=0.0, fewer=3))
    assert gain is not None
    assert gain.ratio == pytest.approx(total)
    assert gain.verdict == verdict


def test_few_that_agree_by_chance_do_not_harm() -> None:
    few = by_ratios(4, 3, [Ratio(4, 3, log(0.6), True), *told(4, 0.6, 1)])
    assert few is not None
    assert few.ratio < 0.85
    assert few.verdict == "open"


def test_one_direction_may_be_the_trials_own_course() -> None:
    """Trials that slow down by a fifth as they go on look as if each newcomer had done that."""
    up = [one for one in told(3, 0.55, 8) if one.rising]
    both = by_ratios(3, 2, told(3, 0.55, 4))
    assert both is not None
    assert both.verdict == "harms"
    alone = by_ratios(3, 2, up)
    assert alone is not None
    assert alone.slack > both.slack
    assert alone.verdict == "open"


def test_opposite_errors_of_both_directions_cancel() -> None:
    drift = log(0.8)
    slowed = [Ratio(3, 2, log(0.66) + (drift if n % 2 else -drift), n % 2 == 1) for n in range(8)]
    gain = by_ratios(3, 2, slowed)
    assert gain is not None
    assert gain.ratio == pytest.approx(1.5 * 0.66)


def test_less_than_three_attempts_say_nothing_unless_there_are_no_more() -> None:
    assert by_ratios(4, 3, told(4, 0.9, 1)) is None
    assert by_ratios(2, 1, told(2, 0.9, 1)) is not None


def test_trials_of_one_run_are_compared_among_themselves() -> None:
    known = [
        *lasted("slow", 2, 1000, 1000, 1010),
        *lasted("fast", 2, 10, 10, 10),
        *lasted("slow", 1, 990, 1010),
        *lasted("fast", 1, 10, 10),
        *lasted("slow", 2, 1000, 1000),
        *lasted("fast", 2, 10, 10, 10),
    ]
    gain = by_ends(2, known)
    assert gain is not None
    assert gain.ratio == pytest.approx(2, rel=0.02)
    assert gain.verdict == "pays"


def test_trials_before_and_after_are_needed_to_be_sure() -> None:
    """The sampler may have come to larger networks meanwhile."""
    more, less = lasted("r", 2, 20, 20, 20, 20), lasted("r", 1, 10, 10, 10, 10)
    after, between = by_ends(2, [*more, *less]), by_ends(2, [*more[:2], *less, *more[2:]])
    assert after is not None
    assert between is not None
    assert after.ratio == between.ratio
    assert after.slack > between.slack


def test_nothing_is_known_of_a_company_that_only_another_run_had() -> None:
    assert by_ends(2, [*lasted("r", 2, 20, 20), *lasted("q", 1, 10, 10)]) is None
