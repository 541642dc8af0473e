"""``scheduler start``: a supervisor that stays when nothing runs."""

from __future__ import annotations

import os
import sys

import click

from scheduler.interfaces.submit import ensure_lasting
from scheduler.machine.state import StateFolder, open_state
from scheduler.machine.summon import is_lasting, supervisor_of


@click.command()
@click.option("--foreground", is_flag=True, help="Stay in this terminal until Ctrl-C.")
def command(foreground: bool) -> None:
    """Start the supervisor, to stay: it keeps the queue and the runs that are submitted to it.

    One that serves a `scheduler run` already is told to stay.
    """
    state = open_state()
    was_there = is_lasting(state)
    if foreground and not was_there:
        arguments = [sys.executable, "-P", "-m", "scheduler.daemon", "--lasting", "--instead"]
        os.execv(sys.executable, arguments)
    ensure_lasting(state)
    click.echo(where(state, "runs already" if was_there else "runs"))


def where(state: StateFolder, runs: str = "runs") -> str:
    supervisor = supervisor_of(state)
    pid = supervisor.pid if supervisor else "unknown"
    return f"a supervisor {runs}: pid {pid}, in {state.path}; it writes to {state.log}"
