"""Attempts ended so that others have their memory, and trials started where there is some.

Writes the core's state. Which attempt has to go is decided in ``watch``, which trial may start
where in ``policy``.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec

from scheduler.core import concurrency, reasons, watch
from scheduler.core import rules as in_force
from scheduler.core.actions import Action, Hold, Start, Stop
from scheduler.core.ending import oom_kills
from scheduler.core.life import Cause, Lease, Life, Releasing, Starting, Stopping, Told, step
from scheduler.core.model import Attempt, Change, Rule
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
from scheduler.core.records import DeviceState
from scheduler.core.state import State
from scheduler.core.watch import Strain

#: Nothing starts on a device for so long after strangers were made room there. The story this
#: prevents: 1. a game loads its first 4 GiB and an attempt goes, 2. in the lull before its next
#: level another trial starts into the rest, 3. the level takes 3 GiB more, and that one goes too.
REST_S = 30.0


def obey(state: State) -> list[Action]:
    """Stop all attempts that are beyond what the rules that stop any let run."""
    actions: list[Action] = []
    for rule in state.rules:
        if rule.stops and rule.run is not None and rule.max_attempts is not None:
            own = (life for life in state.lives() if life.lease.attempt.trial.run == rule.run)
            actions += _stop_beyond(state, own, rule)
    for device in state.devices.values():
        strictest = in_force.strictest(in_force.of_device(state.rules, device.key), stops=True)
        if strictest is not None:
            actions += _stop_beyond(state, device.lives.values(), strictest)
    return actions


def _stop_beyond(state: State, lives: Iterable[Life], rule: Rule) -> list[Action]:
    """Those that lose least first; not looked at twice, as nothing here is measured."""
    leases = [life.lease for life in lives if not isinstance(life, Stopping | Releasing)]
    leases.sort(key=watch.loses_least, reverse=True)
    beyond = max(0, len(leases) - max(0, rule.max_attempts or 0))
    return [
        action for lease in leases[:beyond] for action in _stop(state, lease, "asked", rule.because)
    ]


def relieve(state: State) -> list[Action]:
    """Stop one attempt on each device that has been over for long enough.

    None while memory is on its way back there: it may be enough.
    """
    actions: list[Action] = []
    for device in state.devices.values():
        if any(isinstance(life, Stopping | Releasing) for life in device.lives.values()):
            continue
        if device.lives and device.strain.is_confirmed(state.now_s):
            actions += _relieve(state, device)
    return actions


def _relieve(state: State, device: DeviceState) -> list[Action]:
    account, is_over = device.account(), device.strain.is_over(state.now_s)
    usual, reserve = state.watch_reserve_bytes(device), state.ruled_reserve_bytes(device)
    by_rule = reserve > usual and watch.is_by_rule(
        account, is_over=is_over, usual_reserve_bytes=usual
    )
    leases = [life.lease for life in device.lives.values()]
    victim = watch.victim(device.strain, leases, account, by_rule=by_rule)
    if victim is None:
        return []
    rules = in_force.of_device(state.rules, device.key)
    rule = in_force.keeping(rules, stops=True) if by_rule else None
    because = reasons.stopped(victim, is_over, account, reserve if by_rule else usual, rule)
    return _stop(state, victim.lease, victim.cause, because)


def _stop(state: State, lease: Lease, cause: Cause, because: str) -> list[Action]:
    attempt, device = lease.attempt, state.devices[lease.attempt.device]
    after = step(device.lives[attempt.id], Told(cause=cause, because=because))
    assert after is not None
    state.keep(after)
    device.strain = Strain()
    if cause in ("strangers", "unclear"):
        device.rest(state.now_s + REST_S, None)
    change = Change(
        at_s=state.now_s,
        what="stopped",
        run=attempt.trial.run,
        trial=attempt.trial.number,
        device=device.key,
        before=f"held {reasons.size(lease.held_bytes)}",
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
    """Another trial went to a device that the first of each queue could have run on, and waits.

    That those of a larger priority go first is what priorities are for.
    """
    room = found.place.room
    for queue in state.queues():
        first = queue.waiting[0]
        if found.run.priority > queue.run.priority or queue.limited() is not None:
            continue
        if not could_run(first.trial, queue.run, room, queue.most_bytes):
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
