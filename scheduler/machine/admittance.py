"""Which runs are taken at all, on the devices that there are. Pure.

Asked by the command line before a run begins, and by the supervisor when its host joins.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

from scheduler.core.events import Joined
from scheduler.core.model import Budget, Run
from scheduler.machine.sizes import format_size

_RUN = re.compile(r"\w[\w.-]*", re.ASCII)  #: what ``state.new_run`` makes; it names a folder


def refusal(joined: Joined, budgets: Sequence[Budget]) -> str | None:
    """Why a host is not taken, in a sentence; None: it is."""
    run = joined.run
    if not _RUN.fullmatch(run.id):
        return f"{run.id!r} is not the name of a run"
    for attempt in (running.attempt for running in joined.running):
        if {attempt.trial.run, attempt.id.rpartition("/")[0]} != {run.id}:
            return f"attempt {attempt.id!r} is not of run {run.id}"
    return misfit(run, budgets)


def misfit(run: Run, budgets: Sequence[Budget]) -> str | None:
    """Why no device can ever take a trial of *run*; None: one can."""
    allowed = [one for one in budgets if one.is_for(run)]
    if not allowed:
        known = ", ".join(f"{one.device.key} ({one.device.name})" for one in budgets)
        return f"there is no device {run.device!r} here; there are: {known or 'none'}"
    if any(0 < _promise(run, one) <= _room(run, one) for one in allowed):
        return None
    return "; ".join(_shortage(run, one) for one in allowed)


def _promise(run: Run, budget: Budget) -> int:
    return budget.promise_bytes if run.promise_bytes is None else run.promise_bytes


def _reserve(run: Run, budget: Budget) -> int:
    return budget.reserve_bytes if run.reserve_bytes is None else run.reserve_bytes


def _room(run: Run, budget: Budget) -> float:
    """The most that a trial can ever get; without end where the device's size is not known."""
    total = budget.device.total_bytes
    return math.inf if total is None else total - _reserve(run, budget)


def _shortage(run: Run, budget: Budget) -> str:
    promise, total, reserve = (
        _promise(run, budget),
        budget.device.total_bytes,
        _reserve(run, budget),
    )
    if promise <= 0 or total is None:
        return f"a trial cannot do with {format_size(promise)} of memory"
    return (
        f"a trial is to get {format_size(promise)}, and {budget.device.key} has"
        f" {format_size(max(0, total - reserve))} to give ({format_size(total)} in all,"
        f" {format_size(reserve)} kept free)"
    )
