"""When peaks come, by the attempts that ended."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scene import GIB, MIB

from scheduler.core.growth import (
    CELLS,
    DEEP,
    LEVELS,
    SLOWER,
    Grown,
    Growth,
    Level,
    Outlook,
    grown,
    record,
)

SIZES = st.lists(st.integers(1, 16 * GIB), min_size=1, max_size=80)


def growth_of(*curve: tuple[float, int]) -> Growth:
    growth = Growth()
    for age_s, size in curve:
        if size > (growth.top.bytes if growth.top else 0):
            growth = grown(growth, size, age_s, 0)
    return growth


def ended(*curve: tuple[float, float], took_s: float = 100.0, reports: int = 0) -> Grown:
    """*curve* in GiB."""
    levels = tuple(Level(age_s, int(size * GIB)) for age_s, size in curve)
    return Grown(levels=levels, took_s=took_s, reports=reports)


@given(SIZES)
def test_a_record_stays_small_ends_with_the_peak_and_never_says_more_than_was_held(sizes):
    growth = growth_of(*enumerate(sizes))
    one = record(growth, took_s=len(sizes), reports=0)
    assert len(growth.levels) <= LEVELS
    assert one.levels[-1].bytes == max(sizes)
    for level in one.levels:
        assert max(sizes[: int(level.age_s) + 1]) == level.bytes


def test_of_many_levels_those_near_the_peak_are_kept():
    """A ramp of 200 steps, then one that comes late."""
    growth = growth_of(*((n, 20 * MIB * n) for n in range(1, 201)), (900, 5 * GIB))
    sizes = [level.bytes for level in growth.levels]
    assert sizes[0] * DEEP >= 4000 * MIB / 1.1
    assert all(b / a < 1.25 for a, b in pairwise(sizes[:-1]))
    assert growth.levels[-1] == Level(900, 5 * GIB)


def test_what_was_not_seen_all_the_time_is_no_record():
    assert record(Growth(), 10.0, 0) is None
    assert record(Growth(levels=(Level(1.0, 1),), top=Level(1.0, 1), unseen_s=3.0), 10.0, 0) is None


def test_too_few_say_nothing():
    flat = ended((1, 3))
    assert Outlook((flat,) * 7, 0.02).may_grow_by(90, 0) is None
    assert Outlook((flat,) * 8, 0.02).may_grow_by(90, 0) == 1.0


def test_the_ratio_falls_as_those_before_have_reached_their_peaks():
    of = Outlook((ended((1, 2), (30, 3), (60, 4)),) * 49, 0.02)
    assert of.may_grow_by(0.5, 0) is None
    assert of.may_grow_by(20, 0) == 2.0
    assert of.may_grow_by(50, 0) == pytest.approx(4 / 3)
    assert of.may_grow_by(80, 0) == 1.0


def test_what_comes_at_the_end_is_never_past():
    """However old the attempt: it may be slower than all before it."""
    of = Outlook((ended((1, 2), (85, 4)),) * 49, 0.02)
    assert [of.may_grow_by(age_s, 0) for age_s in (50, 99, 300)] == [2.0] * 3


def test_time_is_stretched_to_the_longest():
    """The first epoch of a trial of 500 s ends five times later than that of one of 100 s."""
    spiked = [ended((1, 2), (10, 4))] * 48 + [ended((1, 2), (10, 2), took_s=500)]
    of = Outlook(tuple(spiked), 0.02)
    assert of.may_grow_by(60, 0) == 2.0
    assert of.may_grow_by(65, 0) == 1.0


def test_those_that_ended_at_once_do_not_stretch_over_those_that_run_long():
    """Parameters that were tried before, and an objective that looks them up."""
    brief = [ended((0.5, 0.3), (0.9, 0.4), took_s=1.0)] * 48
    of = Outlook((*brief, ended((1, 2), (10, 3), took_s=1000)), 0.02)
    assert of.may_grow_by(20, 0) == 1.0


def test_of_fifty_the_largest_counts_of_a_hundred_the_second():
    """Two in a hundred may need more: rank ceil(51 * 0.98) is 50, ceil(101 * 0.98) is 99."""
    flat, odd = ended((1, 3)), ended((1, 3), (90, 6))
    assert Outlook((odd, *[flat] * 49), 0.02).may_grow_by(90, 0) == 2.0
    assert Outlook((odd, *[flat] * 99), 0.02).may_grow_by(90, 0) == 1.0
    assert Outlook((odd, odd, *[flat] * 98), 0.02).may_grow_by(90, 0) == 2.0


def test_few_need_more_margin_and_the_fewer_the_more():
    outlooks = [Outlook((ended((1, 2), (60, 3)),) * n, 0.02) for n in (8, 20, 48, 49)]
    margins = [one.margin for one in outlooks]
    ratios = [one.may_grow_by(50, 0) for one in outlooks]
    assert margins == sorted(margins, reverse=True)
    assert ratios == sorted(ratios, reverse=True)
    assert margins[0] > 2 * margins[-1]
    assert (ratios[0], ratios[-1]) == (1.75, 1.5)


def test_where_there_are_reports_time_says_nothing():
    """Those before it spiked after their first report, at a tenth of their time."""
    levels = (Level(1.0, 2 * GIB, 1), Level(10.0, 4 * GIB, 2))
    of = Outlook((Grown(levels=levels, took_s=100, reports=10),) * 49, 0.02)
    assert of.may_grow_by(90, 1) is None
    assert of.may_grow_by(90, 2) == 2.0
    assert of.may_grow_by(90, 3) == 1.0
    assert of.may_grow_by(1, 3) == 1.0


def test_reports_are_stretched_to_the_most():
    """One of 20 epochs and 47 of 5 spiked after the first: at a twentieth, and at a fifth."""
    levels = (Level(1.0, 2 * GIB, 0), Level(10.0, 4 * GIB, 1))
    of = [Grown(levels=levels, took_s=100, reports=n) for n in (20, *[5] * 48)]
    assert Outlook(tuple(of), 0.02).may_grow_by(90, 4) == 2.0
    assert Outlook(tuple(of), 0.02).may_grow_by(90, 5) == 1.0


def test_a_spike_after_the_last_report_is_never_past():
    levels = (Level(1.0, 2 * GIB, 0), Level(95.0, 4 * GIB, 11))
    of = Outlook((Grown(levels=levels, took_s=100, reports=10),) * 49, 0.02)
    assert [of.may_grow_by(90, reports) for reports in (5, 10, 100)] == [2.0] * 3


def test_those_that_told_nothing_count_by_their_time():
    told = Grown(levels=(Level(1.0, 2 * GIB, 0),), took_s=100, reports=10)
    of = Outlook((ended((1, 2), (40, 4)), *[told] * 48), 0.02)
    assert of.may_grow_by(45, 10) == 2.0
    assert of.may_grow_by(55, 10) == 1.0


def test_one_report_at_the_end_says_nothing_of_how_far_an_attempt_is():
    of = Outlook((ended((1, 3), reports=1),) * 49, 0.02)
    assert of.may_grow_by(90, 0) == 1.0


@settings(max_examples=40)
@given(st.integers(5, 3000), st.integers(0, 3000))
def test_reports_are_never_counted_for_more_than_they_are(most, reports):
    """Records that are over their peaks after half of their reports, in cells of any size."""
    levels = (Level(0.0, GIB, 0), Level(1.0, 2 * GIB, most // 2))
    of = Outlook((Grown(levels=levels, took_s=100, reports=most),) * 49, 0.02)
    ratio = of.may_grow_by(90, reports)
    if SLOWER * reports < most // 2:
        assert ratio == 2.0
    elif SLOWER * reports >= most // 2 + most / CELLS:
        assert ratio == 1.0
