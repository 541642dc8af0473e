"""Attempts ended so that others have their memory, and trials started where there is some.

Writes the core's state. Which attempt has to go is decided in ``watch``, which trial may start
where in ``policy``.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from scheduler.core import concurrency, reasons, watch
from scheduler.core.actions import Action, Hold, Start, Stop
from scheduler.core.ending import oom_kills
from scheduler.core.life import Lease, Releasing, Starting, Stopping, Told, step
from scheduler.core.model import Attempt, Change
from scheduler.core.policy import (
    OVERTAKEN,
    Admission,
    Queue,
    Refusal,
    Room,
    could_run,
    next_start,
    place,
)
from scheduler.core.state import DeviceState, State
from scheduler.core.watch import Strain, Victim

#: Nothing starts on a device for so long after strangers were made room there. The story this
#: prevents: 1. a game loads its first 4 GiB and an attempt goes, 2. in the lull before its next
#: level another trial starts into the rest, 3. the level takes 3 GiB more, and that one goes too.
REST_S = 30.0


def relieve(state: State) -> list[Action]:
    """Stop one attempt on each device that has been over for long enough.

    None while memory is on its way back there: it may be enough.
    """
    actions: list[Action] = []
    for device in state.devices.values():
        if any(isinstance(life, Stopping | Releasing) for life in device.lives.values()):
            continue
        if device.lives and device.strain.is_confirmed(state.now_s):
            leases = [life.lease for life in device.lives.values()]
            victim = watch.victim(device.strain, leases, device.account())
            if victim is not None:
                actions += _stop(state, device, victim)
    return actions


def _stop(state: State, device: DeviceState, victim: Victim) -> list[Action]:
    attempt = victim.lease.attempt
    reserve = state.watch_reserve_bytes(device)
    because = reasons.stopped(victim, device.strain.is_over(state.now_s), device.account(), reserve)
    after = step(device.lives[attempt.id], Told(cause=victim.cause, because=because))
    assert after is not None
    state.keep(after)
    device.strain = Strain()
    if victim.cause != "overrun":
        device.rest(state.now_s + REST_S, None)
    change = Change(
        at_s=state.now_s,
        what="stopped",
        run=attempt.trial.run,
        trial=attempt.trial.number,
        device=device.key,
        before=f"held {reasons.size(victim.lease.held_bytes)}",
        after="waits to start again",
        because=because,
    )
    return [Stop(attempt=attempt, because=because), state.note(change)]


def admit(state: State) -> list[Action]:
    """Start what fits; then say of each run's first that waits why it does, where that is new."""
    actions: list[Action] = []
    while queues := state.queues():
        rooms = state.rooms()
        found = next_start(queues, rooms)
        if found is None:
            return actions + _hold(state, queues, rooms)
        actions.append(_start(state, found))
        _count_overtaken(state, found)
    return actions


def _start(state: State, found: Admission) -> Start:
    trial, place = found.trial, found.place
    device = state.devices[place.room.key]
    state.dequeue(trial.run, trial.number)
    attempt = Attempt(
        id=state.next_id(trial),
        trial=trial,
        device=device.key,
        promise_bytes=place.promise_bytes,
        cap_bytes=place.promise_bytes if found.run.contain else None,
        started_at_s=state.now_s,
        alone=place.alone,
    )
    lease = Lease(
        attempt=attempt,
        strangers_bytes=place.room.account.strangers_bytes,
        oom_kills=oom_kills(state),
    )
    state.keep(Starting(lease=lease))
    device.limit = concurrency.started(device.limit, len(device.active()))
    return Start(attempt=attempt, because=reasons.started(place))


def _count_overtaken(state: State, found: Admission) -> None:
    """Another trial went to a device that the first of each queue could have run on, and waits."""
    room = found.place.room
    for queue in state.queues():
        first = queue.waiting[0]
        limited = queue.run.max_attempts is not None and queue.active >= queue.run.max_attempts
        if limited or not could_run(first.trial, queue.run, room, queue.most_bytes):
            continue
        overtaken = first.overtaken + 1
        waiting = msgspec.structs.replace(first, overtaken=overtaken)
        state.runs[queue.run.id].waiting[0] = waiting
        if overtaken >= OVERTAKEN:
            _drain(state, queue)


def _drain(state: State, queue: Queue) -> None:
    """Keep one device for the first of *queue*: the one with the most left, of those it may use.

    One, because the others need not stand idle for it.
    """
    trial = queue.waiting[0].trial
    devices = state.devices.values()
    if any(device.drained_for == trial for device in devices if device.found):
        return
    rooms = [
        room
        for room in state.rooms()
        if state.devices[room.key].drained_for is None
        and could_run(trial, queue.run, room, queue.most_bytes)
    ]
    best = max(rooms, key=lambda room: room.account.left_bytes or 0, default=None)
    if best is not None:
        state.devices[best.key].drained_for = trial
        state.touch(best.key)


def _hold(state: State, queues: Sequence[Queue], rooms: Sequence[Room]) -> list[Action]:
    holds: list[Action] = []
    for queue in queues:
        first = queue.waiting[0]
        refusal = place(first.trial, queue, rooms)
        if isinstance(refusal, Refusal) and refusal.why != first.told:
            told = msgspec.structs.replace(first, told=refusal.why)
            state.runs[queue.run.id].waiting[0] = told
            because = reasons.held(refusal, first.trial)
            holds.append(Hold(run=queue.run.id, trial=first.trial.number, because=because))
    return holds
