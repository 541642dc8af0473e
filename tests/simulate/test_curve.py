from __future__ import annotations

from math import inf

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scheduler.simulate.curve import Curve

SPIKE = Curve(((0.0, 0), (10.0, 100), (50.0, 100), (50.0, 300), (52.0, 300), (52.0, 100)))


def test_it_is_straight_between_points_and_jumps_where_two_are_at_the_same_work():
    works = (-1, 0, 5, 10, 30, 49.9, 50, 51.9, 52, 1000)
    held = [SPIKE.held_bytes(work) for work in works]
    assert held == [0, 0, 50, 100, 100, 100, 300, 300, 100, 100]
    assert SPIKE.peak_bytes == 300


@pytest.mark.parametrize(
    ("limit", "from_s", "first"),
    [(300, 0, None), (299, 0, 50), (100, 0, 50), (50, 0, 5), (50, 20, 20), (200, 51, 51)],
)
def test_the_work_at_which_a_limit_is_broken(limit, from_s, first):
    assert SPIKE.first_above_s(limit, from_s) == first


def test_after_its_spike_it_breaks_that_limit_no_more():
    assert SPIKE.first_above_s(200, 53) is None


@pytest.mark.parametrize(
    ("work", "until"), [(0, 0), (4, 4), (10, 50), (49, 50), (50, 52), (52, inf)]
)
def test_how_long_it_stays_as_it_is(work, until):
    assert SPIKE.still_until_s(work) == until


@pytest.mark.parametrize("points", [(), ((1.0, 5), (0.0, 5)), ((0.0, -1),)])
def test_what_is_no_curve_is_refused(points):
    with pytest.raises(ValueError, match="points in order"):
        Curve(points)


works = st.lists(st.floats(0, 100), min_size=1, max_size=6).map(sorted)


@given(
    works.flatmap(lambda xs: st.tuples(*(st.tuples(st.just(x), st.integers(0, 99)) for x in xs))),
    st.floats(0, 120),
    st.integers(0, 99),
)
def test_what_it_says_of_itself_is_so(points, work, limit):
    curve = Curve(points)
    until = curve.still_until_s(work)
    if until > work:
        assert curve.held_bytes((work + min(until, work + 1)) / 2) == curve.held_bytes(work)
    first = curve.first_above_s(limit)
    reached = 0 if first is None else first
    assert (curve.highest_bytes(0, 101) > limit) is (first is not None)
    assert curve.highest_bytes(0, max(0, reached - 1e-6)) <= max(limit, curve.held_bytes(0)) + 1
