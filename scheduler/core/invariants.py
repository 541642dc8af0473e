"""What must hold between any two events. For tests."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise

from scheduler.core.high_water import HIGH_WATER_S
from scheduler.core.life import Life, Releasing, Stopping, is_active
from scheduler.core.model import Rule
from scheduler.core.policy import key_of
from scheduler.core.rules import forbidding, of_run
from scheduler.core.state import State


def check(state: State) -> None:
    """Raises AssertionError with the law that is broken."""
    _check_places(state)
    _check_devices(state)
    _check_rooms(state)
    _check_rules(state)


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
            assert attempt.cap_bytes in (None, attempt.promise_bytes), f"{id}: an odd cap"
            peak, held = lease.peak_bytes, lease.held_bytes
            assert not held or (peak is not None and peak >= held), f"{id}: a peak under its size"
            if isinstance(life, Releasing):
                assert not (life.evidence and life.settle), f"{id} is settled and waits to be"
        assert device.outage is None or device.drained_for is None, f"{device.key} is kept in vain"
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
