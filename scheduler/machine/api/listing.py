"""How the runs stand: what their folders hold and the supervisor's word, put together. Reads."""

from __future__ import annotations

import re
import time
from typing import Literal

import msgspec

from scheduler.core.view import View
from scheduler.machine import hosts
from scheduler.machine.runs import FINAL, RunSpec, RunStatus, State, read_whole
from scheduler.machine.state import StateFolder

STARTING_S = 60.0  #: a host that has not said anything by then has died on its way
_GOING: frozenset[State] = frozenset({"starting", "running", "finishing"})


class RunAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """A run. ``state`` is what is so now: "interrupted" where its host died without a word.

    ``spec`` and ``status`` are what the run's folder holds, None where it holds none. The counts
    are the supervisor's; 0 where the run has no host.
    """

    id: str
    state: State | Literal["unknown"]
    priority: int = 0  #: larger first
    active: int = 0  #: attempts
    waiting: int = 0  #: trials that wait for memory
    hold: str | None = None  #: why the next trial does not start
    paused: str | None = None  #: why nothing more of it is to start
    problem: str | None = None  #: what of the run's folder cannot be read
    spec: RunSpec | None = None
    status: RunStatus | None = None

    @property
    def is_over(self) -> bool:
        return self.state in FINAL or self.state == "unknown"


def read_runs(state: StateFolder, view: View | None) -> tuple[RunAnswer, ...]:
    """All runs, newest first. *view*: the supervisor's; None where none runs."""
    return tuple(read_run(state, run, view) for run in state.run_ids())


def read_run(state: StateFolder, run: str, view: View | None) -> RunAnswer:
    """One run, whose folder is there."""
    told = next((one for one in view.runs if one.run.id == run), None) if view else None
    spec, status, problem = _read_spec(state, run), hosts.read_status(state, run), None
    if status is None and (state.run(run) / "status.json").exists():
        problem = "its status.json cannot be read: it is damaged, or of another version of ours"
    is_connected = told is not None and told.connected
    has_host = is_connected or hosts.host_of(state.run(run)) is not None
    waiting = told.waiting if told is not None and is_connected else ()
    hold = waiting[0].because if waiting else None
    return RunAnswer(
        id=run,
        state="unknown" if problem else _state_now(spec, status, has_host=has_host),
        priority=spec.priority if spec else 0,
        active=told.active if told else 0,
        waiting=len(waiting),
        hold=hold or (status.hold if status else None),
        paused=_paused(run, view),
        problem=problem,
        spec=_without_secrets(spec),
        status=status,
    )


def _paused(run: str, view: View | None) -> str | None:
    rules = view.rules if view else ()
    return next((one.because for one in rules if one.run == run and one.max_attempts == 0), None)


def _read_spec(state: StateFolder, run: str) -> RunSpec | None:
    try:
        return read_whole(state.run(run) / "run.json", RunSpec)
    except (msgspec.MsgspecError, ValueError, OSError):
        return None


def _state_now(spec: RunSpec | None, status: RunStatus | None, *, has_host: bool) -> State:
    if status is None:
        is_young = spec is not None and time.time() - spec.created_at_s < STARTING_S
        return "starting" if has_host or is_young else "interrupted"
    if status.state in _GOING and not has_host and not hosts.is_alive(status):
        return "interrupted"
    return status.state


def _without_secrets(spec: RunSpec | None) -> RunSpec | None:
    """A storage's URL may carry a password."""
    if spec is None:
        return spec
    warm_start = spec.asked.warm_start
    hidden = msgspec.structs.replace(warm_start, storage=_hidden(warm_start.storage))
    asked = msgspec.structs.replace(spec.asked, warm_start=hidden)
    return msgspec.structs.replace(spec, storage=_hidden(spec.storage), asked=asked)


def _hidden(storage: str | None) -> str | None:
    return storage and re.sub(r"(?<=://)([^/@]*?):[^/]*@", r"\1:***@", storage)
