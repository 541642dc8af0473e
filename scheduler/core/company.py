"""Who runs where and what they report, taken in to learn how many at once a device is best with.

Writes the core's state. What is learned is in ``throughput``, how it is tested in
``holding``, what is made of it in ``tuning``.
"""

from __future__ import annotations

from scheduler.core import holding, throughput, tuning
from scheduler.core.actions import Note
from scheduler.core.events import Progressed
from scheduler.core.life import is_active
from scheduler.core.records import DeviceState
from scheduler.core.state import State
from scheduler.core.throughput import Start
from scheduler.core.tuning import Turn


def progressed(state: State, event: Progressed) -> None:
    """What a host says again, after it has joined anew, has no effect."""
    life = state.find(event.attempt)
    if life is None or not is_active(life):
        return
    device = state.devices[life.lease.attempt.device]
    before = device.throughput
    if event.attempt in before.courses:
        after = throughput.heard(before, event.attempt, event.reports, state.now_s)
        device.throughput = after
        if after.tells(event.attempt) or after.company != before.company:
            state.stirred.add(device.key)


def finished(state: State, device: DeviceState, attempt: str) -> None:
    """It ended well, and is still counted among those that run."""
    if attempt in device.throughput.courses:
        device.throughput = throughput.finished(device.throughput, attempt, state.now_s)
        state.stirred.add(device.key)


def look(state: State, *, polled: bool = False) -> list[Note]:
    """What follows where something has changed; where a test goes on with each poll."""
    keys = set(state.stirred)
    state.stirred.clear()
    if polled:
        keys |= {key for key, device in state.devices.items() if device.throughput.test}
    return [note for key in sorted(keys) for note in _look(state, state.devices[key])]


def _look(state: State, device: DeviceState) -> list[Note]:
    before = device.throughput
    turns = [_follow(state, device)]
    device.throughput = holding.looked(device.throughput, state.now_s)
    if not _is_left_alone(state, device):
        device.throughput, turn = tuning.settled(device.throughput, _strangers_share(device))
        turns.append(turn)
    if device.throughput.limit != before.limit:
        state.touch(device.key)
    return [
        state.note_of_device(
            device,
            "concurrency",
            (turn.before, turn.after),
            turn.because,
            evidence=turn.evidence,
        )
        for turn in turns
        if turn is not None
    ]


def _follow(state: State, device: DeviceState) -> Turn | None:
    """Take in who runs there now."""
    before = device.throughput
    running = {
        life.lease.attempt.id: Start(life.lease.attempt.trial.run, life.lease.attempt.started_at_s)
        for life in device.active()
    }
    if running.keys() == before.courses.keys():
        return None
    before = throughput.at_work(before, state.now_s)
    after = throughput.followed(before, running, state.now_s)
    gone = [course for id, course in before.courses.items() if id not in running]
    if len(gone) == 1 and before.company is not None and not _is_left_alone(state, device):
        after = holding.ended(after, gone[0], before.company, state.now_s)
    device.throughput, turn = tuning.met(after, (one.run for one in running.values()))
    return turn


def _is_left_alone(state: State, device: DeviceState) -> bool:
    """The user of a run with attempts there has said how many at once."""
    runs = {life.lease.attempt.trial.run for life in device.active()}
    return any(
        state.runs[run].run.keeps_concurrency or state.runs[run].run.max_attempts is not None
        for run in runs
    )


def _strangers_share(device: DeviceState) -> float | None:
    account = device.account()
    if account.strangers_bytes is None or not account.total_bytes:
        return None
    return account.strangers_bytes / account.total_bytes
