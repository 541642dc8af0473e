"""Attempts ended so that others have their memory, and trials started where there is some.

Writes the core's state. Which attempt has to go is decided in ``watch``, which trial may start
where in ``policy``.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice

import msgspec

from scheduler.core import concurrency, following, reasons, watch
from scheduler.core import rules as in_force
from scheduler.core.actions import Action, Hold, Refuse, Start, Stop
from scheduler.core.ending import oom_kills
from scheduler.core.growth import Growth
from scheduler.core.life import Cause, Lease, Life, Releasing, Starting, Stopping, Told, step
from scheduler.core.model import Attempt, Change, Rule, Trial
from scheduler.core.places import Queue, Refusal
from scheduler.core.policy import (
    OVERTAKEN,
    WINDOW,
    Admission,
    could_run,
    is_too_big,
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
            own = state.lives_of(rule.run) if rule.run in state.runs else ()
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
    guessed = following.outgrown(device.lives.values()) if victim.cause == "guess" else ()
    notes = following.roll_back(state, guessed, device, because)
    return [*notes, *_stop(state, victim.lease, victim.cause, because)]


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


def admit(state: State, *, polled: bool = False) -> list[Action]:
    """Answer what is too big, start what fits; then say of each run's first that waits why it does,
    where that is new: when it becomes the first, and at each poll.

    When this has looked nothing that waits fits anywhere, so only what has changed since is looked
    at: of 256 devices an event concerns one.
    """
    actions: list[Action] = []
    if state.is_changed():
        actions += _refuse(state)
        while (found := _find(state)) is not None:
            actions.append(_start(state, found))
            _count_overtaken(state, found)
        actions += _hold(state, anew=polled or state.look_again)
    state.looked()
    return actions


def _find(state: State) -> Admission | None:
    """The next trial to start, of the first run in turn that has one."""
    changed = state.changed_rooms()
    for queue in state.queues():
        rooms = state.rooms() if state.has_changed(queue.run.id) else changed
        found = next_start(queue, rooms)
        if found is not None:
            return found
    return None


def _refuse(state: State) -> Iterator[Refuse]:
    """Those that wait for more than there ever is. Forgotten: the same number may come again."""
    for queue in state.queues():
        first = [one.trial for one in islice(queue.waiting, WINDOW)]
        most = queue.most_bytes
        for trial in first:
            if most is None or trial.want_bytes is None or not is_too_big(trial, most):
                continue
            state.dequeue(trial.run, trial.number)
            yield Refuse(
                run=trial.run,
                trial=trial.number,
                want_bytes=trial.want_bytes,
                most_bytes=most,
                because=reasons.refused(trial.want_bytes, most, queue.run),
            )


def _start(state: State, found: Admission) -> Start:
    trial, place = found.trial, found.place
    device = state.devices[place.room.key]
    state.dequeue(trial.run, trial.number)
    attempt = Attempt(
        id=state.next_id(trial),
        trial=trial,
        device=device.key,
        promise_bytes=place.promise_bytes,
        cap_bytes=place.cap_bytes(found.run) if found.run.contain else None,
        started_at_s=state.now_s,
        alone=place.alone,
    )
    lease = Lease(
        attempt=attempt,
        strangers_bytes=place.room.account.strangers_bytes,
        oom_kills=oom_kills(state),
        growth=Growth(),
    )
    state.keep(Starting(lease=lease))
    device.limit = concurrency.started(device.limit, len(device.active()))
    return Start(attempt=attempt, because=reasons.started(place))


def _count_overtaken(state: State, found: Admission) -> None:
    """Another trial went to a device that one could have run on that waits in front of it, or first
    of another run.

    That those of a larger priority go first is what priorities are for.
    """
    room = found.place.room
    for queue in state.queues():
        if found.run.priority > queue.run.priority or queue.limited() is not None:
            continue
        passed = min(found.passed, WINDOW) if queue.run.id == found.run.id else 1
        for place_in_queue in range(passed):
            trial = queue.waiting[place_in_queue].trial
            if not could_run(trial, queue.run, room, queue.most_bytes):
                continue
            if state.overtake(queue.run.id, place_in_queue) >= OVERTAKEN:
                _drain(state, queue, trial)


def _drain(state: State, queue: Queue, trial: Trial) -> None:
    """Keep one device for *trial*: the one with the most left, of those it may use.

    One for a run, because the others need not stand idle for it.
    """
    rooms = state.rooms()
    if any(room.drained_for and room.drained_for[0] == trial.run for room in rooms):
        return
    free = [
        room
        for room in rooms
        if state.devices[room.key].drained_for is None
        and could_run(trial, queue.run, room, queue.most_bytes)
    ]
    best = max(free, key=lambda room: room.account.left_bytes or 0, default=None)
    if best is not None:
        state.devices[best.key].drained_for = trial
        state.touch(best.key)


def _hold(state: State, *, anew: bool) -> list[Action]:
    holds: list[Action] = []
    for queue in state.queues():
        first = queue.waiting[0]
        if first.told is not None and not anew:
            continue
        refusal = place(first.trial, queue, state.rooms())
        if isinstance(refusal, Refusal) and refusal.why != first.told:
            told = msgspec.structs.replace(first, told=refusal.why)
            state.runs[queue.run.id].waiting[0] = told
            because = reasons.held(refusal, first.trial)
            holds.append(Hold(run=queue.run.id, trial=first.trial.number, because=because))
    return holds
