"""Which runs are taken at all, on the devices that there are. Pure.

Asked by the command line before a run begins, and by the supervisor when its host joins.
"""

from __future__ import annotations

from collections.abc import Sequence

from scheduler.core.events import Joined
from scheduler.core.model import Budget, Run
from scheduler.machine.sizes import format_size


def refusal(joined: Joined, budgets: Sequence[Budget]) -> str | None:
    """Why a host is not taken, in a sentence; None: it is."""
    run = joined.run
    if not run.id or "/" in run.id:
        return f"{run.id!r} is not the name of a run"
    for running in joined.running:
        if running.attempt.trial.run != run.id:
            return f"attempt {running.attempt.id} is not of run {run.id}"
    return misfit(run, budgets)


def misfit(run: Run, budgets: Sequence[Budget]) -> str | None:
    """Why no device can ever take a trial of *run*; None: one can."""
    allowed = [one for one in budgets if run.device in (None, one.device.key)]
    if not allowed:
        known = ", ".join(f"{one.device.key} ({one.device.name})" for one in budgets)
        return f"there is no device {run.device!r} here; there are: {known or 'none'}"
    if run.promise_bytes is None or any(_fits(run, one) for one in allowed):
        return None
    rooms = "; ".join(_room(run, one) for one in allowed)
    wanted = format_size(run.promise_bytes)
    return f"a trial is to get {wanted}, more than a device can give: {rooms}"


def _reserve(run: Run, budget: Budget) -> int:
    return budget.reserve_bytes if run.reserve_bytes is None else run.reserve_bytes


def _fits(run: Run, budget: Budget) -> bool:
    total = budget.device.total_bytes
    return total is None or (run.promise_bytes or 0) <= total - _reserve(run, budget)


def _room(run: Run, budget: Budget) -> str:
    total, reserve = budget.device.total_bytes, _reserve(run, budget)
    room = max(0, (total or 0) - reserve)
    return (
        f"{budget.device.key} has {format_size(room)}"
        f" ({format_size(total)} in all, {format_size(reserve)} kept free)"
    )
