"""A short journal in the place of a long one: the events that make a core know what runs. Pure.

A day of one device's readings is 20 MB and takes 4 s to replay. What devices have taught (how many
at once) and the past changes are not carried over: after a kill they are learned again.
"""

from __future__ import annotations

from collections.abc import Iterator

from scheduler.core.events import Event, Found, Joined, Left, Offered, Running
from scheduler.core.model import Budget
from scheduler.core.view import RunView, View


def events_of(view: View, budgets: tuple[Budget, ...]) -> Iterator[Event]:
    """Attempts whose memory is on its way back are left out: the next reading shows it."""
    yield Found(at_s=view.at_s, budgets=budgets)
    for run in view.runs:
        yield from _events_of_run(view, run)


def _events_of_run(view: View, run: RunView) -> Iterator[Event]:
    running = tuple(
        Running(attempt=one.attempt, process=one.process)
        for device in view.devices
        for one in device.attempts
        if one.attempt.trial.run == run.run.id and one.state != "releasing"
    )
    if not running and not run.connected:
        return
    yield Joined(at_s=view.at_s, run=run.run, running=running)
    for waiting in run.waiting:
        yield Offered(at_s=view.at_s, trial=waiting.trial)
    if not run.connected:
        yield Left(at_s=view.at_s, run=run.run.id)
