"""How many at once a device is best with, by what it gets done. Pure.

A neighbour that lowers the device's total leaves: its place is not given again, until it is tried
anew after a while. Does not cover how what neighbours are worth comes to be measured (``holding``),
nor limits learned from running out of memory (``concurrency``), nor those of users.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import groupby

import msgspec

from scheduler.core.course import Course
from scheduler.core.gains import PAYS, Gain
from scheduler.core.reasons import at_once
from scheduler.core.throughput import WAIT, Throughput, all_gains, forgotten, gain

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


def _harmful(it: Throughput) -> Gain | None:
    """The largest company that does no more than a smaller one, and the best of those known.

    None where a larger one pays.
    """
    known = [one for one in all_gains(it) if it.at_most is None or one.company <= it.at_most]
    for _, of in groupby(reversed(known), key=lambda one: one.company):
        those = list(of)
        if any(one.verdict == "pays" for one in those):
            return None
        if harmful := [one for one in those if _harms(it, one)]:
            return min(harmful, key=lambda one: one.log_gain)
    return None


def _harms(it: Throughput, one: Gain) -> bool:
    again = it.is_climbing and one.company == it.at_most and one.company - one.fewer == 1
    return one.verdict == "harms" or (again and one.log_gain + CONFIRMED * one.slack < PAYS)


def _lowered(
    it: Throughput, harmful: Gain, strangers_share: float | None
) -> tuple[Throughput, Turn]:
    """Tried again after a while, after a longer one if this was such a try."""
    wait = min(WAIT_MOST, 2 * it.wait) if it.is_climbing else it.wait
    after = msgspec.structs.replace(
        it,
        at_most=harmful.fewer,
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
    return f"{one.company} at once do {one.ratio:.2f} of what {one.fewer} do"


def _numbers(one: Gain) -> str:
    return f"{one.low_ratio:.2f} to {one.high_ratio:.2f}, measured {one.attempts} times"
