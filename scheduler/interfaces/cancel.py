"""``scheduler cancel RUN``: ends a run for good."""

from __future__ import annotations

import click

from scheduler.interfaces.known import known_run
from scheduler.interfaces.ordering import give
from scheduler.machine.state import find


@click.command()
@click.argument("run")
def command(run: str) -> None:
    """Stop RUN for good, with the trials that run. What it has found stays in its study."""
    state = find()
    known_run(state, run)
    give(state, f"/v1/runs/{run}/cancel")
    click.echo(f"run {run} is cancelled; its trials that ran are stopped")
