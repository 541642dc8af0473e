"""All that the core knows between two events. The core is its only writer.

Covers keeping it whole: an attempt is in one place, and what is worked out of it is worked out
anew when it changes. Does not cover any decision.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from itertools import islice
from typing import Literal

import msgspec

from probes.reading import Device
from scheduler.core import rules as in_force
from scheduler.core.actions import Note
from scheduler.core.growth import Outlook
from scheduler.core.life import Began, Ended, Life, Releasing, Starting, is_active, step
from scheduler.core.model import Attempt, Budget, Change, Process, Run, Trial
from scheduler.core.places import Key, Queue, Waiting, key_of
from scheduler.core.policy import WINDOW
from scheduler.core.records import LAST_S, DeviceState, RunState
from scheduler.core.retry import number_of
from scheduler.core.rooms import Rooms
from scheduler.core.rooms import reserve_bytes as reserve_bytes

CHANGES = 200  #: kept to be shown
PAST = 256  #: ended attempts that a host may still ask about
PAST_RUNS = 64  #: runs that have left and may come back to what is known of them


class State(Rooms):
    """Devices, runs, attempts."""

    def __init__(self) -> None:
        super().__init__()
        self.boot_id = ""  #: of the machine when we last started; "": not known
        self.changes: deque[Change] = deque(maxlen=CHANGES)
        self.past: dict[str, Releasing] = {}
        self.numbers: dict[Key, int] = {}  #: of the last attempt of each trial
        self.outlooks: dict[str, Outlook] = {}  #: by run; worked out of what is kept of it
        self.stirred: set[str] = set()  #: devices where who runs may have changed since a look
        self._places: dict[str, str] = {}  #: the device of each attempt that is on one
        self._active: dict[Key, str] = {}  #: the attempt of each trial that runs

    # -- attempts ----------------------------------------------------------------------------------

    def find(self, attempt: str) -> Life | None:
        """None: never heard of, or long gone."""
        place = self._places.get(attempt)
        return self.past.get(attempt) if place is None else self.devices[place].lives[attempt]

    def running(self, run: str, number: int) -> Life | None:
        """The attempt of the trial that runs now; None: none does."""
        attempt = self._active.get((run, number))
        return None if attempt is None else self.find(attempt)

    def lives_of(self, run: str) -> Iterator[Life]:
        """The attempts of *run* that run now."""
        for attempt in sorted(self.runs[run].active):
            yield self.devices[self._places[attempt]].lives[attempt]

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
        self._places[attempt.id] = attempt.device
        active = self.runs[attempt.trial.run].active
        if is_active(life):
            active.add(attempt.id)
            self._active[key_of(attempt.trial)] = attempt.id
        elif attempt.id in active:
            active.remove(attempt.id)
            del self._active[key_of(attempt.trial)]
            self.touch_run(attempt.trial.run)
        self.stirred.add(attempt.device)
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
        del device.lives[attempt.id], self._places[attempt.id]
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

    def index(self) -> None:
        """Work out anew what is only kept to be found sooner."""
        lives = {life.lease.attempt.id: life for life in self.lives()}
        self._places = {id: life.lease.attempt.device for id, life in lives.items()}
        self._active = {
            key_of(life.lease.attempt.trial): id for id, life in lives.items() if is_active(life)
        }
        self.look_at_all()

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
        self.outlooks.pop(run, None)
        self.past = {id: one for id, one in self.past.items() if one.lease.attempt.trial.run != run}
        self.numbers = {key: number for key, number in self.numbers.items() if key[0] != run}

    # -- trials that wait --------------------------------------------------------------------------

    def enqueue(self, trial: Trial) -> None:
        """Trials that come back go before those that are new, those that made way before all."""
        run = self.runs[trial.run]
        self.touch_run(trial.run)
        run.awaited.add(trial.number)
        waiting, place = run.waiting, len(run.waiting)
        if trial.number in run.made_way:
            run.made_way.remove(trial.number)
            place = 0
        elif trial.attempts:
            place = next((n for n, one in enumerate(waiting) if not one.trial.attempts), place)
        waiting.insert(place, Waiting(trial=trial, since_s=self.now_s))

    def renew(self, trial: Trial) -> None:
        """What is wanted for a trial that waits has changed; it keeps its place, and what is kept
        for it."""
        run = self.runs[trial.run]
        place = next(n for n, one in enumerate(run.waiting) if one.trial.number == trial.number)
        before = run.waiting[place]
        if before.trial == trial or before.trial.attempts != trial.attempts:
            return
        run.waiting[place] = msgspec.structs.replace(before, trial=trial)
        self.touch_run(trial.run)
        for device in self._kept_for(key_of(trial)):
            device.drained_for = trial
            self.touch(device.key)

    def overtake(self, run: str, place: int) -> int:
        """Another has started where this one could have; how often that was so."""
        waiting = self.runs[run].waiting
        overtaken = waiting[place].overtaken + 1
        waiting[place] = msgspec.structs.replace(waiting[place], overtaken=overtaken)
        return overtaken

    def dequeue(self, run: str, number: int) -> None:
        """No harm where it does not wait."""
        queue = self.runs[run]
        if number not in queue.awaited:
            return
        queue.awaited.remove(number)
        place = next(n for n, one in enumerate(queue.waiting) if one.trial.number == number)
        del queue.waiting[place]
        if len(queue.waiting) >= WINDOW:
            self.touch_run(run)  # one more is looked at
        for device in self._kept_for((run, number)):
            device.drained_for = None
            self.touch(device.key)

    def _kept_for(self, key: Key) -> list[DeviceState]:
        return [
            device
            for device in self.devices.values()
            if device.drained_for is not None and key_of(device.drained_for) == key
        ]

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

    # -- what is shown -----------------------------------------------------------------------------

    def note(self, change: Change) -> Note:
        self.changes.append(change)
        return Note(change=change)

    def note_of_device(
        self,
        device: DeviceState,
        what: Literal["concurrency", "service"],
        before_after: tuple[str, str],
        because: str,
        *,
        run: str | None = None,
        evidence: str = "",
    ) -> Note:
        """A change of no trial's in particular. *run* None: of no run's either."""
        before, after = before_after
        return self.note(
            Change(
                at_s=self.now_s,
                what=what,
                run=run,
                trial=None,
                device=device.key,
                before=before,
                after=after,
                because=because,
                evidence=evidence,
            )
        )

    def recent(self, count: int) -> tuple[Change, ...]:
        """The last changes, newest first."""
        return tuple(islice(reversed(self.changes), count))


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
