"""``scheduler restart``: a new supervisor in the place of the one that runs."""

from __future__ import annotations

import click

from scheduler.interfaces.errors import Failed
from scheduler.interfaces.start import where
from scheduler.machine.state import open_state
from scheduler.machine.summon import NoSupervisor, replace_supervisor


@click.command()
def command() -> None:
    """Put a new supervisor in the place of the one that runs, as after an update.

    Trials go on meanwhile, and the new one takes them over.
    """
    state = open_state()
    try:
        replace_supervisor(state)
    except NoSupervisor as error:
        raise Failed(str(error)) from None
    click.echo(where(state))
