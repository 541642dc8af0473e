"""How fast one attempt goes in which company, by what it reports. Pure.

An attempt that has lived in two companies tells what a neighbour costs by the ratio of its own two
rates, whether its trial is a slow one or a fast one. Does not cover what follows of many such
ratios (``gains``, ``throughput``).
"""

from __future__ import annotations

from collections.abc import Sequence
from math import log

import msgspec

MIN_REPORTS = 4  #: of a stay that counts, after the report it is measured from
#: A shorter stay is not believed, however often it reported: a validation or a full buffer weighs
#: too much in it.
MIN_SPAN_S = 5.0
#: The rate just before a change is compared with that just after, not with that of the whole life:
#: many trainings become slower or faster as they go on.
RECENT_REPORTS = 16
RECENT_S = 60.0
STAYS = 8  #: kept of an attempt


class Stay(msgspec.Struct, frozen=True, kw_only=True):
    """What was reported while so many ran at once, from the first report there to the last."""

    company: int
    reports: int
    span_s: float

    @property
    def is_measured(self) -> bool:
        return self.reports >= MIN_REPORTS and self.span_s >= MIN_SPAN_S

    @property
    def is_long(self) -> bool:
        return self.reports >= RECENT_REPORTS and self.span_s >= RECENT_S


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """So many reports had been made then."""

    at_s: float
    reports: int


class Course(msgspec.Struct, frozen=True, kw_only=True):
    """An attempt's way so far: its stays, and the reports of the one that goes on."""

    run: str
    began_at_s: float
    first: Report | None = None  #: when it was first heard; the warm-up is before it
    start: Report | None = None  #: of what is measured of this stay
    middle: Report | None = None  #: what ``start`` becomes when enough has come after it
    last: Report | None = None
    stays: tuple[Stay, ...] = ()  #: earlier ones, oldest first
    company_sum_s: float = 0.0  #: seconds of its life, times how many ran at once

    @property
    def is_heard(self) -> bool:
        return self.first is not None


class Ratio(msgspec.Struct, frozen=True):
    """One attempt's own rate among ``company`` over that among ``fewer``, by its logarithm."""

    company: int
    fewer: int
    log_ratio: float
    rising: bool  #: the larger company came second


def told(course: Course, report: Report, *, is_measuring: bool) -> Course:
    """One more report was heard. *is_measuring*: it is known how many run at once."""
    if course.last is not None and report.reports <= course.last.reports:
        return course
    start = course.start or (report if is_measuring else None)
    middle = course.middle or start
    if start is not None and middle is not None and _stay(0, middle, report).is_long:
        start, middle = middle, report
    return msgspec.structs.replace(
        course, first=course.first or report, start=start, middle=middle, last=report
    )


def turned(course: Course, company: int | None) -> Course:
    """The company has changed; None: what it was could not be told."""
    stays = standing(course, company)[-STAYS:]
    return msgspec.structs.replace(course, stays=stays, start=None, middle=None)


def standing(course: Course, company: int | None) -> tuple[Stay, ...]:
    """All stays, the one that goes on among *company* included.

    One too short to be measured is forgotten when the next one is: where the same company came
    before it and after, it was interrupted, no more.
    """
    if course.start is None or course.last is None or company is None:
        return course.stays
    stay = _stay(company, course.start, course.last)
    if stay.reports < 1:
        return course.stays
    before = course.stays
    if before and before[-1].company != company and not before[-1].is_measured:
        before = before[:-1]
    if not before or before[-1].company != company:
        return (*before, stay)
    if stay.is_long or (stay.is_measured and before[-1].is_long):
        return (*before[:-1], stay)
    both = Stay(
        company=company,
        reports=before[-1].reports + stay.reports,
        span_s=before[-1].span_s + stay.span_s,
    )
    return (*before[:-1], both)


def ratios(stays: Sequence[Stay]) -> list[Ratio]:
    """What the attempt tells of neighbours: each stay against the latest in any other company.

    Of one neighbour more only two stays that follow each other tell: it costs too little to be
    seen beside what has changed meanwhile.
    """
    found = []
    latest: dict[int, float] = {}
    before: int | None = None
    for stay in stays:
        if not stay.is_measured:
            continue
        log_rate, company = log(stay.reports / stay.span_s), stay.company
        for other, other_rate in latest.items():
            if other == before or abs(other - company) > 1:
                is_rising = company > other
                slower = log_rate - other_rate if is_rising else other_rate - log_rate
                found.append(Ratio(max(company, other), min(company, other), slower, is_rising))
        latest[company], before = log_rate, company
    return found


def period_s(course: Course, company: int | None) -> float | None:
    """Seconds between two reports now; None: not measured."""
    stays = standing(course, company)
    if not stays or stays[-1].company != company or not stays[-1].is_measured:
        return None
    return stays[-1].span_s / stays[-1].reports


def _stay(company: int, start: Report, end: Report) -> Stay:
    span_s = max(0.0, end.at_s - start.at_s)
    return Stay(company=company, reports=end.reports - start.reports, span_s=span_s)
