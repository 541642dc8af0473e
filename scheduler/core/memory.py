"""All that the core knows, as one event: what a journal that was shortened begins with. Pure.

A core that takes it goes on as the one that said it. Whatever it holds is in the journals of a
version, so the same holds as for events: a field, once written, keeps its meaning, and a new one
has a default. Besides the structs here those are the ones in ``records``, ``life``, ``faults``,
``concurrency``, ``throughput``, ``course``, ``gains``, ``watch`` and ``high_water``.
"""

from __future__ import annotations

from typing import Any

import msgspec

from scheduler.core.life import Releasing
from scheduler.core.model import Change, Rule
from scheduler.core.records import DeviceState, RunState
from scheduler.core.state import State


class Count(msgspec.Struct, frozen=True):
    """The number of the last attempt of a trial."""

    run: str
    trial: int
    attempt: int


class Remembered(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """Everything between two events; ``at_s`` is the time of the former."""

    at_s: float
    devices: tuple[DeviceState, ...]
    runs: tuple[RunState, ...]
    changes: tuple[Change, ...]  #: oldest first
    past: tuple[Releasing, ...]
    counts: tuple[Count, ...]
    rules: tuple[Rule, ...] = ()
    boot_id: str = ""


def remember(state: State) -> Remembered:
    return Remembered(
        at_s=state.now_s,
        devices=tuple(_copy_of_device(device) for device in state.devices.values()),
        runs=tuple(_copy_of_run(run) for run in state.runs.values()),
        changes=tuple(state.changes),
        past=tuple(state.past.values()),
        counts=tuple(Count(*key, number) for key, number in state.numbers.items()),
        rules=state.rules,
        boot_id=state.boot_id,
    )


def earlier(state: State, now_s: float) -> Remembered:
    """All of it as if it had happened so much earlier that it is *now_s* now.

    For a clock that was set back. The story this prevents: 1. a card has a fault and rests for a
    minute, 2. the clock is corrected by three hours, 3. nothing starts there for three hours, and
    what has ended is waited for as long.
    """
    moved: Remembered = _moved(remember(state), state.now_s - now_s)
    return moved


def _moved(value: Any, by_s: float) -> Any:
    """With all moments in it, which the names of their fields tell, earlier by so much."""
    match value:
        case tuple() | list():
            return type(value)(_moved(one, by_s) for one in value)
        case dict():
            return {key: _moved(one, by_s) for key, one in value.items()}
        case msgspec.Struct():
            return msgspec.structs.replace(
                value,
                **{
                    name: _moved_field(name, getattr(value, name), by_s)
                    for name in value.__struct_fields__
                },
            )
    return value


def _moved_field(name: str, value: Any, by_s: float) -> Any:
    if not name.endswith(("at_s", "since_s", "until_s")):
        return _moved(value, by_s)
    if isinstance(value, tuple):
        return tuple(one - by_s for one in value)
    return None if value is None else value - by_s


def recall(event: Remembered) -> State:
    state = State()
    state.now_s, state.rules, state.boot_id = event.at_s, event.rules, event.boot_id
    state.devices |= {device.key: _copy_of_device(device) for device in event.devices}
    state.stirred |= {key for key, device in state.devices.items() if not device.is_followed}
    state.runs |= {run.run.id: _copy_of_run(run) for run in event.runs}
    state.changes += event.changes
    state.past |= {life.lease.attempt.id: life for life in event.past}
    state.numbers |= {(one.run, one.trial): one.attempt for one in event.counts}
    state.index()
    return state


def _copy_of_device(device: DeviceState) -> DeviceState:
    return msgspec.structs.replace(device, lives=dict(device.lives))


def _copy_of_run(run: RunState) -> RunState:
    return msgspec.structs.replace(
        run,
        waiting=list(run.waiting),
        awaited=set(run.awaited),
        active=set(run.active),
        made_way=set(run.made_way),
    )
