"""What the core knows, for people and for the supervisor's own watchers. Frozen values.

Covers what is so at one moment. Sizes are bytes, None is unknown; words for them are elsewhere.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from scheduler.core import reasons
from scheduler.core import rules as in_force
from scheduler.core.gains import Gain
from scheduler.core.life import Life, Releasing, Running, Starting
from scheduler.core.model import Attempt, Budget, Change, Process, Rule, Run, Trial
from scheduler.core.places import Refusal
from scheduler.core.policy import place
from scheduler.core.records import DeviceState
from scheduler.core.state import CHANGES, State
from scheduler.core.throughput import gains


class AttemptView(msgspec.Struct, frozen=True, kw_only=True):
    """An attempt that counts on its device: it runs, or its memory is not yet back."""

    attempt: Attempt
    state: Literal["starting", "running", "stopping", "releasing"]
    process: Process | None
    held_bytes: int | None
    peak_bytes: int | None
    saved_at_s: float | None = None  #: when it last wrote a checkpoint; None: not that we know
    #: What is set aside for it now, where that is less than it was started with; None: the same.
    now_promised_bytes: int | None = None

    @property
    def promise_bytes(self) -> int:
        """What is set aside for it now."""
        first = self.attempt.promise_bytes
        return first if self.now_promised_bytes is None else self.now_promised_bytes


class GainView(msgspec.Struct, frozen=True, kw_only=True):
    """What ``at_once`` attempts got done together, over what one fewer did; and how sure it is."""

    at_once: int
    ratio: float
    low_ratio: float
    high_ratio: float
    measured: int  #: changes that attempts lived through, or trials, that tell of it


class DeviceView(msgspec.Struct, frozen=True, kw_only=True):
    """``headroom_bytes`` is beside the device's own reserve and what rules keep free; a run may
    have another. It counts strangers at ``strangers_high_bytes``, the most that they held lately.
    """

    budget: Budget
    found: bool
    read_at_s: float | None
    total_bytes: int | None
    used_bytes: int | None
    strangers_bytes: int | None
    promised_bytes: int
    headroom_bytes: int | None
    at_most: int | None  #: attempts at once, by the user's limit, by rules and by what was learned
    problem: str | None  #: why nothing is known of its memory
    attempts: tuple[AttemptView, ...]
    out_because: str | None = None  #: why it is out of service: nothing starts there
    out_since_s: float | None = None
    strangers_high_bytes: int | None = None
    gains: tuple[GainView, ...] = ()  #: the smallest number at once first; of others nothing tells
    is_tested: bool = False  #: ``at_most`` is for a while, to see what one fewer do


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
    rules: tuple[Rule, ...] = ()  #: in force


def view(state: State) -> View:
    return View(
        at_s=state.now_s,
        devices=tuple(_device(state, device) for device in state.devices.values()),
        runs=_runs(state),
        changes=state.recent(CHANGES),
        rules=state.rules,
    )


def _device(state: State, device: DeviceState) -> DeviceView:
    room, account = state.room(device), device.account()
    reserve = max(device.budget.reserve_bytes, in_force.kept_bytes(room.rules))
    return DeviceView(
        budget=device.budget,
        found=device.found,
        read_at_s=device.sampled_at_s if device.reading else None,
        total_bytes=account.total_bytes,
        used_bytes=account.used_bytes,
        strangers_bytes=account.strangers_bytes,
        promised_bytes=account.promised_bytes,
        headroom_bytes=room.account.headroom_bytes(reserve),
        at_most=room.most_at_once(),
        problem=room.problem if device.reading else "it has not been read yet",
        attempts=tuple(_attempt(life) for life in device.lives.values()),
        out_because=device.outage.because if device.outage else None,
        out_since_s=device.outage.since_s if device.outage else None,
        strangers_high_bytes=room.account.strangers_bytes,
        gains=tuple(_gain(one) for one in gains(device.throughput)),
        is_tested=room.is_tested,
    )


def _gain(one: Gain) -> GainView:
    return GainView(
        at_once=one.company,
        ratio=one.ratio,
        low_ratio=one.low_ratio,
        high_ratio=one.high_ratio,
        measured=one.attempts,
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
        saved_at_s=life.lease.saved_at_s,
        now_promised_bytes=life.lease.now_promised_bytes,
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
