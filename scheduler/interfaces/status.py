"""``scheduler status``: what runs, what waits and why. Plain, as JSON, or live."""

from __future__ import annotations

import shutil

import click

from scheduler.interfaces.client import NoAnswer
from scheduler.interfaces.errors import Failed
from scheduler.interfaces.known import known_run
from scheduler.interfaces.overview import read_overview
from scheduler.interfaces.paint import for_stdout
from scheduler.interfaces.tables import overview_lines
from scheduler.machine.state import StateFolder, find


@click.command()
@click.option("--json", "as_json", is_flag=True, help="One JSON object; sizes are bytes.")
@click.option("--watch", is_flag=True, help="Show it live until Ctrl-C.")
@click.argument("run", required=False)
def command(run: str | None, as_json: bool, watch: bool) -> None:
    """Show the devices' memory and how runs stand; only RUN, and all of it, where it is named.

    With --json and --watch together, one object a line.
    """
    state = find()
    if run is not None:
        known_run(state, run)
    try:
        if watch:
            _watch(state, run, as_json)
        lines = _json if as_json else _text
        click.echo("\n".join(lines(state, run, shutil.get_terminal_size().columns)))
    except NoAnswer as error:
        raise Failed(str(error)) from None
    except KeyboardInterrupt:
        return


def _json(state: StateFolder, run: str | None, _: int) -> list[str]:
    import msgspec

    return [msgspec.json.encode(read_overview(state, run)).decode()]


def _text(state: StateFolder, run: str | None, width: int) -> list[str]:
    return overview_lines(read_overview(state, run), width, for_stdout(), is_all=run is not None)


def _watch(state: StateFolder, run: str | None, as_json: bool) -> None:
    from scheduler.interfaces.watch import follow, watch

    def text(width: int) -> list[str]:
        try:
            return _text(state, run, width)
        except NoAnswer as error:  # it may be about to leave, or the machine is busy
            return [str(error)]

    if as_json:
        follow(lambda width: _json(state, run, width))
    watch(text)
