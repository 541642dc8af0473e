"""What is so on this machine: the supervisor's word and the runs' own, put together.

Reads; shows nothing. ``scheduler status --json`` prints a ``Overview``.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from math import inf

import msgspec

from scheduler.core.model import Rule
from scheduler.core.view import AttemptView, DeviceView, View
from scheduler.interfaces.client import ask
from scheduler.interfaces.progress import Progress, gaps, rate, rate_now, share, time_left
from scheduler.machine.api.answers import Status, Supervisor
from scheduler.machine.api.listing import RunAnswer, read_run
from scheduler.machine.processes import age_s
from scheduler.machine.runs import FINAL, RunStatus, read_whole
from scheduler.machine.state import StateFolder

OVER_SHOWN = 5  #: of the runs that are over, the last ones


class RunOverview(RunAnswer, frozen=True, kw_only=True):
    """A run, as ``scheduler runs`` knows it, and how it gets on.

    ``progress`` is reckoned when it is asked for; None where the run has said nothing yet.
    """

    progress: Progress | None = None
    attempts: tuple[AttemptView, ...] = ()
    place: int | None = None  #: in the queue of runs, from 1; None: it is not in it


class Overview(msgspec.Struct, frozen=True, kw_only=True):
    """All of it; sizes in bytes, times in seconds since the epoch, null is unknown.

    ``supervisor`` is null where none runs; then no device is known either. ``runs`` has the newest
    first: all that go on, and the last few that are over.
    """

    at_s: float
    supervisor: Supervisor | None
    devices: tuple[DeviceView, ...]
    runs: tuple[RunOverview, ...]
    rules: tuple[Rule, ...] = ()  #: in force: what is paused, windows, programs


def read_overview(state: StateFolder, only: str | None = None) -> Overview:
    """*only*: this run and no other. Raises client.NoAnswer."""
    answer = ask(state, "/v1/status", Status)
    shown = answer.view.devices if answer else ()
    devices = tuple(one for one in shown if one.attempts or not one.budget.on_request)
    runs = _read_runs(state, only, answer.view if answer else None)
    return Overview(
        at_s=time.time(),
        supervisor=answer.supervisor if answer else None,
        devices=devices,
        runs=tuple(run for run in placed(runs) if only in (None, run.id)),
        rules=answer.view.rules if answer else (),
    )


def _read_runs(state: StateFolder, only: str | None, view: View | None) -> list[RunOverview]:
    """Newest first: those that go on, and of the others *only*, or else the last few."""
    runs: list[RunOverview] = []
    most = OVER_SHOWN if only is None else 0
    for run in state.run_ids():
        shows = run == only or sum(one.is_over for one in runs) < most
        if not shows and _has_ended(state, run):
            continue
        overview = _read_run(state, run, view)
        if shows or not overview.is_over:
            runs.append(overview)
    return runs


class _Stands(msgspec.Struct):
    state: str


def _has_ended(state: StateFolder, run: str) -> bool:
    """By its own word. Of old runs, which are many, nothing else is read."""
    try:
        stands = read_whole(state.run(run) / "status.json", _Stands)
    except (msgspec.MsgspecError, OSError):
        return False
    return stands is not None and stands.state in FINAL


def placed(runs: Sequence[RunOverview]) -> list[RunOverview]:
    """The same, those that are queued with their place: the one to start first has 1."""
    queued = [run for run in runs if run.state == "queued" and run.spec is not None]
    queued.sort(key=_turn)
    places = {run.id: number for number, run in enumerate(queued, 1)}
    return [msgspec.structs.replace(run, place=places.get(run.id)) for run in runs]


def _turn(run: RunOverview) -> tuple[int, float, str]:
    """As ``machine.keeper`` starts them."""
    assert run.spec is not None
    return (-run.spec.priority, run.spec.created_at_s, run.id)


def _read_run(state: StateFolder, run: str, view: View | None) -> RunOverview:
    answer = read_run(state, run, view)
    devices = view.devices if view is not None else ()
    every = (one for device in devices for one in device.attempts)
    attempts = tuple(one for one in every if one.attempt.trial.run == run)
    overview = RunOverview(**msgspec.structs.asdict(answer), attempts=attempts)
    if answer.status is None:
        return overview
    now_s = time.time()
    progress = progress_of(
        answer.status,
        ages_of(attempts, now_s),
        now_s,
        goes_on=not answer.is_over,
        is_paused=view is not None and _is_paused(run, view.rules),
    )
    return msgspec.structs.replace(overview, progress=progress)


def ages_of(attempts: Sequence[AttemptView], now_s: float) -> list[float]:
    """For how long those have run that run.

    The story that their processes are asked for: 1. trials of a minute run, 2. the clock is put
    right by five hours, 3. they are said to take five hours more. A process may be older than its
    attempt: a script that is run again waits for one.
    """
    return [
        max(0.0, min(now_s - one.attempt.started_at_s, age_s(one.process) if one.process else inf))
        for one in attempts
        if one.state in ("starting", "running")
    ]


def _is_paused(run: str, rules: Sequence[Rule]) -> bool:
    everywhere = (rule for rule in rules if rule.device is None and rule.run in (None, run))
    return any(rule.max_attempts == 0 for rule in everywhere)


def progress_of(
    status: RunStatus,
    ages_s: Sequence[float],
    now_s: float,
    *,
    goes_on: bool,
    is_paused: bool,
) -> Progress:
    """Pure. *ages_s*: of the attempts that run. Where nothing goes on, the pace is that up to the
    end, and nothing is left.

    When a run that is paused goes on is not known, so neither is when it is done.
    """
    done = status.complete + status.pruned + status.failed + status.capacity
    since_s, here = status.started_at_s, done - status.done_before
    rates = rate(here, since_s, now_s if goes_on else status.updated_at_s)
    left = now = None
    ends_early = status.budget is not None and status.budget.ends is not None
    if goes_on:
        now = rate_now(status.finished_at_s, since_s, now_s)
        if status.n_trials is not None and not is_paused:
            left = time_left(
                len(status.running) if ends_early else status.n_trials - done,
                status.durations_s,
                ages_s,
                len(ages_s) or len(status.running),
                again=status.retried / done if done else 0.0,
                gaps_s=gaps(status.finished_at_s, since_s, status.durations_s),
            )
    return Progress(
        done=done,
        trials_an_hour_now=now,
        trials_an_hour=rates,
        pruned_share=share(status.pruned, done),
        too_big_share=share(status.capacity, done),
        left=left,
    )
