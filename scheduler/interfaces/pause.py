"""``scheduler pause RUN``: nothing more of a run starts until it is resumed."""

from __future__ import annotations

import click

from scheduler.interfaces.known import known_run
from scheduler.interfaces.ordering import give
from scheduler.machine.state import find


@click.command()
@click.option("--stop", is_flag=True, help="Stop the trials that run too; they come back later.")
@click.argument("run")
def command(run: str, stop: bool) -> None:
    """Start no more trials of RUN. Those that run finish."""
    state = find()
    known_run(state, run)
    give(state, f"/v1/runs/{run}/pause", {"stop": stop})
    rest = "what runs of it is stopped and comes back" if stop else "what runs of it finishes"
    click.echo(f"run {run} is paused, {rest}; to go on: scheduler resume {run}")
