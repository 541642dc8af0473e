"""All that the core knows between two events. The core is its only writer.

Covers keeping it whole: an attempt is in one place, and what is worked out of it is worked out
anew when it changes. Does not cover any decision.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from itertools import islice

import msgspec

from probes.reading import Device
from scheduler.core import rules as in_force
from scheduler.core.actions import Note
from scheduler.core.high_water import at_high_water
from scheduler.core.life import Began, Ended, Life, Releasing, Starting, is_active, step
from scheduler.core.model import Attempt, Budget, Change, Process, Run, Trial
from scheduler.core.policy import Key, Queue, Room, Waiting, could_run, key_of
from scheduler.core.records import LAST_S, DeviceState, RunState
from scheduler.core.retry import number_of
from scheduler.core.rules import Rules

CHANGES = 200  #: kept to be shown
PAST = 256  #: ended attempts that a host may still ask about
PAST_RUNS = 64  #: runs that have left and may come back to what is known of them


class State:
    """Devices, runs, attempts."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self.devices: dict[str, DeviceState] = {}
        self.runs: dict[str, RunState] = {}
        self.rules: Rules = ()
        self.boot_id = ""  #: of the machine when we last started; "": not known
        self.changes: deque[Change] = deque(maxlen=CHANGES)
        self.past: dict[str, Releasing] = {}
        self.numbers: dict[Key, int] = {}  #: of the last attempt of each trial
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
        attempt, device = life.lease.attempt, self.devices[life.lease.attempt.device]
        del device.lives[attempt.id]
        self.past[attempt.id] = life
        if len(self.past) > PAST:
            oldest = self.past.pop(next(iter(self.past)))
            self._forget_number(oldest.lease.attempt)
        self.touch(attempt.device)

    def _forget_number(self, attempt: Attempt) -> None:
        """Nobody asks about the attempt any more. Of a trial that comes back its host keeps count;
        without this, a search of a year would have each of its trials here."""
        key = key_of(attempt.trial)
        if self.numbers.get(key) == number_of(attempt.id):
            del self.numbers[key]

    def next_id(self, trial: Trial) -> str:
        """An id that no attempt has had: known here, or told by the host that kept count."""
        number = max(self.numbers.get(key_of(trial), 0), trial.attempts) + 1
        self.numbers[key_of(trial)] = number
        return f"{trial.run}/{trial.number}.{number}"

    def count(self, attempt: Attempt) -> None:
        """Take the id of an *attempt* that was begun without us into account."""
        key = key_of(attempt.trial)
        self.numbers[key] = max(self.numbers.get(key, 0), number_of(attempt.id))

    # -- runs --------------------------------------------------------------------------------------

    def add(self, run: Run) -> RunState:
        """Those that have left longest ago are forgotten: a supervisor may see thousands."""
        order = 1 + max((one.order for one in self.runs.values()), default=-1)
        self.runs[run.id] = RunState(run=run, order=order)
        here = {life.lease.attempt.trial.run for life in self.lives()}
        gone = [name for name, one in self.runs.items() if not one.joined and name not in here]
        for name in gone[:-PAST_RUNS]:
            self._forget(name)
        return self.runs[run.id]

    def _forget(self, run: str) -> None:
        del self.runs[run]
        self.past = {id: one for id, one in self.past.items() if one.lease.attempt.trial.run != run}
        self.numbers = {key: number for key, number in self.numbers.items() if key[0] != run}

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
        """What waits, by priority; then the run with the fewest attempts first, then in the order
        of joining."""
        waiting = [one for one in self.runs.values() if one.joined and one.waiting]
        waiting.sort(key=lambda one: (-one.run.priority, len(one.active), one.order))
        return [
            Queue(
                run=one.run,
                active=len(one.active),
                most_bytes=self.most_bytes(one.run),
                waiting=one.waiting,
                rules=in_force.of_run(self.rules, one.run.id),
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

    def ruled_reserve_bytes(self, device: DeviceState) -> int:
        """The same, or more where a rule stops attempts for it."""
        ruled = in_force.of_device(self.rules, device.key)
        kept = in_force.kept_bytes(ruled, stops=True)
        return max(self.watch_reserve_bytes(device), kept)

    def rule(self, rules: Rules) -> None:
        """Put *rules* in the place of those in force.

        What is kept for a trial is kept no more: it may be one that now has to wait for days.
        Overtaken once more, it has a device kept for it again, if it may start there.
        """
        self.rules = rules
        for device in self.devices.values():
            device.drained_for = None
            self.touch(device.key)

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
        active, account = device.active(), device.account()
        room = Room(
            budget=device.budget,
            account=at_high_water(account, device.marks),
            strangers_now_bytes=account.strangers_bytes,
            problem=device.reading.problem if device.reading else None,
            attempts=len(active),
            empty=not device.lives,
            alone=any(life.lease.attempt.alone for life in device.lives.values()),
            at_most=device.limit.at_most,
            runs=frozenset(life.lease.attempt.trial.run for life in active),
            rests=self.now_s < device.rests_until_s,
            rests_because=device.rests_because,
            out_because=device.outage.because if device.outage else None,
            rules=in_force.of_device(self.rules, device.key),
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
