"""An attempt's own rates, by the company in which they were measured."""

from __future__ import annotations

from math import log

import pytest

from scheduler.core.course import Course, Ratio, Report, Stay, ratios, standing, told, turned


def lived(*spans: tuple[int | None, int, float]) -> tuple[Stay, ...]:
    """The stays of one that made so many reports in each company, so many seconds apart."""
    course, now_s, count = Course(run="r", began_at_s=0), 100.0, 0
    for company, reports, apart_s in spans:
        for _ in range(reports + 1):
            now_s, count = now_s + apart_s, count + 1
            report = Report(at_s=now_s, reports=count)
            course = told(course, report, is_measuring=company is not None)
        course = turned(course, company)
    return course.stays


def test_a_rate_is_measured_from_report_to_report() -> None:
    assert lived((3, 5, 20.0)) == (Stay(company=3, reports=5, span_s=100.0),)


def test_what_comes_while_a_neighbour_begins_is_in_no_stay() -> None:
    stays = lived((2, 5, 10.0), (None, 9, 12.0), (3, 5, 15.0))
    assert [stay.company for stay in stays] == [2, 3]
    assert ratios(stays) == [Ratio(3, 2, pytest.approx(log(10 / 15)), True)]


def test_it_falls_when_the_smaller_company_came_second() -> None:
    fell = ratios(lived((3, 5, 15.0), (2, 5, 10.0)))
    assert fell == [Ratio(3, 2, pytest.approx(log(2 / 3)), False)]


@pytest.mark.parametrize("short", [(2, 3, 10.0), (2, 30, 0.1)], ids=["few reports", "no time"])
def test_a_stay_too_short_says_nothing_and_does_not_part_what_is_around_it(
    short: tuple[int, int, float],
) -> None:
    stays = lived((3, 5, 10.0), short, (3, 5, 10.0))
    assert stays == (Stay(company=3, reports=10, span_s=100.0),)
    assert ratios(stays) == []


def test_companies_further_apart_are_compared_across_those_between() -> None:
    found = ratios(lived((7, 5, 35.0), (6, 5, 30.0), (3, 5, 15.0)))
    assert {(one.company, one.fewer): one.log_ratio for one in found} == {
        (7, 6): pytest.approx(log(6 / 7)),
        (7, 3): pytest.approx(log(3 / 7)),
        (6, 3): pytest.approx(log(3 / 6)),
    }
    assert not any(one.rising for one in found)


def test_of_one_neighbour_more_only_stays_that_follow_each_other_tell() -> None:
    """What costs a tenth is not seen beside what an hour changes."""
    found = ratios(lived((4, 5, 20.0), (2, 5, 10.0), (3, 5, 15.0)))
    assert [(one.company, one.fewer) for one in found] == [(4, 2), (3, 2)]


def test_only_the_latest_of_a_long_stay_counts() -> None:
    """An attempt that has become twice as fast is compared by what it did just before."""
    course = Course(run="r", began_at_s=0)
    now_s, count = 0.0, 0
    for apart_s, reports in ((20.0, 100), (10.0, 40)):
        for _ in range(reports):
            now_s, count = now_s + apart_s, count + 1
            course = told(course, Report(at_s=now_s, reports=count), is_measuring=True)
    (stay,) = standing(course, 2)
    assert stay.span_s / stay.reports == 10.0


def test_a_count_that_has_not_grown_is_nothing_new() -> None:
    course = told(Course(run="r", began_at_s=0), Report(at_s=5, reports=3), is_measuring=True)
    assert told(course, Report(at_s=9, reports=3), is_measuring=True) == course
