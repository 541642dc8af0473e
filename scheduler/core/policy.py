"""Which waiting trial may start where, and why the others may not. Pure.

Covers admission. Does not cover ending attempts (``watch``) or what follows an end (``retry``).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from itertools import islice

import msgspec

from scheduler.core import rules as in_force
from scheduler.core.model import Run, Trial
from scheduler.core.places import Place, Queue, Refusal, Room, Why, key_of

#: Trials of a queue that are looked at for one that fits. Bounds the work of an event; hosts offer
#: a few at a time.
WINDOW = 32
#: A trial overtaken this often goes before all new ones, and has a device drained for it where it
#: fits nowhere. Two stories this prevents: 1. a trial of 12 GiB waits for a card of 16 GiB,
#: 2. whenever one of the small ones behind it ends, the next small one fits into its place and the
#: big one does not, 3. it waits until the last of 1,000 small trials is done. And, as the largest
#: that fits goes first: 1. a trial of 1 GiB waits, 2. there always is a larger one that fits, 3. it
#: waits as long. Counted in starts, not in seconds: what nobody overtakes waits for something that
#: draining gives it no sooner, and eight starts are a few trials' time on one card, little on 100.
OVERTAKEN = 8
#: Near enough to all there is: a second failure there says the same, and who wants so much may as
#: well have the rest. The story this prevents: 1. a trial comes back wanting 980 MiB, 1,000 were
#: there lately, 2. somebody else holds 30 MiB more by now, 3. it waits for those, maybe for hours,
#: instead of being tried alone.
NEAR_RATIO = 0.9

_HOPE: dict[Why, int] = {
    "memory": 0,
    "neighbours": 1,
    "alone": 2,
    "drained": 3,
    "limit": 4,
    "resting": 5,
    "ruled": 6,
    "silent": 7,
    "too_big": 8,
    "out_of_service": 9,
}


class Admission(msgspec.Struct, frozen=True, kw_only=True):
    trial: Trial
    run: Run
    place: Place
    passed: int  #: trials of its run that wait in front of it


def next_start(queue: Queue, rooms: Iterable[Room]) -> Admission | None:
    """The next trial of *queue* to start on one of *rooms*; None: none can.

    Those that come back first, then those that were overtaken too often, then the largest that
    fits, so that memory does not lie idle: what is left over is taken by the smaller ones. With
    three that wait, 1.5 to 9 GiB on a device of 14, that finished 1.5 to 2.8 % more than the first
    that fits did.
    """
    if queue.limited() is not None:
        return None
    run = queue.run
    free = [(room.headroom_bytes(run) or 0, room) for room in allowed(run, rooms)]
    most = max((left for left, _ in free), default=0)
    small = {n: least for n, least in _at_least(queue) if least <= most}
    least = min(small.values(), default=most + 1)
    rooms = [room for left, room in free if left >= least]
    for passed in _turns(queue, small):
        trial = queue.waiting[passed].trial
        answer = place(trial, queue, rooms)
        if isinstance(answer, Place):
            return Admission(trial=trial, run=run, place=answer, passed=passed)
    return None


def place(trial: Trial, queue: Queue, rooms: Iterable[Room]) -> Place | Refusal:
    """The best allowed device of those that can take *trial*, or the most hopeful refusal."""
    run, limited = queue.run, queue.limited()
    if limited is not None:
        return limited
    best: Place | None = None
    refusal = Refusal(why="no_device", run=run)
    for room in allowed(run, rooms):
        answer = _fit(trial, run, room, queue.most_bytes)
        if isinstance(answer, Place):
            if best is None or _cost(answer) < _cost(best):
                best = answer
        elif refusal.room is None or _rank(answer) < _rank(refusal):
            refusal = answer
    return best or refusal


def is_too_big(trial: Trial, most_bytes: int | None) -> bool:
    """Whether *trial* is new and wants more than *most_bytes*, the most that any device could give.

    Only by a forecast: what a user promised is held, so that they hear why.
    """
    if trial.attempts or trial.alone or trial.want_bytes is None or most_bytes is None:
        return False
    return trial.want_bytes > most_bytes


def wants_all(want_bytes: int, most_bytes: int | None) -> bool:
    """Whether there is hardly more than *want_bytes*, by the most that any device could give."""
    return most_bytes is not None and want_bytes > NEAR_RATIO * most_bytes


def _cost(place: Place) -> tuple[int, int, int]:
    """The least is best: the fewest neighbours, then the tightest fit.

    Neighbours first, because each slows the others down: on 32 devices of 14 GiB, with trials of
    1.5 to 9 GiB and a pair worth 1.76 of one, that finished 2.4 % more than the most headroom did,
    the tightest fit alone 1.7 %; on 2 to 8 devices they were within 1 % of each other. Of empty
    devices the smallest, whose strangers hold least: it may be somebody's desktop.
    """
    room = place.room
    if not room.attempts:
        return 0, room.account.total_bytes or 0, -place.headroom_bytes
    return room.attempts, place.headroom_bytes - place.promise_bytes, 0


def allowed(run: Run, rooms: Iterable[Room]) -> Iterator[Room]:
    return (room for room in rooms if room.budget.is_for(run))


def could_run(trial: Trial, run: Run, room: Room, most_bytes: int | None) -> bool:
    """Whether the device would take *trial* if nothing of ours were on it."""
    if not room.budget.is_for(run) or room.out_because is not None:
        return False
    if room.account.open_bytes is None or in_force.forbidding(room.rules, 0) is not None:
        return False
    left = room.account.open_bytes - room.reserve_bytes(run)
    if _goes_alone(trial, most_bytes):
        return left >= _least(trial, most_bytes)
    return room.promise_bytes(trial, run) <= left


def _turns(queue: Queue, small: Iterable[int]) -> list[int]:
    """The places *small* of the queue in the order in which they are asked. Of those that want the
    same only the first, and those that a device may be drained for."""
    first: list[int] = []
    new: list[int] = []
    seen: set[tuple[int | None, bool, bool]] = set()
    for number in small:
        waiting = queue.waiting[number]
        trial, is_old = waiting.trial, waiting.overtaken >= OVERTAKEN
        want = (trial.want_bytes, trial.alone, trial.attempts > 0)
        if is_old or want not in seen:
            seen.add(want)
            (first if is_old or trial.attempts else new).append(number)
    new.sort(key=lambda number: _size(queue.waiting[number].trial, queue.run), reverse=True)
    return first + new


def _size(trial: Trial, run: Run) -> float:
    """To compare those of one run. One that must be alone takes all there is."""
    return math.inf if trial.alone else trial.want_bytes or run.promise_bytes or 0


def _at_least(queue: Queue) -> Iterator[tuple[int, int]]:
    """The places in the queue that are looked at, and how much headroom a device must have there:
    with less none takes the trial."""
    most, usual = queue.most_bytes, queue.run.promise_bytes
    for number, waiting in enumerate(islice(queue.waiting, WINDOW)):
        trial = waiting.trial
        if (trial.alone or trial.attempts) and _goes_alone(trial, most):
            yield number, _least(trial, most)
        else:
            want = usual if trial.want_bytes is None else trial.want_bytes
            yield number, want or 1


def _fit(trial: Trial, run: Run, room: Room, most: int | None) -> Place | Refusal:
    if room.out_because is not None:
        return Refusal(why="out_of_service", run=run, room=room)
    rule = room.forbidding()
    if rule is not None:
        return Refusal(why="ruled", run=run, room=room, rule=rule)
    headroom = room.account.headroom_bytes(room.reserve_bytes(run))
    if headroom is None:
        return Refusal(why="silent", run=run, room=room)
    if room.drained_for not in (None, key_of(trial)):
        return Refusal(why="drained", run=run, room=room)
    if room.alone:
        return Refusal(why="alone", run=run, room=room)
    if room.rests:
        return Refusal(why="resting", run=run, room=room)
    if _goes_alone(trial, most):
        return _fit_alone(trial, run, room, headroom, most)
    return _fit_in(trial, run, room, headroom)


def _fit_in(trial: Trial, run: Run, room: Room, headroom: int) -> Place | Refusal:
    limit, ceiling = room.limit(run), room.ceiling_bytes(run)
    if limit is not None and room.attempts >= limit:
        return Refusal(why="limit", run=run, room=room)
    promise = room.promise_bytes(trial, run)
    if ceiling is not None and promise > ceiling:
        return Refusal(why="too_big", run=run, room=room, need_bytes=promise)
    if promise > headroom:
        return _short_of(promise, run, room)
    return Place(room=room, headroom_bytes=headroom, promise_bytes=promise, alone=False)


def _fit_alone(
    trial: Trial, run: Run, room: Room, headroom: int, most: int | None
) -> Place | Refusal:
    """All that is left, once nobody else is there."""
    if not room.empty:
        return Refusal(why="neighbours", run=run, room=room)
    need = _least(trial, most)
    if headroom < need:
        return _short_of(need, run, room)
    return Place(room=room, headroom_bytes=headroom, promise_bytes=headroom, alone=True)


def _short_of(need: int, run: Run, room: Room) -> Refusal:
    """For want of memory; or by the rule without which there would be enough."""
    usual = room.account.headroom_bytes(room.usual_reserve_bytes(run))
    if usual is not None and need <= usual:
        rule = in_force.keeping(room.rules)
        return Refusal(why="ruled", run=run, room=room, need_bytes=need, rule=rule)
    return Refusal(why="memory", run=run, room=room, need_bytes=need)


def _least(trial: Trial, most: int | None) -> int:
    """The least to start alone with: what it failed with before, or nearly all there ever is."""
    nearly = None if most is None else int(NEAR_RATIO * most)
    known = [size for size in (trial.want_bytes, nearly) if size is not None]
    return max(1, min(known, default=0))


def _goes_alone(trial: Trial, most: int | None) -> bool:
    """A trial that comes back wanting about all that there is takes it.

    What was promised first is the user's word, and is held instead: they hear why.
    """
    if trial.alone or trial.want_bytes is None or trial.attempts == 0:
        return trial.alone
    return wants_all(trial.want_bytes, most)


def _rank(refusal: Refusal) -> tuple[int, int]:
    left = refusal.room.account.left_bytes if refusal.room else None
    return _HOPE.get(refusal.why, len(_HOPE)), -(left or 0)
