"""``scheduler status``: what runs, what waits and why. Plain, as JSON, or live."""

from __future__ import annotations

import shutil
import sys
import time

import click

from scheduler.interfaces.client import NoAnswer
from scheduler.interfaces.errors import Failed
from scheduler.interfaces.logs import known_run
from scheduler.interfaces.report import read_report
from scheduler.interfaces.tables import report_lines
from scheduler.machine.state import StateFolder, find

_EVERY_S = 1.0

#: What terminals have understood since xterm (xterm's ctlseqs).
_OTHER_SCREEN, _FIRST_SCREEN = "\x1b[?1049h\x1b[?25l", "\x1b[?25h\x1b[?1049l"
_HOME, _CLEAR_LINE, _CLEAR_BELOW = "\x1b[H", "\x1b[K", "\x1b[J"


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
    """Draws over itself on a terminal's other screen; elsewhere, one text after the other."""
    if not sys.stdout.isatty():
        while True:
            click.echo(_text(state, run) + "\n")
            time.sleep(_EVERY_S)
    click.echo(_OTHER_SCREEN, nl=False)
    try:
        while True:
            lines = _text(state, run).splitlines()[: shutil.get_terminal_size().lines - 1]
            click.echo(_HOME + "".join(f"{line}{_CLEAR_LINE}\n" for line in lines), nl=False)
            click.echo(_CLEAR_BELOW, nl=False)
            time.sleep(_EVERY_S)
    finally:
        click.echo(_FIRST_SCREEN, nl=False)
