"""The devices as admission sees them, kept from one event to the next, and which of them are not
as they were when it last looked.

Covers working out only what has changed: of 256 devices an event concerns one. Does not cover what
waits, nor any decision.
"""

from __future__ import annotations

import msgspec

from scheduler.core import rules as in_force
from scheduler.core.high_water import at_high_water
from scheduler.core.ledger import Account
from scheduler.core.life import is_active
from scheduler.core.model import Budget, Run
from scheduler.core.places import Room, key_of
from scheduler.core.policy import could_run
from scheduler.core.records import DeviceState, RunState
from scheduler.core.rules import Rules


class Rooms:
    """Devices and runs."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self.devices: dict[str, DeviceState] = {}
        self.runs: dict[str, RunState] = {}
        self.rules: Rules = ()
        self.look_again = False  #: all that waits may start, or wait for another reason
        self._most: dict[tuple[str | None, int | None], tuple[Run, int | None]] = {}
        self._accounts: dict[str, Account] = {}
        self._rooms: dict[str, Room] = {}
        #: Devices that may have changed since admission last looked: as they were then, if known.
        self._former: dict[str, Room | None] = {}
        self._changed_runs: set[str] = set()  #: more of them than then may be able to start
        self._resting: set[str] = set()  #: devices that come back by the clock alone

    def most_bytes(self, run: Run) -> int | None:
        """The most that an attempt of *run* could lately be given; None: no device has said."""
        asked = (run.device, run.reserve_bytes)
        if asked not in self._most:
            self._most[asked] = run, self._most_bytes(run)
        return self._most[asked][1]

    def _most_bytes(self, run: Run) -> int | None:
        known = (
            device.usual_open_bytes - reserve_bytes(run, device.budget)
            for device in self.devices.values()
            if device.usual_open_bytes is not None
            if device.found and device.outage is None and device.budget.is_for(run)
        )
        return max(known, default=None)

    def watch_reserve_bytes(self, device: DeviceState) -> int:
        """What is kept free there: the least that a run with attempts there was admitted with."""
        runs = {life.lease.attempt.trial.run for life in device.lives.values() if is_active(life)}
        reserves = [reserve_bytes(self.runs[run].run, device.budget) for run in runs]
        return min(reserves, default=device.budget.reserve_bytes)

    def ruled_reserve_bytes(self, device: DeviceState) -> int:
        """The same, or more where a rule stops attempts for it."""
        ruled = in_force.of_device(self.rules, device.key) if self.rules else ()
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
        self.touch_all()

    # -- what admission is to look at --------------------------------------------------------------

    def touch(self, key: str) -> None:
        """Something about the device has changed."""
        self._accounts.pop(key, None)
        room = self._rooms.pop(key, None)
        self._former.setdefault(key, room)

    def touch_run(self, run: str) -> None:
        """More of it may be able to start."""
        self._changed_runs.add(run)

    def touch_all(self) -> None:
        """Something about all devices may have changed, or about what all runs want."""
        for key in self.devices:
            self.touch(key)
        self._most.clear()
        self.look_again = True

    def reread(self, device: DeviceState, problem: str | None) -> None:
        """The device was read, and before that had this *problem*. Mostly that says nothing new."""
        said = device.reading.problem if device.reading else None
        former, account = self._accounts.get(device.key), device.account()
        rests = self.now_s < device.rests_until_s
        if account != former or said != problem or rests or device.drained_for is not None:
            self.touch(device.key)
        self._accounts[device.key] = account

    def polled(self) -> None:
        """All devices were read: what they can give at most may have changed."""
        before, self._most = self._most, {}
        for run, most in before.values():
            if self.most_bytes(run) != most:
                self.look_again = True

    def is_changed(self) -> bool:
        """Whether admission need look: nothing but time has passed, if not."""
        over = [key for key in self._resting if self.now_s >= self.devices[key].rests_until_s]
        for key in over:
            self._resting.discard(key)
            self.touch(key)
        if not any(run.waiting for run in self.runs.values()):
            return False
        return bool(self.look_again or self._changed_runs or self.changed_rooms())

    def changed_rooms(self) -> list[Room]:
        """Those that are not as they were when admission last looked."""
        devices = [(self.devices[key], former) for key, former in self._former.items()]
        rooms = [(self.room(device), former) for device, former in devices if device.found]
        return [room for room, former in rooms if room != former]

    def has_changed(self, run: str) -> bool:
        """Whether more of it than when admission last looked may be able to start."""
        return self.look_again or run in self._changed_runs

    def looked(self) -> None:
        """Nothing that waits fits anywhere now."""
        self._former.clear()
        self._changed_runs.clear()
        self.look_again = False

    def look_at_all(self) -> None:
        """What admission has seen is not known here."""
        resting = [one.key for one in self.devices.values() if self.now_s < one.rests_until_s]
        self._resting = set(resting)
        self._former = dict.fromkeys(self.devices)
        self._changed_runs = set(self.runs)

    # -- devices -----------------------------------------------------------------------------------

    def account(self, device: DeviceState) -> Account:
        account = self._accounts.get(device.key)
        if account is None:
            account = self._accounts[device.key] = device.account()
        return account

    def rooms(self) -> list[Room]:
        """The devices that are there, as admission sees them."""
        return [self.room(device) for device in self.devices.values() if device.found]

    def room(self, device: DeviceState) -> Room:
        room = self._rooms.get(device.key)
        if room is None:
            room = self._rooms[device.key] = self._room(device)
            if room.rests:
                self._resting.add(device.key)
        return room

    def _room(self, device: DeviceState) -> Room:
        active, account = device.active(), self.account(device)
        room = Room(
            budget=device.budget,
            account=at_high_water(account, device.marks),
            strangers_now_bytes=account.strangers_bytes,
            problem=device.reading.problem if device.reading else None,
            attempts=len(active),
            empty=not device.lives,
            alone=any(life.lease.attempt.alone for life in device.lives.values()),
            at_most=device.at_most,
            is_tested=device.throughput.is_tested,
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


def reserve_bytes(run: Run, budget: Budget) -> int:
    return budget.reserve_bytes if run.reserve_bytes is None else run.reserve_bytes
