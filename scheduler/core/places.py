"""What waits, the devices as admission sees them, and its answers. Frozen values.

Covers what can be read off one of them. Which trial may start where is in ``policy``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import msgspec

from scheduler.core import rules as in_force
from scheduler.core.ledger import Account
from scheduler.core.model import Budget, Rule, Run, Trial
from scheduler.core.rules import Rules

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
Key = tuple[str, int]  #: a trial: its run and its number
#: An attempt may hold a tenth more than its promise, and half of the reserve at most, before its
#: own allocations fail. A forecast is wrong by a few percent now and then, and to end a trial for
#: them costs its work, while the reserve is there and mostly idle: of trials of mixed sizes 0
#: instead of 0.9 % of the starts ran out so, and 0.8 % more got done (``bench.packing``). Half,
#: because a device counts as short when half of its reserve is promised; there who holds more than
#: was promised goes first.
SOFT_RATIO = 10


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
    is_tested: bool = False  #: that is so for a while only, to see what one fewer do
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

    def headroom_bytes(self, run: Run) -> int | None:
        """What an attempt of *run* could be promised now; None: none, however small."""
        left = self.account.left_bytes
        if left is None or self.alone or self.rests or self.out_because is not None:
            return None
        limit = self.limit(run)
        if limit is not None and self.attempts >= limit and not self.empty:
            return None
        if self.rules and self.forbidding() is not None:
            return None
        return left - self.reserve_bytes(run)

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

    def cap_bytes(self, run: Run) -> int:
        """The most that an attempt may hold there. One that is alone was promised all there is."""
        if self.alone:
            return self.promise_bytes
        spare = self.room.usual_reserve_bytes(run) // 2
        return self.promise_bytes + min(self.promise_bytes // SOFT_RATIO, spare)


class Refusal(msgspec.Struct, frozen=True, kw_only=True):
    """Why a trial cannot start; put into words in ``reasons``."""

    why: Why
    run: Run
    room: Room | None = None
    need_bytes: int | None = None
    rule: Rule | None = None  #: of "ruled"; with ``need_bytes`` it is short of memory by it
