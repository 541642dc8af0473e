"""Which waiting trial may start where, and why the others may not. Pure.

Covers admission. Does not cover ending attempts (``watch``) or what follows an end (``retry``).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Literal

import msgspec

from scheduler.core import rules as in_force
from scheduler.core.ledger import Account
from scheduler.core.model import Budget, Rule, Run, Trial
from scheduler.core.rules import Rules

#: Trials behind the head of a queue that are looked at for one that fits. Bounds the work of an
#: event; hosts offer a few at a time.
WINDOW = 32
#: A trial overtaken this often has a device drained for it. The story this prevents: 1. a trial of
#: 12 GiB heads the queue of a 16 GiB card, 2. whenever one of the small ones behind it ends, the
#: next small one fits into its place and the big one does not, 3. it waits until the last of
#: 1,000 small trials is done.
OVERTAKEN = 8
#: Near enough to all there is: a second failure there says the same.
NEAR_RATIO = 0.9

#: Why a trial cannot start on a device, the most hopeful first: of several devices' the first is
#: told.
Why = Literal[
    "memory",  #: not enough is left
    "neighbours",  #: it must be alone, and others are there
    "alone",  #: another is alone there
    "drained",  #: kept for a trial that was overtaken too often
    "limit",  #: as many run there as may
    "resting",  #: attempts were stopped there just now, or it had a GPU fault
    "ruled",  #: a rule is in force by which it may not
    "silent",  #: the device does not say what is used
    "too_big",  #: more than the device can ever give
    "out_of_service",  #: it had too many GPU faults
    "own_limit",  #: as many of its run's run as may
    "no_device",  #: none that its run may use is there
]
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

Key = tuple[str, int]  #: a trial: its run and its number


def key_of(trial: Trial) -> Key:
    return trial.run, trial.number


class Waiting(msgspec.Struct, frozen=True, kw_only=True):
    """A trial in the queue. ``told`` is the kind of reason its host was last given."""

    trial: Trial
    since_s: float
    overtaken: int = 0
    told: Why | None = None


class Queue(msgspec.Struct, frozen=True, kw_only=True):
    """What waits of one run, the next to start first."""

    run: Run
    active: int  #: attempts of it that run now
    most_bytes: int | None  #: the most that one of them could lately be given; None: not known
    waiting: Sequence[Waiting]
    rules: Rules = ()  #: for this run

    def limited(self) -> Refusal | None:
        """Why none of it may start on any device; None: nothing speaks against it."""
        rule = in_force.forbidding(self.rules, self.active)
        if rule is not None:
            return Refusal(why="ruled", run=self.run, rule=rule)
        if self.run.max_attempts is not None and self.active >= self.run.max_attempts:
            return Refusal(why="own_limit", run=self.run)
        return None


class Room(msgspec.Struct, frozen=True, kw_only=True):
    """A device as admission sees it."""

    budget: Budget
    account: Account  #: with strangers at the most that they held lately
    problem: str | None  #: why the account is unknown
    attempts: int  #: of ours, that run now
    empty: bool  #: none of ours runs there or has memory to give back
    alone: bool  #: one is there that must have no neighbours
    at_most: int | None  #: attempts at once, learned
    runs: frozenset[str] = frozenset()  #: those that have attempts there that run now
    rests: bool
    rests_because: str | None = None  #: None: it was short of memory
    out_because: str | None = None  #: why it is out of service
    drained_for: Key | None = None
    strangers_now_bytes: int | None = None  #: as opposed to lately
    rules: Rules = ()  #: for this device

    @property
    def key(self) -> str:
        return self.budget.device.key

    def usual_reserve_bytes(self, run: Run) -> int:
        """What is kept free where no rule wants more."""
        return self.budget.reserve_bytes if run.reserve_bytes is None else run.reserve_bytes

    def reserve_bytes(self, run: Run) -> int:
        return max(self.usual_reserve_bytes(run), in_force.kept_bytes(self.rules))

    def ceiling_bytes(self, run: Run) -> int | None:
        """The most that *run* could ever be given here; None: the total is not known."""
        total = self.account.total_bytes
        if total is None:
            total = self.budget.device.total_bytes
        return None if total is None else total - self.usual_reserve_bytes(run)

    def forbidding(self) -> Rule | None:
        """The rule by which no more may start here than do run; None: none."""
        return in_force.forbidding(self.rules, self.attempts)

    def limit(self, run: Run | None = None) -> int | None:
        """Attempts at once: the device's default, which a run with a number of its own overrules,
        and what was learned. None: memory alone decides.

        What was learned does not hold for a run that keeps its concurrency, unless another's
        attempts are there: those would pay for it.
        """
        default, learned = self.budget.max_attempts, self.at_most
        if run is not None and run.max_attempts is not None:
            default = None
        if run is not None and run.keeps_concurrency and self.runs <= {run.id}:
            learned = None
        return min((n for n in (default, learned) if n is not None), default=None)

    def most_at_once(self) -> int | None:
        """The same, with the rules."""
        rule = in_force.strictest(self.rules)
        limits = (self.limit(), None if rule is None else rule.max_attempts)
        return min((n for n in limits if n is not None), default=None)

    def promise_bytes(self, trial: Trial, run: Run) -> int:
        """The promise for *trial*: what it was seen to need, its run's, or the device's."""
        if trial.want_bytes is not None:
            return trial.want_bytes
        return self.budget.promise_bytes if run.promise_bytes is None else run.promise_bytes


class Place(msgspec.Struct, frozen=True, kw_only=True):
    """Where a trial may start, and with what promise."""

    room: Room
    headroom_bytes: int
    promise_bytes: int
    alone: bool


class Refusal(msgspec.Struct, frozen=True, kw_only=True):
    """Why a trial cannot start; put into words in ``reasons``."""

    why: Why
    run: Run
    room: Room | None = None
    need_bytes: int | None = None
    rule: Rule | None = None  #: of "ruled"; with ``need_bytes`` it is short of memory by it


class Admission(msgspec.Struct, frozen=True, kw_only=True):
    trial: Trial
    run: Run
    place: Place


def next_start(queues: Sequence[Queue], rooms: Sequence[Room]) -> Admission | None:
    """The next trial to start; None: none can.

    First fit: a trial behind the head of its queue starts where the head does not fit, so that no
    memory lies idle.
    """
    learned = not any(queue.run.keeps_concurrency for queue in queues)
    if not any(_is_open(room, learned=learned) for room in rooms):
        return None
    for queue in queues:
        for trial in _unlike(queue):
            answer = place(trial, queue, rooms)
            if isinstance(answer, Place):
                return Admission(trial=trial, run=queue.run, place=answer)
    return None


def place(trial: Trial, queue: Queue, rooms: Sequence[Room]) -> Place | Refusal:
    """The allowed device with the most headroom of those that can take *trial*."""
    run, limited = queue.run, queue.limited()
    if limited is not None:
        return limited
    best: Place | None = None
    refusal = Refusal(why="no_device", run=run)
    for room in allowed(run, rooms):
        answer = _fit(trial, run, room, queue.most_bytes)
        if isinstance(answer, Place):
            if best is None or answer.headroom_bytes > best.headroom_bytes:
                best = answer
        elif refusal.room is None or _rank(answer) < _rank(refusal):
            refusal = answer
    return best or refusal


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


def _unlike(queue: Queue) -> Iterator[Trial]:
    """The first trials of the queue, but of those that want the same only the first, and the one
    that a device may be drained for."""
    seen: set[tuple[int | None, bool, bool]] = set()
    for waiting in islice(queue.waiting, WINDOW):
        trial = waiting.trial
        want = (trial.want_bytes, trial.alone, trial.attempts > 0)
        if want not in seen or waiting.overtaken >= OVERTAKEN:
            seen.add(want)
            yield trial


def _is_open(room: Room, *, learned: bool) -> bool:
    """Whether anything at all could start there now; most events find all devices full.

    *learned*: the limit that was learned holds for all that wait.
    """
    limit = room.at_most if learned else None
    if room.alone or room.rests or room.out_because or room.account.left_bytes is None:
        return False
    if room.account.left_bytes <= 0 or (limit is not None and room.attempts >= limit):
        return False
    return room.forbidding() is None


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
    """A trial that comes back with a want that nobody can promise takes all that there is.

    What was promised first is the user's word, and is held instead: they hear why.
    """
    if trial.alone or trial.want_bytes is None or trial.attempts == 0:
        return trial.alone
    return most is not None and trial.want_bytes > most


def _rank(refusal: Refusal) -> tuple[int, int]:
    left = refusal.room.account.left_bytes if refusal.room else None
    return _HOPE.get(refusal.why, len(_HOPE)), -(left or 0)
