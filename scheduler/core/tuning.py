"""How many at once a device is best with, by what it gets done. Pure.

A neighbour that lowers the device's total leaves: its place is not given again. Where nothing
tells, because each end is followed by a start, a start is held back for a while: that is a test.
Does not cover limits learned from running out of memory (``concurrency``), nor those of users.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from scheduler.core.course import MIN_REPORTS, MIN_SPAN_S, Course, standing
from scheduler.core.gains import PAYS, Gain
from scheduler.core.reasons import at_once
from scheduler.core.throughput import WAIT, Test, Throughput, Tried, forgotten, gain, gains

#: The longest that a start is held back for a test by reports, as a share of a trial. It loses at
#: most that share of one trial, and nothing where the neighbour did not pay.
HELD_SHARE = 0.5
#: Tests of one company that tell nothing for sure, until it is left at that for a while. Where one
#: fewer seem to do as much they lose nothing, and go on.
TESTS = 6
APART = 15  #: finished trials from one such test to the next
#: Finished trials after which what was found is looked at again.
AGAIN = 100
KEPT = 6  #: ratios that then still count
#: Without reports only the time that trials take can tell, and many have to end for that. So it is
#: asked late and ever more seldom, and this share of the trials may be lost by it.
LOST_SHARE = 0.03
BLOCK = 4  #: trials that have to finish in the smaller company
MIN_LASTED = 12  #: and before that in the larger one
WAIT_MOST = 960
#: What was harmful before is held to be so again with this share of the usual certainty: meanwhile
#: it may cost, and a wrong answer costs one more wait.
CONFIRMED = 2 / 3
#: Strangers that hold more or less than before by this share of the memory use the device in other
#: ways, too: a game does.
STRANGERS_SHARE = 0.1


class Turn(msgspec.Struct, frozen=True, kw_only=True):
    """The limit has changed."""

    before: str
    after: str
    because: str
    evidence: str = ""


def ended(it: Throughput, gone: Course, was: int, now_s: float) -> Throughput:
    """One of *was* attempts that were at work has just ended: the moment for a test."""
    if it.test is not None or was < 2 or len(it.courses) != was - 1:
        return it
    it = _reopened(it, was)
    known, tried = gain(it, was), it.tried.get(was, Tried())
    if known is not None and not _is_worth_a_test(known, tried, it.finished):
        return it
    test = _by_reports(it, gone, was, now_s) or _by_ends(it, gone, was, now_s)
    if test is None:
        return it
    after = {**it.tried, was: Tried(tried.times + 1, it.finished)}
    return msgspec.structs.replace(it, test=test, tried=after)


def looked(it: Throughput, now_s: float) -> Throughput:
    """Without the test, if that has shown what it can."""
    test = it.test
    if test is None:
        return it
    known = gain(it, test.company)
    conclusive = known is not None and known.verdict != "open"
    if conclusive or now_s >= test.until_s or (not test.ends and _is_measured(it, test)):
        return msgspec.structs.replace(it, test=None)
    return it


def met(it: Throughput, runs: Iterable[str]) -> tuple[Throughput, Turn | None]:
    """*runs* have attempts there: what was learned from others may not hold for them."""
    here = sorted(set(runs))
    if set(here) <= set(it.runs):
        return it, None
    if set(it.runs) & set(here) and it.at_most is not None:
        it = msgspec.structs.replace(it, runs=(*it.runs, *here), wait=WAIT)
        return _raised(it, "another run has come")
    before, courses = it.at_most, {id: _as_new(one) for id, one in it.courses.items()}
    it = Throughput(
        courses=courses,
        company=it.company,
        changed_at_s=it.changed_at_s,
        most=len(courses),
        runs=tuple(here),
    )
    if before is None:
        return it, None
    because = "what was measured was another run's"
    return it, Turn(before=at_once(before), after=at_once(None), because=because)


def settled(it: Throughput, strangers_share: float | None) -> tuple[Throughput, Turn | None]:
    """With the limit that the measurements ask for, and what is to be said where that is new.

    *strangers_share*: of the device's memory that others hold; None: not known.
    """
    harmful = _harmful(it)
    if harmful is not None:
        return _lowered(it, harmful, strangers_share)
    if it.at_most is None:
        return it, None
    last = gain(it, it.at_most)
    if it.is_climbing and last is not None and last.verdict == "pays":
        return _raised(it, f"{_said(last)}", _numbers(last))
    if it.retry_at is not None and it.finished >= it.retry_at:
        return _raised(it, f"tried again after {it.wait} finished trials")
    before, now = it.strangers_share, strangers_share
    if before is not None and now is not None and abs(now - before) > STRANGERS_SHARE:
        it = msgspec.structs.replace(it, wait=WAIT)
        return _raised(it, f"strangers hold {now:.0%} of the memory, {before:.0%} when it was set")
    return it, None


# -- tests ---------------------------------------------------------------------------------------


def _reopened(it: Throughput, company: int) -> Throughput:
    """What was found so long ago is only half believed."""
    tried = it.tried.get(company, Tried())
    if it.finished - tried.finished < AGAIN:
        return it
    it = forgotten(it, company, keep=KEPT)
    return msgspec.structs.replace(it, tried={**it.tried, company: Tried(0, it.finished)})


def _is_worth_a_test(known: Gain, tried: Tried, finished: int) -> bool:
    if known.verdict != "open" or known.log_gain < 0:
        return known.verdict == "open"
    return tried.times < TESTS and (not tried.times or finished - tried.finished >= APART)


def _by_reports(it: Throughput, gone: Course, was: int, now_s: float) -> Test | None:
    """None: those left have not reported often enough among as many, or do so too seldom."""
    stays = [one.stays[-1] for one in it.courses.values() if one.stays]
    known = [one for one in stays if one.company == was and one.is_measured]
    if not known or 2 * len(known) < len(it.courses):
        return None
    needed_s = max(one.span_s / one.reports for one in known) * (MIN_REPORTS + 1)
    most_s = HELD_SHARE * _life_s(it, gone, now_s)
    if max(needed_s, MIN_SPAN_S) > most_s:
        return None
    return Test(company=was, since_s=now_s, until_s=now_s + most_s)


def _by_ends(it: Throughput, gone: Course, was: int, now_s: float) -> Test | None:
    """None: those left can tell more, or too little has finished to pay for it."""
    if any(one.company == was for one in it.ratios):
        return None
    lost = BLOCK / (was - 1)  # trials that one place more would have done meanwhile
    tried, known = it.tried.get(was, Tried()), gain(it, was)
    may_be_lost = LOST_SHARE * (it.finished - tried.finished) / (tried.times + 1)
    is_free = known is not None and known.log_gain < 0
    seen = sum(one.company == was for one in it.lasted)
    if seen < MIN_LASTED or (lost > may_be_lost and not is_free):
        return None
    most_s = 3 * lost * _life_s(it, gone, now_s)
    return Test(company=was, since_s=now_s, until_s=now_s + most_s, ends=BLOCK)


def _life_s(it: Throughput, gone: Course, now_s: float) -> float:
    """How long a trial takes, at least."""
    return now_s - min(one.began_at_s for one in (gone, *it.courses.values()))


def _is_measured(it: Throughput, test: Test) -> bool:
    """Whether all that run have told how fast they are among one fewer."""
    stays = [standing(one, it.company) for one in it.courses.values()]
    fewer = test.company - 1
    return len(stays) == fewer and all(
        one and one[-1].company == fewer and one[-1].is_measured for one in stays
    )


# -- the limit -----------------------------------------------------------------------------------


def _harmful(it: Throughput) -> Gain | None:
    """The largest company that does less than one fewer; None where a larger one pays."""
    for one in reversed(gains(it)):
        if it.at_most is not None and one.company > it.at_most:
            continue
        if one.verdict == "pays":
            return None
        again = it.is_climbing and one.company == it.at_most
        if one.verdict == "harms" or (again and one.log_gain + CONFIRMED * one.slack < PAYS):
            return one
    return None


def _lowered(
    it: Throughput, harmful: Gain, strangers_share: float | None
) -> tuple[Throughput, Turn]:
    """Tried again after a while, after a longer one if this was such a try."""
    wait = min(WAIT_MOST, 2 * it.wait) if it.is_climbing else it.wait
    after = msgspec.structs.replace(
        it,
        at_most=harmful.company - 1,
        wait=wait,
        retry_at=it.finished + wait,
        is_climbing=False,
        strangers_share=strangers_share,
        test=None,
    )
    return after, _turn(it, after, _said(harmful), _numbers(harmful))


def _raised(it: Throughput, because: str, evidence: str = "") -> tuple[Throughput, Turn]:
    """One more is tried, and measured anew. Past the most that ever ran the limit goes."""
    assert it.at_most is not None
    company = it.at_most + 1
    after = msgspec.structs.replace(
        forgotten(it, company),
        at_most=None if company > it.most else company,
        retry_at=it.finished + it.wait,
        is_climbing=True,
        strangers_share=None,
        test=None,
    )
    return after, _turn(it, after, because, evidence)


def _turn(it: Throughput, after: Throughput, because: str, evidence: str = "") -> Turn:
    before_after = at_once(it.at_most), at_once(after.at_most)
    return Turn(before=before_after[0], after=before_after[1], because=because, evidence=evidence)


def _as_new(course: Course) -> Course:
    return msgspec.structs.replace(course, stays=())


def _said(one: Gain) -> str:
    return f"{one.company} at once do {one.ratio:.2f} of what {one.company - 1} do"


def _numbers(one: Gain) -> str:
    return f"{one.low_ratio:.2f} to {one.high_ratio:.2f}, measured {one.attempts} times"
