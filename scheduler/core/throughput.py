"""What a device gets done by how many at once: what is kept, and how it is taken in. Pure.

Who runs, what they report and how they end goes in; what one neighbour more was worth comes out.
Tests are in ``holding``, what is made of it all, a limit, in ``tuning``.
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
RATIOS = 24  #: kept for each company against one fewer, the newest
FAR_RATIOS = 192  #: kept of companies further apart, all together
LASTED = 96  #: finished attempts kept
#: How far the mean company of a life may be from a whole number that it is counted for.
NEARLY = 0.25
WAIT = 30  #: finished trials until a limit is tried again; twice as many each time that fails


class Test(msgspec.Struct, frozen=True, kw_only=True):
    """*company* is compared with *fewer*, and until then no more than that run.

    *ends*: so many have to finish meanwhile; 0: it is measured by reports.
    """

    __test__ = False  # pytest's word, which this is not

    company: int
    fewer: int
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
    by_ratios: tuple[Gain, ...] = ()  #: what these tell
    lasted: tuple[Lasted, ...] = ()
    by_ends: tuple[Gain, ...] = ()  #: what these tell, by company
    runs: tuple[str, ...] = ()  #: whose trials it was learned from
    finished: int = 0  #: trials, since it is looked at
    retry_at: int | None = None  #: the number of these at which the limit is tried again
    wait: int = WAIT
    is_climbing: bool = False  #: one more is tried because that may have become better
    strangers_share: float | None = None  #: of the memory, when the limit was set
    tried: dict[int, Tried] = {}  #: by company, against one fewer
    searched: dict[int, Tried] = {}  #: by company, against a smaller one
    test: Test | None = None

    @property
    def limit(self) -> int | None:
        """Attempts at once for now, a test included."""
        testing = None if self.test is None else self.test.fewer
        return min((n for n in (self.at_most, testing) if n is not None), default=None)

    @property
    def is_tested(self) -> bool:
        """Whether it is for a test, and not for good, that no more may start."""
        return self.test is not None and self.limit != self.at_most

    def tells(self, attempt: str) -> bool:
        """Whether a report of *attempt* can change what follows: one that has lived in one company
        only has nothing to compare."""
        return (
            self.test is not None or self.at_most is not None or bool(self.courses[attempt].stays)
        )


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
    )
    if told:
        it = _with_ratios(it, _newest((*it.ratios, *told)))
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
    if test is not None and test.ends and lasted.company == test.fewer:
        test = msgspec.structs.replace(test, ends=test.ends - 1, until_s=test.until_s)
        if not test.ends:
            test = None
    old, new = it.lasted[: max(0, len(it.lasted) + 1 - LASTED)], (*it.lasted, lasted)[-LASTED:]
    about = {near for one in (*old, lasted) for near in (one.company, one.company + 1)}
    it = msgspec.structs.replace(it, lasted=new, test=test)
    return msgspec.structs.replace(it, by_ends=_by_ends(it, about))


def gain(it: Throughput, company: int) -> Gain | None:
    """What so many at once do more than one fewer. None: nothing tells."""
    return next((one for one in gains(it) if one.company == company), None)


def gains(it: Throughput) -> tuple[Gain, ...]:
    """Of each company against one fewer, where something is known, the smallest first."""
    return tuple(one for one in all_gains(it) if one.company - one.fewer == 1)


def all_gains(it: Throughput) -> tuple[Gain, ...]:
    """Of any two companies of which something is known, by the larger one and the smaller one.

    What attempts say of themselves goes before what trials have taken, as those differ by more.
    """
    stays = (standing(one, it.company) for one in it.courses.values())
    running = [ratio for of in stays if len(of) > 1 for ratio in ratios(of)]
    touched = {(one.company, one.fewer) for one in running}
    known = [one for one in it.by_ratios if (one.company, one.fewer) not in touched]
    if touched:
        known += _by_ratios(chain(it.ratios, running), touched)
    if it.by_ends:
        told = touched | {(one.company, one.fewer) for one in it.ratios}
        known += [one for one in it.by_ends if (one.company, one.fewer) not in told]
    return tuple(sorted(known, key=lambda one: (one.company, one.fewer)))


def _with_ratios(it: Throughput, of: tuple[Ratio, ...]) -> Throughput:
    pairs = {(one.company, one.fewer) for one in of}
    gains = _by_ratios(of, pairs)
    known = tuple(sorted(gains, key=lambda one: (one.company, one.fewer)))
    return msgspec.structs.replace(it, ratios=of, by_ratios=known)


def _by_ratios(of: Iterable[Ratio], pairs: set[tuple[int, int]]) -> list[Gain]:
    """Of *pairs*, those of which enough is told."""
    told: dict[tuple[int, int], list[Ratio]] = {pair: [] for pair in pairs}
    for one in of:
        if (one.company, one.fewer) in pairs:
            told[one.company, one.fewer].append(one)
    known = (by_ratios(*pair, those[-RATIOS:]) for pair, those in told.items())
    return [one for one in known if one is not None]


def _by_ends(it: Throughput, companies: set[int]) -> tuple[Gain, ...]:
    """With those of *companies* anew, which alone are touched by what has ended."""
    others = [one for one in it.by_ends if one.company not in companies]
    anew = (by_ends(company, it.lasted) for company in sorted(companies) if company > 1)
    found = (*others, *(one for one in anew if one is not None))
    return tuple(sorted(found, key=lambda one: one.company))


def forgotten(it: Throughput, company: int, *, keep: int = 0) -> Throughput:
    """Without what is known of so many or more against fewer, but for the newest *keep* ratios."""
    known = [one for one in it.ratios if one.fewer < company <= one.company]
    near = [one for one in known if one.company - one.fewer == 1]
    left = near[max(0, len(near) - keep) :]
    others = [one for one in it.ratios if not one.fewer < company <= one.company]
    it = msgspec.structs.replace(
        _with_ratios(it, (*others, *left)),
        lasted=tuple(one for one in it.lasted if one.company != company),
        courses={
            id: msgspec.structs.replace(one, stays=one.stays[-1:]) for id, one in it.courses.items()
        },
        tried={key: one for key, one in it.tried.items() if key != company},
        searched={key: one for key, one in it.searched.items() if key < company},
    )
    return msgspec.structs.replace(it, by_ends=_by_ends(it, {company, company + 1}))


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
    """The newest of each company against one fewer and of all others, in their order."""
    left: dict[int, int] = {}
    newest: list[Ratio] = []
    for one in reversed(tuple(known)):
        is_near = one.company - one.fewer == 1
        kind, most = (one.company, RATIOS) if is_near else (0, FAR_RATIOS)
        left[kind] = left.get(kind, most) - 1
        if left[kind] >= 0:
            newest.append(one)
    return tuple(reversed(newest))
