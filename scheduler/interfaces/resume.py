"""``scheduler resume RUN``: ends a run's pause, or has a submitted one go on."""

from __future__ import annotations

import click

from scheduler.interfaces.errors import BadInput
from scheduler.interfaces.known import known_run
from scheduler.interfaces.ordering import give
from scheduler.machine.api.listing import read_run
from scheduler.machine.state import find


@click.command()
@click.argument("run")
def command(run: str) -> None:
    """End the pause of RUN, or have the supervisor go on with it.

    One that was started by `scheduler run` in a terminal goes on in a terminal.
    """
    state = find()
    known_run(state, run)
    found = read_run(state, run, None)
    is_kept = found.spec is not None and found.spec.kept
    if found.state == "interrupted" and not is_kept:
        raise BadInput(
            f"run {run} was interrupted, not paused; to go on: scheduler run --resume {run}"
        )
    give(state, f"/v1/runs/{run}/resume")
    click.echo(f"run {run} goes on")
