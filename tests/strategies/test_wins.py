"""Whether narrowing helps: by rank, by the best, by the edges; and how many look elsewhere."""

from __future__ import annotations

import itertools
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scheduler.strategies.ranges import Limits, Range
from scheduler.strategies.wins import (
    EXACT,
    PROBATION,
    PROBATION_SHARE,
    Drawn,
    chance,
    chance_of_top,
    edge,
    is_full,
    share_now,
    why_undo,
)

UNIT = Range(kind="float", low=0.0, high=1.0)
small = st.lists(st.integers(0, 5).map(float), min_size=1, max_size=4)


def drawn(full: list[float | None], narrow: list[float | None]) -> list[Drawn]:
    return [
        *(Drawn(is_full=True, value=value) for value in full),
        *(Drawn(is_full=False, value=value) for value in narrow),
    ]


def counted(first: list[float], second: list[float]) -> float:
    """The same by trying all ways of choosing which are the first."""
    everyone = [*first, *second]

    def rank_sum(chosen: tuple[int, ...]) -> float:
        return sum(
            sum(other < everyone[i] for other in everyone)
            + sum(other == everyone[i] for other in everyone) / 2
            for i in chosen
        )

    seen = rank_sum(tuple(range(len(first))))
    ways = list(itertools.combinations(range(len(everyone)), len(first)))
    return sum(rank_sum(way) >= seen - 1e-9 for way in ways) / len(ways)


@given(small, small)
def test_the_chance_is_that_of_all_ways_of_choosing(first, second) -> None:
    assert chance(first, second) == pytest.approx(counted(first, second))


def test_with_many_the_normal_distribution_is_near_the_counted_one() -> None:
    source = random.Random(1)
    for _ in range(5):
        first = [source.gauss(0.3, 1) for _ in range(9)]
        second = [source.gauss(0, 1) for _ in range(21)]
        exact = chance(first, second)
        assert len(first) * len(second) <= EXACT < 2 * len(first) * len(second)
        assert chance(first * 2, second * 2) <= exact + 0.05
    assert chance([1.0] * 30, [1.0] * 30) == 1.0


def test_the_best_tenth_by_fishers_exact_test() -> None:
    # 3 of 10 full ones among the best 4 of 40, counted by hand: (120*30 + 210) / 91390
    full = [100.0, 99.0, 98.0, *(-1.0 * k for k in range(1, 8))]
    narrow = [float(k) for k in range(30)]
    assert chance_of_top(full, narrow) == pytest.approx((120 * 30 + 210) / 91390)


def test_ties_for_the_best_are_not_the_full_ranges_own() -> None:
    assert chance_of_top([1.0] * 5, [1.0] * 5) == 1.0


def test_narrowing_ends_where_the_full_ranges_rank_higher() -> None:
    undo = why_undo(drawn([5.0, 6.0, 7.0, 8.0], [1.0, 2.0, 3.0, 4.0]))
    assert undo is not None
    assert undo[0] == "trials on the full ranges are better"
    assert undo[1] == "4 on the full ranges, 4 on the narrowed; by chance 0.014"


def test_narrowing_ends_where_the_best_are_the_full_ranges() -> None:
    """Most of their trials are poor, as they look everywhere; the best are theirs all the same."""
    full = [float(k) for k in (*range(100, 107), *range(-13, 0))]
    narrow = [float(k) / 10 for k in range(80)]
    undo = why_undo(drawn(full, narrow))
    assert undo is not None
    assert undo[0] == "the best trials are those on the full ranges"


def test_it_goes_on_where_nothing_is_seen_or_the_narrowed_are_better() -> None:
    assert why_undo(drawn([1.0, 2.0, 3.0, 4.0], [5.0, 6.0, 7.0, 8.0])) is None
    assert why_undo(drawn([9.0, 9.0], [1.0] * 20)) is None  # two tell nothing
    assert why_undo(drawn([None] * 5, [None] * 5)) is None
    assert why_undo([]) is None


def test_pruned_ones_are_the_worst() -> None:
    assert why_undo(drawn([1.0] * 5, [None] * 5)) is not None


def test_without_a_difference_it_seldom_ends() -> None:
    """Looked at after each of 100 trials: the promise is for one look, so it is more than 5 %."""
    ended = 0
    for seed in range(30):
        source = random.Random(seed)
        them: list[Drawn] = []
        for number in range(100):
            them.append(Drawn(is_full=number % 10 == 0, value=source.random()))
            if why_undo(them) is not None:
                ended += 1
                break
    assert ended <= 8


def test_ranges_of_others_are_on_probation_until_they_are_seen_to_be_better() -> None:
    assert share_now([], 0.1, proven=False) == PROBATION_SHARE
    assert share_now([], 0.1, proven=True) == 0.1
    assert share_now([], 0.0, proven=False) == 0.0  # none was wanted
    alike = drawn([1.0, 4.0, 2.0], [3.0, 0.0, 5.0])
    assert share_now(alike, 0.1, proven=False) == PROBATION_SHARE
    assert share_now(alike, 0.8, proven=False) == 0.8
    # 1 of 6 ways of choosing two of four is as good as that
    assert share_now(drawn([4.0, 3.0], [2.0, 1.0]), 0.1, proven=False) == pytest.approx(5 / 6)
    assert share_now(drawn([1.0, 2.0, 3.0], [4.0, 5.0, 6.0]), 0.1, proven=False) == 0.1
    assert share_now(alike * (PROBATION // len(alike) + 1), 0.1, proven=False) == 0.1


@given(st.text(max_size=8), st.integers(0, 10**6), st.floats(0, 1), st.floats(0, 1))
def test_who_looks_elsewhere_does_so_for_any_larger_share(run, trial, one, other) -> None:
    if is_full(run, trial, min(one, other)):
        assert is_full(run, trial, max(one, other))


def test_the_share_is_met_and_differs_between_runs() -> None:
    chosen = [is_full("a", trial, 0.1) for trial in range(5000)]
    assert 0.08 < sum(chosen) / 5000 < 0.12
    assert chosen != [is_full("b", trial, 0.1) for trial in range(5000)]


def at(places: list[float]) -> list[Drawn]:
    """The later, the better."""
    return [
        Drawn(is_full=False, value=float(k), params={"x": place}) for k, place in enumerate(places)
    ]


def test_an_edge_at_which_the_best_lie_is_told() -> None:
    limits = Limits(low=0.4, high=0.6)
    middle = [0.5] * 20
    assert edge(at([*middle, 0.59, 0.5, 0.6, 0.595]), "x", UNIT, limits) == "high"
    assert edge(at([*middle, 0.41, 0.4, 0.4, 0.41]), "x", UNIT, limits) == "low"
    assert edge(at([*middle, 0.41, 0.5, 0.5, 0.59]), "x", UNIT, limits) is None
    assert edge(at([0.6] * 5), "x", UNIT, limits) is None  # too few
    assert edge(at([1.0] * 20), "x", UNIT, Limits(low=0.5, high=1.0)) is None  # the range's own
    assert edge(at([0.6] * 20), "y", UNIT, limits) is None
