"""What ``scheduler devices`` knows of each device: one value, for people and for programs.

Asks the supervisor where one runs, and the machine for the rest: who the strangers are, and what
the sources say that the supervisor has had no need to ask. Each is asked on a thread of its own,
for so long and no longer.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Literal

import msgspec

from probes.failover import FAILURES, Failover, SourceState
from probes.reading import Absent, Device, LeftOut, Probe, Reading
from probes.strangers import Others, read_strangers
from probes.tools.tool import ToolProbe
from scheduler.interfaces.client import ask
from scheduler.machine.api.answers import Devices
from scheduler.machine.budgets import Here, look_here, sysfs_root
from scheduler.machine.state import StateFolder

PATIENCE_S = 15.0  #: tools have a limit of 10 s of their own
_SILENT = f"has not answered in {PATIENCE_S:.0f} s"
_WAKES_AFTER_S = 1.0


class SourceReport(msgspec.Struct, frozen=True, kw_only=True):
    """One source of a device. Sizes in bytes; None: not said, and ``problem`` says why."""

    name: str
    state: Literal["in use", "failing", "left", "standby"]
    total_bytes: int | None = None
    used_bytes: int | None = None
    took_s: float | None = None
    problem: str | None = None


class DeviceReport(msgspec.Struct, frozen=True, kw_only=True):
    """One device. ``held_bytes`` is what our attempts hold, None where that cannot be told."""

    device: Device
    on_request: bool  #: only for runs that name it
    total_bytes: int | None
    used_bytes: int | None
    held_bytes: int | None
    attempts: int
    problem: str | None
    waiting_share: float | None
    reserve_bytes: int
    promise_bytes: int
    max_attempts: int | None
    strangers: Others
    sources: tuple[SourceReport, ...]


class DevicesReport(msgspec.Struct, frozen=True, kw_only=True):
    """``scheduler devices --json``."""

    supervisor: bool  #: one runs, and its readings are these
    devices: tuple[DeviceReport, ...]
    left_out: tuple[LeftOut, ...]
    absent: tuple[Absent, ...]


def read_devices(state: StateFolder) -> DevicesReport:
    """Raises NoAnswer where a supervisor runs and does not answer."""
    told = ask(state, "/v1/devices", Devices)
    here = look_here()
    pending = [_ask_all(sources, told) for sources in here.sources]
    deadline_s = time.monotonic() + PATIENCE_S
    answers = [[_answer(future, deadline_s) for future in futures] for futures in pending]
    return DevicesReport(
        supervisor=told is not None,
        devices=tuple(_report(here, number, each, told) for number, each in enumerate(answers)),
        left_out=here.left_out if told is None else told.left_out,
        absent=here.absent,
    )


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """What one source said when we asked it; no reading: it has not answered in time."""

    reading: Reading | None
    took_s: float
    strangers: Others | None = None


def _trees(told: Devices | None, key: str) -> tuple[int, ...]:
    return told.trees.get(key, ()) if told is not None else ()


def _ask_all(sources: Sequence[Probe], told: Devices | None) -> list[Future[Answer]]:
    trees = _trees(told, sources[0].device.key)
    first = _in_background(sources[0], trees, None)
    return [first, *(_in_background(source, trees, first) for source in sources[1:])]


def _in_background(
    source: Probe, trees: tuple[int, ...], first: Future[Answer] | None
) -> Future[Answer]:
    """On a thread that nobody waits for when we leave: the device may never answer."""
    future: Future[Answer] = Future()

    def work() -> None:
        try:
            future.set_result(_asked(source, trees, first))
        except Exception as error:
            future.set_exception(error)

    threading.Thread(target=work, name=source.source, daemon=True).start()
    return future


def _asked(source: Probe, trees: tuple[int, ...], first: Future[Answer] | None) -> Answer:
    """A tool would wake a card that the *first* source found asleep.

    Who the strangers are is looked at once a device: by the first source, if it answers.
    """
    is_named = False
    if first is not None:
        with contextlib.suppress(TimeoutError):
            answer = first.result(_WAKES_AFTER_S)
            is_named, reading = answer.strangers is not None, answer.reading
            if reading is not None and reading.asleep:
                problem = f"not asked: the card sleeps, and {source.source} would wake it"
                reading = msgspec.structs.replace(reading, problem=problem)
                return Answer(reading=reading, took_s=0.0)
    began_s = time.monotonic()
    reading = source.read(trees)
    took_s = time.monotonic() - began_s
    strangers = None if is_named else _who(source, trees)
    return Answer(reading=reading, took_s=took_s, strangers=strangers)


def _who(source: Probe, trees: tuple[int, ...]) -> Others | None:
    listed = source.listed() if isinstance(source, ToolProbe) else None
    trees = (*trees, os.getpid())  # who asks is nobody's stranger
    return read_strangers(
        source.device, trees, sysfs=sysfs_root(), proc=Path("/proc"), listed=listed
    )


def _answer(future: Future[Answer], deadline_s: float) -> Answer:
    try:
        return future.result(max(0.0, deadline_s - time.monotonic()))
    except TimeoutError:
        return Answer(reading=None, took_s=PATIENCE_S)


def _report(
    here: Here, number: int, answers: Sequence[Answer], told: Devices | None
) -> DeviceReport:
    budget, sources = here.budgets[number], here.sources[number]
    key = budget.device.key
    states, reading = _believed(sources, answers, told)
    held = [one.held_bytes for one in reading.held or ()]
    known = [size for size in held if size is not None]
    unknown = reading.held is None or len(known) < len(held)
    strangers = (answer.strangers for answer in answers if answer.strangers is not None)
    return DeviceReport(
        device=budget.device,
        on_request=budget.on_request,
        total_bytes=reading.total_bytes,
        used_bytes=reading.used_bytes,
        held_bytes=None if unknown else sum(known),
        attempts=len(_trees(told, key)),
        problem=reading.problem,
        waiting_share=reading.waiting_share,
        reserve_bytes=budget.reserve_bytes,
        promise_bytes=budget.promise_bytes,
        max_attempts=budget.max_attempts,
        strangers=next(strangers, Others()),
        sources=tuple(map(_source, states, answers)),
    )


def _believed(
    sources: Sequence[Probe], answers: Sequence[Answer], told: Devices | None
) -> tuple[tuple[SourceState, ...], Reading]:
    """As the supervisor sees it; without one, as it would after asking each until it is left."""
    key = sources[0].device.key
    names = [source.source for source in sources]
    if told is not None:
        states = told.sources.get(key, ())
        readings = [reading for reading in told.readings if reading.device == key]
        if readings and [state.name for state in states] == names:
            return states, readings[0]
    failover = Failover(sources[0].device, names)
    for number, answer in enumerate(answers):
        reading = answer.reading or _silent(key)
        for _ in range(FAILURES):
            failover.take(number, reading, trees=(), took_s=answer.took_s, now_s=0.0)
    return failover.states(), failover.reading() or _silent(key)


def _silent(key: str) -> Reading:
    return Reading(device=key, total_bytes=None, used_bytes=None, problem=_SILENT)


def _source(state: SourceState, answer: Answer) -> SourceReport:
    reading = answer.reading
    return SourceReport(
        name=state.name,
        state=state.state,
        total_bytes=reading.total_bytes if reading else None,
        used_bytes=reading.used_bytes if reading else None,
        took_s=round(answer.took_s, 6) if reading else None,
        problem=state.problem or (reading.problem if reading else _SILENT),
    )
