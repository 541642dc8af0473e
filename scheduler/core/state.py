"""All that the core knows between two events. The core is its only writer.

Covers keeping it whole: an attempt is in one place, and what is worked out of it is worked out
anew when it changes. Does not cover any decision.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from itertools import islice

import msgspec

from probes.reading import Device, Reading
from scheduler.core.actions import Note
from scheduler.core.concurrency import Limit
from scheduler.core.faults import Fault, Outage
from scheduler.core.ledger import Account, Claim, balance
from scheduler.core.life import Began, Ended, Life, Releasing, Starting, is_active, step
from scheduler.core.model import Attempt, Budget, Change, Process, Run, Trial
from scheduler.core.policy import Key, Queue, Room, Waiting, could_run, key_of
from scheduler.core.retry import number_of
from scheduler.core.watch import Strain

LAST_S = 5.0  #: how long one that has ended still counts as another's company
CHANGES = 200  #: kept to be shown
PAST = 256  #: ended attempts that a host may still ask about


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
    strain: Strain = Strain()
    rests_until_s: float = 0.0
    rests_because: str | None = None  #: None: it was short of memory
    faults: tuple[Fault, ...] = ()  #: of the last hour, oldest first
    outage: Outage | None = None  #: it is out of service
    drained_for: Trial | None = None
    ended_at_s: tuple[float, ...] = ()  #: of attempts that ended in the last seconds
    lives: dict[str, Life] = msgspec.field(default_factory=dict)

    @property
    def key(self) -> str:
        return self.budget.device.key

    def active(self) -> list[Life]:
        return [life for life in self.lives.values() if is_active(life)]

    def rest(self, until_s: float, because: str | None) -> None:
        """Let nothing start there until then; the longest rest counts."""
        if until_s > self.rests_until_s:
            self.rests_until_s, self.rests_because = until_s, because

    def account(self) -> Account:
        claims = [
            Claim(life.lease.attempt.promise_bytes, life.lease.held_bytes)
            for life in self.lives.values()
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


class State:
    """Devices, runs, attempts."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self.devices: dict[str, DeviceState] = {}
        self.runs: dict[str, RunState] = {}
        self.changes: deque[Change] = deque(maxlen=CHANGES)
        self.past: dict[str, Releasing] = {}
        self._numbers: dict[Key, int] = {}  #: of the last attempt of each trial
        self._rooms: dict[str, Room] = {}

    # -- attempts ----------------------------------------------------------------------------------

    def find(self, attempt: str) -> Life | None:
        """None: never heard of, or long gone."""
        for device in self.devices.values():
            if attempt in device.lives:
                return device.lives[attempt]
        return self.past.get(attempt)

    def lives(self) -> Iterator[Life]:
        for device in self.devices.values():
            yield from device.lives.values()

    def keep(self, life: Life) -> None:
        """Put *life* in the place of what was known of its attempt, or add it."""
        attempt = life.lease.attempt
        if isinstance(life, Releasing) and attempt.id in self.past:
            self.past[attempt.id] = life
            return
        self.devices[attempt.device].lives[attempt.id] = life
        active = self.runs[attempt.trial.run].active
        (active.add if is_active(life) else active.discard)(attempt.id)
        self.touch(attempt.device)

    def begin(self, life: Life, process: Process) -> None:
        after = step(life, Began(process=process))
        assert after is not None
        self.keep(after)

    def end(self, life: Life, at_s: float) -> Releasing:
        """Its process is gone; what it was promised still counts."""
        device = self.devices[life.lease.attempt.device]
        used = device.reading.used_bytes if device.reading else None
        company = device.company(at_s, since_s=life.lease.attempt.started_at_s)
        after = step(life, Ended(at_s=at_s, used_bytes=used, company=company))
        assert isinstance(after, Releasing)
        recent = [end_s for end_s in device.ended_at_s if at_s - end_s <= LAST_S]
        if not isinstance(life, Starting):
            device.ended_at_s = (*recent, at_s)
        self.keep(after)
        return after

    def release(self, life: Releasing) -> None:
        """Its memory is back. Remembered for a while, in case its host still asks how it ended."""
        attempt = life.lease.attempt
        del self.devices[attempt.device].lives[attempt.id]
        self.past[attempt.id] = life
        if len(self.past) > PAST:
            del self.past[next(iter(self.past))]
        self.touch(attempt.device)

    def next_id(self, trial: Trial) -> str:
        """An id that no attempt has had: known here, or told by the host that kept count."""
        number = max(self._numbers.get(key_of(trial), 0), trial.attempts) + 1
        self._numbers[key_of(trial)] = number
        return f"{trial.run}/{trial.number}.{number}"

    def count(self, attempt: Attempt) -> None:
        """Take the id of an *attempt* that was begun without us into account."""
        key = key_of(attempt.trial)
        self._numbers[key] = max(self._numbers.get(key, 0), number_of(attempt.id))

    # -- trials that wait --------------------------------------------------------------------------

    def is_known(self, trial: Trial) -> bool:
        """Whether the trial waits, or an attempt of it runs."""
        run, prefix = self.runs[trial.run], f"{trial.run}/{trial.number}."
        return trial.number in run.awaited or any(one.startswith(prefix) for one in run.active)

    def enqueue(self, trial: Trial) -> None:
        """Trials that come back go before those that are new, those that made way before all."""
        run = self.runs[trial.run]
        run.awaited.add(trial.number)
        waiting, place = run.waiting, len(run.waiting)
        if trial.number in run.made_way:
            run.made_way.remove(trial.number)
            place = 0
        elif trial.attempts:
            place = next((n for n, one in enumerate(waiting) if not one.trial.attempts), place)
        waiting.insert(place, Waiting(trial=trial, since_s=self.now_s))

    def dequeue(self, run: str, number: int) -> None:
        """No harm where it does not wait."""
        queue = self.runs[run]
        if number not in queue.awaited:
            return
        queue.awaited.remove(number)
        place = next(n for n, one in enumerate(queue.waiting) if one.trial.number == number)
        del queue.waiting[place]
        for device in self.devices.values():
            if device.drained_for is not None and key_of(device.drained_for) == (run, number):
                device.drained_for = None
                self.touch(device.key)

    def clear_queue(self, run: str) -> None:
        while self.runs[run].waiting:
            self.dequeue(run, self.runs[run].waiting[-1].trial.number)

    def queues(self) -> list[Queue]:
        """What waits, the run with the fewest attempts first, then in the order of joining."""
        waiting = [one for one in self.runs.values() if one.joined and one.waiting]
        waiting.sort(key=lambda one: (len(one.active), one.order))
        return [
            Queue(
                run=one.run,
                active=len(one.active),
                most_bytes=self.most_bytes(one.run),
                waiting=one.waiting,
            )
            for one in waiting
        ]

    # -- devices -----------------------------------------------------------------------------------

    def most_bytes(self, run: Run) -> int | None:
        """The most that an attempt of *run* could lately be given; None: no device has said."""
        known = (
            device.usual_open_bytes - reserve_bytes(run, device.budget)
            for device in self.devices.values()
            if device.found and device.outage is None and device.budget.is_for(run)
            if device.usual_open_bytes is not None
        )
        return max(known, default=None)

    def watch_reserve_bytes(self, device: DeviceState) -> int:
        """What is kept free there: the least that a run with attempts there was admitted with."""
        runs = {life.lease.attempt.trial.run for life in device.active()}
        reserves = (reserve_bytes(self.runs[run].run, device.budget) for run in runs)
        return min(reserves, default=device.budget.reserve_bytes)

    def touch(self, key: str) -> None:
        """Something about the device has changed."""
        self._rooms.pop(key, None)

    def rooms(self) -> list[Room]:
        """The devices that are there, as admission sees them."""
        return [self.room(device) for device in self.devices.values() if device.found]

    def room(self, device: DeviceState) -> Room:
        room = self._rooms.get(device.key)
        if room is None or room.rests != (self.now_s < device.rests_until_s):
            room = self._rooms[device.key] = self._room(device)
        return room

    def _room(self, device: DeviceState) -> Room:
        active = device.active()
        room = Room(
            budget=device.budget,
            account=device.account(),
            problem=device.reading.problem if device.reading else None,
            attempts=len(active),
            empty=not device.lives,
            alone=any(life.lease.attempt.alone for life in device.lives.values()),
            at_most=device.limit.at_most,
            rests=self.now_s < device.rests_until_s,
            rests_because=device.rests_because,
            out_because=device.outage.because if device.outage else None,
        )
        trial = device.drained_for
        if trial is not None:
            run = self.runs[trial.run].run
            if could_run(trial, run, room, self.most_bytes(run)):
                room = msgspec.structs.replace(room, drained_for=key_of(trial))
        return room

    # -- what is shown -----------------------------------------------------------------------------

    def note(self, change: Change) -> Note:
        self.changes.append(change)
        return Note(change=change)

    def recent(self, count: int) -> tuple[Change, ...]:
        """The last changes, newest first."""
        return tuple(islice(reversed(self.changes), count))


def reserve_bytes(run: Run, budget: Budget) -> int:
    return budget.reserve_bytes if run.reserve_bytes is None else run.reserve_bytes


def lost_device(attempt: Attempt) -> DeviceState:
    """A stand-in for a device that is not found any more, so that the attempt on it can end."""
    key = attempt.device
    device = Device(
        key=key,
        kind="host" if key == "host" else "amd",
        name="no longer there",
        total_bytes=None,
        source="",
        because=f"{attempt.id} was started on it",
    )
    budget = Budget(
        device=device, reserve_bytes=0, promise_bytes=attempt.promise_bytes, max_attempts=None
    )
    return DeviceState(budget=budget, found=False)
