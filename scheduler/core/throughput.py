"""What a device gets done by how many at once: what is kept, and how it is taken in. Pure.

Who runs, what they report and how they end goes in; what one neighbour more was worth comes out.
What is made of that (a limit, and tests) is in ``tuning``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import chain
from math import log

import msgspec

from scheduler.core import course as courses_
from scheduler.core.course import MIN_REPORTS, Course, Ratio, Report, ratios, standing, turned
from scheduler.core.gains import Gain, Lasted, by_ends, by_ratios

#: An attempt that has not reported yet counts as at work from this age on. Before, it reads its
#: data and the others hardly feel it: what they do meanwhile belongs to neither company.
BEGINS_S = 30.0
RATIOS = 24  #: kept for each company, the newest
LASTED = 96  #: finished attempts kept
#: How far the mean company of a life may be from a whole number that it is counted for.
NEARLY = 0.25
WAIT = 30  #: finished trials until a limit is tried again; twice as many each time that fails


class Test(msgspec.Struct, frozen=True, kw_only=True):
    """*company* is compared with one fewer, and until then no more than that run.

    *ends*: so many have to finish meanwhile; 0: it is measured by reports.
    """

    __test__ = False  # pytest's word, which this is not

    company: int
    since_s: float
    until_s: float
    ends: int = 0


class Tried(msgspec.Struct, frozen=True):
    """How often a company was tested, and how many trials had finished when it last was."""

    times: int = 0
    finished: int = 0


class Throughput(msgspec.Struct, frozen=True, kw_only=True):
    """What was learned of one device. ``at_most`` None: memory alone decides."""

    at_most: int | None = None
    most: int = 0  #: that ran at once since it is looked at
    courses: dict[str, Course] = {}  #: of the attempts that run
    company: int | None = None  #: how many are at work; None: one of them still begins
    changed_at_s: float = 0.0  #: when it last changed who runs
    ratios: tuple[Ratio, ...] = ()  #: of attempts that have ended
    lasted: tuple[Lasted, ...] = ()
    runs: tuple[str, ...] = ()  #: whose trials it was learned from
    finished: int = 0  #: trials, since it is looked at
    retry_at: int | None = None  #: the number of these at which the limit is tried again
    wait: int = WAIT
    is_climbing: bool = False  #: one more is tried because that may have become better
    strangers_share: float | None = None  #: of the memory, when the limit was set
    tried: dict[int, Tried] = {}  #: by company
    test: Test | None = None

    @property
    def limit(self) -> int | None:
        """Attempts at once for now, a test included."""
        testing = None if self.test is None else self.test.company - 1
        return min((n for n in (self.at_most, testing) if n is not None), default=None)

    @property
    def is_tested(self) -> bool:
        """Whether it is for a test, and not for good, that no more may start."""
        return self.test is not None and self.limit != self.at_most


class Start(msgspec.Struct, frozen=True):
    """Whose attempt it is, and when it was started."""

    run: str
    at_s: float


def followed(it: Throughput, running: Mapping[str, Start], now_s: float) -> Throughput:
    """*running* are all that run now, by attempt."""
    since_s, here = it.changed_at_s, len(it.courses)
    courses = {id: _older(course, here, since_s, now_s) for id, course in it.courses.items()}
    gone = [courses.pop(id) for id in it.courses if id not in running]
    for id, start in running.items():
        if id not in courses:
            courses[id] = Course(run=start.run, began_at_s=start.at_s)
    told = [ratio for one in gone for ratio in ratios(standing(one, it.company))]
    it = msgspec.structs.replace(
        it,
        courses=courses,
        changed_at_s=now_s,
        most=max(it.most, len(courses)),
        ratios=_newest((*it.ratios, *told)),
    )
    return at_work(it, now_s)


def at_work(it: Throughput, now_s: float) -> Throughput:
    """With the company that is at work now: those that only begin are at work after a while."""
    company: int | None = len(it.courses)
    if not all(one.is_heard or now_s - one.began_at_s >= BEGINS_S for one in it.courses.values()):
        company = None
    if company == it.company:
        return it
    courses = {id: turned(one, it.company) for id, one in it.courses.items()}
    return msgspec.structs.replace(it, company=company, courses=courses)


def heard(it: Throughput, attempt: str, reports: int, now_s: float) -> Throughput:
    """An attempt that runs has reported so often."""
    course, report = it.courses[attempt], Report(at_s=now_s, reports=reports)
    if reports < 1:
        return it
    if not course.is_heard:
        it = _with(it, attempt, msgspec.structs.replace(course, first=report))
    it = at_work(it, now_s)
    is_measuring = it.company is not None
    after = courses_.told(it.courses[attempt], report, is_measuring=is_measuring)
    return _with(it, attempt, after)


def finished(it: Throughput, attempt: str, now_s: float) -> Throughput:
    """An attempt has finished well; it still counts among those that run."""
    course = it.courses[attempt]
    it = msgspec.structs.replace(it, finished=it.finished + 1)
    lasted = _lasted(_older(course, len(it.courses), it.changed_at_s, now_s), now_s)
    if lasted is None:
        return it
    test = it.test
    if test is not None and test.ends and lasted.company == test.company - 1:
        test = msgspec.structs.replace(test, ends=test.ends - 1, until_s=test.until_s)
        if not test.ends:
            test = None
    return msgspec.structs.replace(it, lasted=(*it.lasted, lasted)[-LASTED:], test=test)


def gain(it: Throughput, company: int) -> Gain | None:
    """What so many at once do more than one fewer. None: nothing tells.

    What attempts say of themselves goes before what trials have taken, as those differ by more.
    """
    return _gain(it, company, _told_of(it).get(company, []))


def gains(it: Throughput) -> tuple[Gain, ...]:
    """Of all companies of which something is known, the smallest first."""
    told = _told_of(it)
    companies = sorted(told.keys() | {one.company for one in it.lasted})
    known = (_gain(it, company, told.get(company, [])) for company in companies)
    return tuple(one for one in known if one is not None)


def _gain(it: Throughput, company: int, told: list[Ratio]) -> Gain | None:
    if company < 2:
        return None
    return by_ratios(company, told[-RATIOS:]) if told else by_ends(company, it.lasted)


def _told_of(it: Throughput) -> dict[int, list[Ratio]]:
    """What attempts that have ended say of each company, and then what those say that run."""
    told: dict[int, list[Ratio]] = {}
    running = (ratios(standing(one, it.company)) for one in it.courses.values())
    for one in chain(it.ratios, *running):
        told.setdefault(one.company, []).append(one)
    return told


def forgotten(it: Throughput, company: int, *, keep: int = 0) -> Throughput:
    """Without what is known of *company* against one fewer, but for the newest *keep* ratios."""
    known = [one for one in it.ratios if one.company == company]
    old = known[: max(0, len(known) - keep)]
    others = [one for one in it.ratios if one.company != company]
    return msgspec.structs.replace(
        it,
        ratios=(*others, *known[len(old) :]),
        lasted=tuple(one for one in it.lasted if one.company != company),
        courses={
            id: msgspec.structs.replace(one, stays=one.stays[-1:]) for id, one in it.courses.items()
        },
        tried={key: one for key, one in it.tried.items() if key != company},
    )


def _with(it: Throughput, attempt: str, course: Course) -> Throughput:
    return msgspec.structs.replace(it, courses={**it.courses, attempt: course})


def _older(course: Course, here: int, since_s: float, now_s: float) -> Course:
    """*here* ran at once since then."""
    span_s = max(0.0, now_s - max(since_s, course.began_at_s))
    company_sum_s = course.company_sum_s + here * span_s
    return msgspec.structs.replace(course, company_sum_s=company_sum_s)


def _lasted(course: Course, now_s: float) -> Lasted | None:
    """None: it lived in more than one company, or took no time."""
    life_s, first, last = now_s - course.began_at_s, course.first, course.last
    if life_s <= 0:
        return None
    mean = course.company_sum_s / life_s
    company = round(mean)
    if company < 1 or abs(mean - company) > NEARLY:
        return None
    by_reports = False
    if first is not None and last is not None:
        reports, span_s = last.reports - first.reports, last.at_s - first.at_s
        if by_reports := reports >= MIN_REPORTS and span_s > 0:
            life_s = span_s / reports
    return Lasted(run=course.run, company=company, log_s=log(life_s), by_reports=by_reports)


def _newest(known: Iterable[Ratio]) -> tuple[Ratio, ...]:
    """The newest of each company, in their order."""
    left: dict[int, int] = {}
    newest: list[Ratio] = []
    for one in reversed(tuple(known)):
        left[one.company] = left.get(one.company, RATIOS) - 1
        if left[one.company] >= 0:
            newest.append(one)
    return tuple(reversed(newest))
