"""What is kept of a device and of a run between two events. Only the core writes them.

Written whole into journals that were shortened (``memory``): a field, once written, keeps its
meaning, and a new one has a default.
"""

from __future__ import annotations

import msgspec

from probes.reading import Reading
from scheduler.core.concurrency import Limit
from scheduler.core.faults import Fault, Outage
from scheduler.core.growth import Followed
from scheduler.core.high_water import Fading, Mark
from scheduler.core.ledger import Account, Claim, balance
from scheduler.core.life import Life, Starting, is_active
from scheduler.core.model import Budget, Run, Trial
from scheduler.core.places import Waiting
from scheduler.core.throughput import Throughput
from scheduler.core.watch import Strain

LAST_S = 5.0  #: how long one that has ended still counts as another's company


class Free(msgspec.Struct, frozen=True, kw_only=True):
    """What a reading said is free; None: it did not say."""

    at_s: float
    free_bytes: int | None


class DeviceState(msgspec.Struct, kw_only=True):
    """A device, what it said last, and the attempts on it."""

    budget: Budget
    found: bool = True
    reading: Reading | None = None
    sampled_at_s: float = 0.0
    baseline_bytes: int | None = None  #: used when none of ours was there
    usual_open_bytes: int | None = None  #: the most that lately was not the strangers'
    history: tuple[Free, ...] = ()  #: the last seconds, oldest first
    limit: Limit = Limit()
    throughput: Throughput = Throughput()
    strain: Strain = Strain()
    rests_until_s: float = 0.0
    rests_because: str | None = None  #: None: it was short of memory
    faults: tuple[Fault, ...] = ()  #: of the last hour, oldest first
    outage: Outage | None = None  #: it is out of service
    drained_for: Trial | None = None
    marks: tuple[Mark, ...] = ()  #: what strangers held lately
    sure_bytes: int | None = None  #: what was theirs beyond doubt at the last reading
    fadings: tuple[Fading, ...] = ()  #: of attempts that are gone since a few seconds
    ended_at_s: tuple[float, ...] = ()  #: of attempts that ended in the last seconds
    followed_at_s: float = 0.0  #: when all its attempts' promises were last looked at
    lives: dict[str, Life] = msgspec.field(default_factory=dict)

    @property
    def key(self) -> str:
        return self.budget.device.key

    def active(self) -> list[Life]:
        return [life for life in self.lives.values() if is_active(life)]

    @property
    def is_followed(self) -> bool:
        """Whether those that are measured are those that run; not so in journals before that."""
        return self.throughput.courses.keys() == {life.lease.attempt.id for life in self.active()}

    @property
    def at_most(self) -> int | None:
        """Attempts at once, by all that was learned; None: memory alone decides."""
        learned = (self.limit.at_most, self.throughput.limit)
        return min((n for n in learned if n is not None), default=None)

    def rest(self, until_s: float, because: str | None) -> None:
        """Let nothing start there until then; the longest rest counts."""
        if until_s > self.rests_until_s:
            self.rests_until_s, self.rests_because = until_s, because

    def forget_strangers(self) -> None:
        """What was seen of them lately says nothing any more."""
        self.marks, self.fadings, self.sure_bytes = (), (), None

    def account(self) -> Account:
        claims = [
            Claim(life.lease.promise_bytes, life.lease.held_bytes) for life in self.lives.values()
        ]
        return balance(self.reading, claims, baseline_bytes=self.baseline_bytes)

    def company(self, now_s: float, since_s: float) -> int:
        """Attempts of ours with a process, those included that ended just now and after *since_s*.

        One that had ended before another started was no company of that: 1. a trial runs out of
        memory within seconds, 2. it comes back, alone, and runs out again, 3. its own first attempt
        counts as its company, so it comes back again and again instead of being told not to fit.
        """
        here = sum(not isinstance(life, Starting) for life in self.active())
        return here + sum(at_s > since_s and now_s - at_s <= LAST_S for at_s in self.ended_at_s)


class RunState(msgspec.Struct, kw_only=True):
    """A run, what waits of it, and which of its attempts run."""

    run: Run
    order: int
    joined: bool = True
    halted: str | None = None  #: why its host was told that nothing more starts
    waiting: list[Waiting] = msgspec.field(default_factory=list)
    awaited: set[int] = msgspec.field(default_factory=set)  #: the numbers of those that wait
    active: set[str] = msgspec.field(default_factory=set)
    made_way: set[int] = msgspec.field(default_factory=set)  #: stopped, and to come back first
    followed: Followed = Followed()
