"""``scheduler status``: what runs, what waits and why. Plain, as JSON, or live."""

from __future__ import annotations

import shutil
import time

import click

from scheduler.interfaces.client import NoAnswer
from scheduler.interfaces.errors import Failed
from scheduler.interfaces.logs import known_run
from scheduler.interfaces.report import read_report
from scheduler.interfaces.tables import report_lines
from scheduler.machine.state import StateFolder, find

_EVERY_S = 1.0


@click.command()
@click.option("--json", "as_json", is_flag=True, help="One JSON object; sizes are bytes.")
@click.option("--watch", is_flag=True, help="Show it live until Ctrl-C.")
@click.argument("run", required=False)
def command(run: str | None, as_json: bool, watch: bool) -> None:
    """Show the devices' memory and how runs stand; only RUN where it is named."""
    state = find()
    if run is not None:
        known_run(state, run)
    try:
        if as_json:
            import msgspec

            click.echo(msgspec.json.encode(read_report(state, run)))
        elif watch:
            _watch(state, run)
        else:
            click.echo(_text(state, run))
    except NoAnswer as error:
        raise Failed(str(error)) from None
    except KeyboardInterrupt:
        return


def _text(state: StateFolder, run: str | None) -> str:
    return "\n".join(report_lines(read_report(state, run), shutil.get_terminal_size().columns))


def _watch(state: StateFolder, run: str | None) -> None:
    from rich.live import Live
    from rich.text import Text

    with Live(Text(_text(state, run)), auto_refresh=False, screen=True) as live:
        while True:
            time.sleep(_EVERY_S)
            live.update(Text(_text(state, run)), refresh=True)
