"""When a start is held back for a while, to measure what fewer get done. Pure.

Where each end is followed by a start nothing tells what a neighbour is worth: so a test holds one
back. With many at once one more or less is not seen beside the noise, and on a plateau above a
better number none of them harms: so about half are held back first, which is a search. Does not
cover what follows of what was measured (``tuning``).
"""

from __future__ import annotations

import msgspec

from scheduler.core.course import MIN_REPORTS, MIN_SPAN_S, Course, standing
from scheduler.core.gains import Gain
from scheduler.core.throughput import Test, Throughput, Tried, all_gains, forgotten, gain

#: The longest that a start is held back for a test by reports, as a share of a trial. It loses at
#: most that share of one trial, and nothing where the neighbour did not pay.
HELD_SHARE = 0.5
#: Tests of one company that tell nothing for sure, until it is left at that for a while. Where one
#: fewer seem to do as much they lose nothing, and go on.
TESTS = 6
APART = 15  #: finished trials from one such test to the next
#: Of those left so many have to be measured; for a search more, as half of them leave meanwhile.
TESTED_SHARE = 0.5
SEARCHED_SHARE = 0.65
SEARCHED = 4  #: so many at once, or more, are compared with half of them
#: The longest of a search, as a share of a trial: until so many have left, and then as long as it
#: takes to measure.
SEARCH_SHARE = 1.0
#: Finished trials from one search to the next, for each of those at once: a search costs about a
#: third of a trial for each where all of them pay. Twice as many after the second one, and so on.
SEARCHES_APART = 4
#: Finished trials after which what was found is looked at again.
AGAIN = 100
KEPT = 6  #: ratios that then still count
#: Without reports only the time that trials take can tell, and many have to end for that. So it is
#: asked late and ever more seldom, and this share of the trials may be lost by it.
LOST_SHARE = 0.03
BLOCK = 4  #: trials that have to finish in the smaller company
MIN_LASTED = 12  #: and before that in the larger one
#: That neighbours pay ends a search with this share of the usual certainty: meanwhile it costs the
#: more the likelier that is.
LIKELY = 2 / 3


def ended(it: Throughput, gone: Course, was: int, now_s: float) -> Throughput:
    """One of *was* attempts that were at work has just ended: the moment for a test."""
    if it.test is not None or was < 2 or len(it.courses) != was - 1:
        return it
    if it.at_most is not None and was > it.at_most:
        return it
    it = _reopened(it, was)
    search = _search(it, gone, was, now_s)
    if search is not None:
        times = it.searched.get(was, Tried()).times + 1
        searched = {**it.searched, was: Tried(times, it.finished)}
        return msgspec.structs.replace(it, test=search, searched=searched)
    if _is_searched_first(it, was) and _by_reports(it, gone, was, now_s, share=0):
        return it
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
    if test.company - test.fewer > 1:
        conclusive = any(_is_shown(one) for one in _far(it, test.company))
        is_over = _is_search_over(it, test, now_s)
    else:
        known = gain(it, test.company)
        conclusive = known is not None and known.verdict != "open"
        is_over = now_s >= test.until_s
    if conclusive or is_over or (not test.ends and _is_measured(it, test)):
        return msgspec.structs.replace(it, test=None)
    return it


def _reopened(it: Throughput, company: int) -> Throughput:
    """What was found so long ago is only half believed."""
    looks = (it.tried.get(company, Tried()), it.searched.get(company, Tried()))
    if it.finished - max(one.finished for one in looks) < AGAIN:
        return it
    it = forgotten(it, company, keep=KEPT)
    return msgspec.structs.replace(it, tried={**it.tried, company: Tried(0, it.finished)})


def _search(it: Throughput, gone: Course, was: int, now_s: float) -> Test | None:
    """None: it is known what the larger half of them is worth, or was asked not long ago."""
    fewer, tried = was // 2, it.searched.get(was, Tried())
    known = _far(it, was)
    if was < SEARCHED or it.is_climbing or any(_is_shown(one) for one in known):
        return None
    is_free = any(one.fewer == fewer and one.log_gain < one.wanted for one in known)
    has_told = any(one.fewer == fewer for one in known) or tried.times > 1
    is_early = has_told and it.finished - tried.finished < SEARCHES_APART * was * tried.times
    if not is_free and (is_early or tried.times >= TESTS):
        return None
    test = _by_reports(it, gone, was, now_s, share=SEARCHED_SHARE)
    if test is None:
        return None
    until_s = now_s + SEARCH_SHARE * _life_s(it, gone, now_s)
    return msgspec.structs.replace(test, fewer=fewer, until_s=until_s)


def _far(it: Throughput, company: int) -> list[Gain]:
    """What is known of *company* against two fewer, and still fewer."""
    return [one for one in all_gains(it) if one.company == company and one.fewer < company - 1]


def _is_searched_first(it: Throughput, was: int) -> bool:
    """Whether one neighbour more is not asked for yet, as a search tells more for as much."""
    is_known = it.searched.get(was, Tried()).times > 1 or bool(_far(it, was))
    return was > SEARCHED and not it.is_climbing and not is_known


def _is_shown(one: Gain) -> bool:
    """Whether a search would be for nothing; that neighbours pay needs no certainty for that."""
    return one.verdict == "harms" or one.log_gain - LIKELY * one.slack > one.wanted


def _is_search_over(it: Throughput, test: Test, now_s: float) -> bool:
    """Where enough have left in time, those that stay have some more to tell."""
    has_left = len(it.courses) <= test.fewer
    extra_s = HELD_SHARE * (test.until_s - test.since_s) if has_left else 0.0
    return now_s >= test.until_s + extra_s


def _is_worth_a_test(known: Gain, tried: Tried, finished: int) -> bool:
    if known.verdict != "open" or known.log_gain < 0:
        return known.verdict == "open"
    return tried.times < TESTS and (not tried.times or finished - tried.finished >= APART)


def _by_reports(
    it: Throughput, gone: Course, was: int, now_s: float, share: float = TESTED_SHARE
) -> Test | None:
    """None: too few of those left have reported enough among as many, or they do so too seldom."""
    stays = [one.stays[-1] for one in it.courses.values() if one.stays]
    known = [one for one in stays if one.company == was and one.is_measured]
    if not known or len(known) < share * len(it.courses):
        return None
    needed_s = max(one.span_s / one.reports for one in known) * (MIN_REPORTS + 1)
    most_s = HELD_SHARE * _life_s(it, gone, now_s)
    if max(needed_s, MIN_SPAN_S) > most_s:
        return None
    return Test(company=was, fewer=was - 1, since_s=now_s, until_s=now_s + most_s)


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
    until_s = now_s + most_s
    return Test(company=was, fewer=was - 1, since_s=now_s, until_s=until_s, ends=BLOCK)


def _life_s(it: Throughput, gone: Course, now_s: float) -> float:
    """How long a trial takes, at least."""
    return now_s - min(one.began_at_s for one in (gone, *it.courses.values()))


def _is_measured(it: Throughput, test: Test) -> bool:
    """Whether all that run have told how fast they are among so few."""
    stays = [standing(one, it.company) for one in it.courses.values()]
    return len(stays) == test.fewer and all(
        one and one[-1].company == test.fewer and one[-1].is_measured for one in stays
    )
