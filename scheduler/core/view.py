"""What the core knows, for people and for the supervisor's own watchers. Frozen values.

Covers what is so at one moment. Sizes are bytes, None is unknown; words for them are elsewhere.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from scheduler.core import reasons
from scheduler.core.life import Life, Releasing, Running, Starting
from scheduler.core.model import Attempt, Budget, Change, Process, Run, Trial
from scheduler.core.policy import Refusal, place
from scheduler.core.state import CHANGES, DeviceState, State


class AttemptView(msgspec.Struct, frozen=True, kw_only=True):
    """An attempt that counts on its device: it runs, or its memory is not yet back."""

    attempt: Attempt
    state: Literal["starting", "running", "stopping", "releasing"]
    process: Process | None
    held_bytes: int | None
    peak_bytes: int | None


class DeviceView(msgspec.Struct, frozen=True, kw_only=True):
    """``headroom_bytes`` is beside the device's own reserve; a run may have another."""

    budget: Budget
    found: bool
    read_at_s: float | None
    total_bytes: int | None
    used_bytes: int | None
    strangers_bytes: int | None
    promised_bytes: int
    headroom_bytes: int | None
    at_most: int | None  #: attempts at once, by the user's limit and by what was learned
    problem: str | None  #: why nothing is known of its memory
    attempts: tuple[AttemptView, ...]
    out_because: str | None = None  #: why it is out of service: nothing starts there
    out_since_s: float | None = None


class WaitingView(msgspec.Struct, frozen=True, kw_only=True):
    """``because`` is set for the first of each run: the others wait behind it."""

    trial: Trial
    since_s: float
    because: str | None = None


class RunView(msgspec.Struct, frozen=True, kw_only=True):
    run: Run
    connected: bool
    active: int
    waiting: tuple[WaitingView, ...]
    halted: str | None = None  #: why nothing more of it starts


class View(msgspec.Struct, frozen=True, kw_only=True):
    at_s: float
    devices: tuple[DeviceView, ...]
    runs: tuple[RunView, ...]
    changes: tuple[Change, ...]  #: newest first


def view(state: State) -> View:
    return View(
        at_s=state.now_s,
        devices=tuple(_device(state, device) for device in state.devices.values()),
        runs=_runs(state),
        changes=state.recent(CHANGES),
    )


def _device(state: State, device: DeviceState) -> DeviceView:
    room = state.room(device)
    account = room.account
    return DeviceView(
        budget=device.budget,
        found=device.found,
        read_at_s=device.sampled_at_s if device.reading else None,
        total_bytes=account.total_bytes,
        used_bytes=account.used_bytes,
        strangers_bytes=account.strangers_bytes,
        promised_bytes=account.promised_bytes,
        headroom_bytes=account.headroom_bytes(device.budget.reserve_bytes),
        at_most=room.limit(),
        problem=room.problem if device.reading else "it has not been read yet",
        attempts=tuple(_attempt(life) for life in device.lives.values()),
        out_because=device.outage.because if device.outage else None,
        out_since_s=device.outage.since_s if device.outage else None,
    )


def _attempt(life: Life) -> AttemptView:
    state: Literal["starting", "running", "stopping", "releasing"] = "stopping"
    match life:
        case Starting():
            state = "starting"
        case Running():
            state = "running"
        case Releasing():
            state = "releasing"
    return AttemptView(
        attempt=life.lease.attempt,
        state=state,
        process=life.process,
        held_bytes=life.lease.held_bytes,
        peak_bytes=life.lease.peak_bytes,
    )


def _runs(state: State) -> tuple[RunView, ...]:
    rooms = state.rooms()
    first = {
        queue.run.id: _because(place(queue.waiting[0].trial, queue, rooms), queue.waiting[0].trial)
        for queue in state.queues()
    }
    return tuple(
        RunView(
            run=one.run,
            connected=one.joined,
            active=len(one.active),
            waiting=tuple(
                WaitingView(
                    trial=waiting.trial,
                    since_s=waiting.since_s,
                    because=first.get(one.run.id) if number == 0 else None,
                )
                for number, waiting in enumerate(one.waiting)
            ),
            halted=one.halted,
        )
        for one in state.runs.values()
    )


def _because(answer: object, trial: Trial) -> str | None:
    return reasons.held(answer, trial) if isinstance(answer, Refusal) else None
