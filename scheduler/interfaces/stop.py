"""``scheduler stop``: ends the supervisor, and shows what it still waits for."""

from __future__ import annotations

import time

import click

from scheduler.interfaces.client import NoAnswer, Refused, ask, order
from scheduler.interfaces.errors import BadInput, Failed
from scheduler.machine import processes
from scheduler.machine.api.answers import Status
from scheduler.machine.state import StateFolder, find
from scheduler.machine.summon import supervisor_of

_POLL_S = 0.2
_SAY_EVERY_S = 30.0


@click.command()
@click.option("--drain", is_flag=True, help="Let the trials that run finish; nothing new starts.")
@click.option("--now", is_flag=True, help="Stop the trials that run and put them back.")
def command(drain: bool, now: bool) -> None:
    """Stop the supervisor. Without an option only where no trial runs.

    Runs that were submitted go on where they were with the next `scheduler start`. One that runs
    in another terminal is interrupted there.
    """
    if drain and now:
        raise BadInput("--drain lets what runs finish and --now stops it: choose one")
    state = find()
    supervisor = supervisor_of(state)
    if supervisor is None:
        click.echo("no supervisor runs")
        return
    try:
        body = None if drain else {"now": now}
        order(state, "/v1/supervisor/drain" if drain else "/v1/supervisor/stop", body)
    except (Refused, NoAnswer) as error:
        raise Failed(str(error)) from None
    progress = _Progress(state)
    progress.say()
    while not processes.wait_gone(supervisor, _POLL_S):
        progress.say()
    click.echo("the supervisor has ended")


class _Progress:
    """How many trials it waits for, when that changes and now and then."""

    def __init__(self, state: StateFolder) -> None:
        self._state = state
        self._said: int | None = None
        self._said_s = 0.0

    def say(self) -> None:
        try:
            status = ask(self._state, "/v1/status", Status)
        except NoAnswer:
            return
        if status is None:
            return
        attempts = [one for device in status.view.devices for one in device.attempts]
        count = sum(one.state != "releasing" for one in attempts)
        is_due = time.monotonic() - self._said_s > _SAY_EVERY_S
        if count and (count != self._said or is_due):
            self._said, self._said_s = count, time.monotonic()
            click.echo(f"{count} {'trial runs' if count == 1 else 'trials run'} still")
