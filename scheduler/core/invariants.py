"""What must hold between any two events. For tests."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise

from scheduler.core.growth import KEPT, LEVELS
from scheduler.core.high_water import HIGH_WATER_S
from scheduler.core.life import Lease, Life, Releasing, Stopping, is_active
from scheduler.core.model import Attempt, Rule
from scheduler.core.places import SOFT_RATIO, Refusal, key_of
from scheduler.core.policy import WINDOW, is_too_big, place
from scheduler.core.rules import forbidding, of_run
from scheduler.core.state import State


def check(state: State) -> None:
    """Raises AssertionError with the law that is broken."""
    _check_places(state)
    _check_devices(state)
    _check_followed(state)
    _check_rooms(state)
    _check_rules(state)
    _check_idle(state)


def _check_places(state: State) -> None:
    """A trial waits once or runs once; an attempt is on one device, or over."""
    places = Counter(key_of(one.trial) for run in state.runs.values() for one in run.waiting)
    places.update(key_of(life.lease.attempt.trial) for life in state.lives() if is_active(life))
    twice = [key for key, count in places.items() if count > 1]
    assert not twice, f"in two places at once: {twice}"
    ids = Counter(life.lease.attempt.id for life in state.lives())
    ids.update(state.past.keys())
    assert max(ids.values(), default=1) == 1, "an attempt is in two places"
    for run in state.runs.values():
        active = {
            life.lease.attempt.id
            for life in state.lives()
            if is_active(life) and life.lease.attempt.trial.run == run.run.id
        }
        assert active == run.active, f"{run.run.id} counts {run.active}, there are {active}"
        assert run.halted is None or not run.waiting, f"{run.run.id} is halted, and its trials wait"
        assert run.joined or not run.waiting, f"{run.run.id} is gone, and its trials wait"
        assert all(one.trial.run == run.run.id for one in run.waiting), "in another's queue"
        assert {one.trial.number for one in run.waiting} == run.awaited, "awaited, and not there"


def _check_devices(state: State) -> None:
    for device in state.devices.values():
        for id, life in device.lives.items():
            attempt, lease = life.lease.attempt, life.lease
            assert attempt.id == id, f"{attempt.id} is filed as {id}"
            assert attempt.device == device.key, f"{id} is on {device.key}"
            assert attempt.promise_bytes > 0, f"{id} was promised nothing"
            _check_cap(attempt)
            peak, held = lease.peak_bytes, lease.held_bytes
            assert not held or (peak is not None and peak >= held), f"{id}: a peak under its size"
            _check_promise(lease)
            if isinstance(life, Releasing):
                assert not (life.evidence and life.settle), f"{id} is settled and waits to be"
        assert device.outage is None or device.drained_for is None, f"{device.key} is kept in vain"
        is_followed = device.is_followed or device.key in state.stirred
        assert is_followed, f"{device.key}: others are measured than run"
        marks = device.marks
        assert len(marks) <= HIGH_WATER_S + 1, f"{device.key}: {len(marks)} marks"
        assert all(a.strangers_bytes > b.strangers_bytes for a, b in pairwise(marks)), "no marks"
        assert all(fault.attempt.device == device.key for fault in device.faults), "another's fault"
        alone = [life for life in device.active() if life.lease.attempt.alone]
        others = [life for life in device.active() if not life.lease.attempt.alone]
        assert len(alone) <= 1, f"two are alone on {device.key}"
        assert not alone or not others, f"one is alone on {device.key} in company"
        drained = device.drained_for
        assert drained is None or any(
            key_of(one.trial) == key_of(drained) for one in state.runs[drained.run].waiting
        ), f"{device.key} is kept for a trial that does not wait"


def _check_cap(attempt: Attempt) -> None:
    """Not below the promise, and a tenth above it at most; one that is alone has no more."""
    promise, cap = attempt.promise_bytes, attempt.cap_bytes
    most = promise if attempt.alone else promise + promise // SOFT_RATIO
    assert cap is None or promise <= cap <= most, f"{attempt.id}: {cap} is an odd cap"


def _check_promise(lease: Lease) -> None:
    """What is set aside for an attempt is some of what it was started with."""
    attempt, now, growth = lease.attempt, lease.now_promised_bytes, lease.growth
    if now is not None:
        assert 0 < now < attempt.promise_bytes, f"{attempt.id}: {now} set aside"
        assert not attempt.alone, f"{attempt.id} is alone, and less is set aside for it"
    if growth is not None:
        levels, top = growth.levels, growth.top
        assert len(levels) <= LEVELS, f"{attempt.id}: {len(levels)} levels"
        assert all(a.bytes < b.bytes and a.age_s <= b.age_s for a, b in pairwise(levels)), "levels"
        assert (top.bytes if top else None) == (lease.peak_bytes or None), f"{attempt.id}: its top"
        assert growth.unseen_s >= 0, f"{attempt.id} was unseen for {growth.unseen_s} s"


def _check_followed(state: State) -> None:
    for run in state.runs.values():
        followed = run.followed
        assert len(followed.grown) <= KEPT, f"{run.run.id} keeps too much"
        assert all(one.levels and one.took_s > 0 for one in followed.grown), "it grew from nothing"
        assert 0 <= followed.pause <= followed.next_pause, f"{run.run.id}: an odd pause"


def _check_rules(state: State) -> None:
    """What stops attempts has stopped them; nothing is kept for who may not start at all."""
    for rule in state.rules:
        for lives in _ruled(state, rule) if rule.stops and rule.max_attempts is not None else ():
            ids = [life.lease.attempt.id for life in lives if not isinstance(life, Stopping)]
            assert len(ids) <= max(0, rule.max_attempts or 0), f"{rule} lets {ids} run"
    for device in state.devices.values():
        drained = device.drained_for
        held = drained and forbidding(of_run(state.rules, drained.run), 0)
        assert held is None, f"{device.key} is kept for a run that is paused: {held}"


def _ruled(state: State, rule: Rule) -> list[list[Life]]:
    """The attempts that it counts, those together that it counts together."""
    if rule.run is not None:
        active = (life for life in state.lives() if is_active(life))
        return [[life for life in active if life.lease.attempt.trial.run == rule.run]]
    return [one.active() for one in state.devices.values() if rule.device in (None, one.key)]


def _check_rooms(state: State) -> None:
    """What was worked out before is what would be worked out now."""
    for device in state.devices.values():
        if device.found:
            assert state.room(device) == state._room(device), f"{device.key}: out of date"
    for run in state.runs.values():
        assert state.most_bytes(run.run) == state._most_bytes(run.run), f"{run.run.id}: out of date"
    places = {life.lease.attempt.id: life.lease.attempt.device for life in state.lives()}
    assert state._places == places, "attempts are not where they were noted"
    active = {key_of(life.lease.attempt.trial): id for id, life in _active(state)}
    assert state._active == active, "trials that run are not noted as such"
    rests = {key for key, one in state.devices.items() if state.now_s < one.rests_until_s}
    assert rests <= state._resting | state._former.keys(), "a device would rest for ever"


def _active(state: State) -> list[tuple[str, Life]]:
    return [(life.lease.attempt.id, life) for life in state.lives() if is_active(life)]


def _check_idle(state: State) -> None:
    """No trial that is looked at could start, and none waits for what no device has, but where the
    next event is to look anyway."""
    rooms = [room for room in state.rooms() if room.key not in state._former]
    for queue in state.queues():
        if state.has_changed(queue.run.id):
            continue
        for waiting in queue.waiting[:WINDOW]:
            trial = waiting.trial
            assert not is_too_big(trial, queue.most_bytes), f"{key_of(trial)} waits in vain"
            answer = place(trial, queue, rooms)
            assert isinstance(answer, Refusal), f"{key_of(trial)} fits and waits"
