"""What is so on this machine: the supervisor's word and the runs' own, put together.

Reads; shows nothing. ``scheduler status --json`` prints a ``Report``.
"""

from __future__ import annotations

import time
from typing import Literal

import msgspec

from scheduler.core.view import AttemptView, DeviceView, RunView
from scheduler.interfaces.client import ask
from scheduler.machine import hosts
from scheduler.machine.answers import Status, Supervisor
from scheduler.machine.runs import RunSpec, RunStatus, State, read_whole
from scheduler.machine.state import StateFolder

OVER_SHOWN = 5  #: of the runs that are over, the last ones
STARTING_S = 60.0  #: a host that has not said anything by then has died on its way


class RunReport(msgspec.Struct, frozen=True, kw_only=True):
    """A run. ``state`` is what is so now: "interrupted" where its host died without a word.

    ``spec`` and ``status`` are what the run's folder holds, None where it holds none.
    ``attempts`` and ``hold`` are the supervisor's word; what waits and why nothing more starts.
    """

    id: str
    state: State | Literal["unknown"]
    spec: RunSpec | None
    status: RunStatus | None
    attempts: tuple[AttemptView, ...] = ()
    waiting: int = 0
    hold: str | None = None
    problem: str | None = None  #: what of the run's folder cannot be read


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """All of it; sizes in bytes, times in seconds since the epoch, null is unknown.

    ``supervisor`` is null where none runs; then no device is known either. ``runs`` has the newest
    first: all that go on, and the last few that are over.
    """

    at_s: float
    supervisor: Supervisor | None
    devices: tuple[DeviceView, ...]
    runs: tuple[RunReport, ...]


def read_report(state: StateFolder, only: str | None = None) -> Report:
    """*only*: this run and no other. Raises client.NoAnswer."""
    answer = ask(state, "/v1/status", Status)
    shown = answer.view.devices if answer else ()
    devices = tuple(one for one in shown if one.attempts or not one.budget.on_request)
    told = {run.run.id: run for run in answer.view.runs} if answer else {}
    runs = []
    over = 0
    for run in state.run_ids() if only is None else [only]:
        report = _read_run(state, run, told.get(run), devices)
        over += is_over(report)
        if only is not None or not is_over(report) or over <= OVER_SHOWN:
            runs.append(report)
    return Report(
        at_s=time.time(),
        supervisor=answer.supervisor if answer else None,
        devices=devices,
        runs=tuple(runs),
    )


def is_over(run: RunReport) -> bool:
    return run.state in ("finished", "failed", "interrupted", "unknown")


def _read_run(
    state: StateFolder, run: str, told: RunView | None, devices: tuple[DeviceView, ...]
) -> RunReport:
    status, problem = hosts.read_status(state, run), None
    if status is None and (state.run(run) / "status.json").exists():
        problem = "its status.json cannot be read: it is damaged, or of another version of ours"
    waiting = told.waiting if told and told.connected else ()
    hold = waiting[0].because if waiting else None
    spec = _read_spec(state, run)
    return RunReport(
        id=run,
        state="unknown"
        if problem
        else _state_now(spec, status, is_connected=told is not None and told.connected),
        spec=spec,
        status=status,
        attempts=tuple(
            one for device in devices for one in device.attempts if one.attempt.trial.run == run
        ),
        waiting=len(waiting),
        hold=hold or (status.hold if status else None),
        problem=problem,
    )


def _read_spec(state: StateFolder, run: str) -> RunSpec | None:
    try:
        return read_whole(state.run(run) / "run.json", RunSpec)
    except (msgspec.MsgspecError, OSError):
        return None


def _state_now(spec: RunSpec | None, status: RunStatus | None, *, is_connected: bool) -> State:
    going: tuple[Literal["starting", "running", "finishing"], ...]
    going = ("starting", "running", "finishing")
    if status is None:
        is_young = spec is not None and time.time() - spec.created_at_s < STARTING_S
        return "starting" if is_connected or is_young else "interrupted"
    if status.state in going and not is_connected and not hosts.is_alive(status):
        return "interrupted"
    return status.state
