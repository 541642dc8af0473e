"""``scheduler events``: what happened, and what happens."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator

import click

from scheduler.interfaces.client import NoAnswer, ask
from scheduler.interfaces.errors import Failed
from scheduler.interfaces.known import known_run
from scheduler.interfaces.ordering import NO_SUPERVISOR
from scheduler.interfaces.paint import printable
from scheduler.interfaces.run_table import format_time
from scheduler.machine.api.answers import Events
from scheduler.machine.chronicle.entries import Entry
from scheduler.machine.state import StateFolder, find

SHOWN = 50  #: the last ones, unless asked otherwise
_WAIT_S = 20
_RESTART_S = 10.0  #: a supervisor that is put in another's place is back by then


@click.command()
@click.option("-f", "--follow", is_flag=True, help="Go on until Ctrl-C.")
@click.option("--run", metavar="RUN", help="Only what is about RUN.")
@click.option(
    "--since", type=click.IntRange(min=0), metavar="N", help="All that came after number N."
)
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
def command(follow: bool, run: str | None, since: int | None, as_json: bool) -> None:
    """Show what happened, oldest first: the last 50, or with --since all after a number."""
    from scheduler.machine.chronicle.chronicle import NAME, read_entries

    state = find()
    if run is not None:
        known_run(state, run)
    entries = read_entries(state.path / NAME)
    last = entries[-1].number if entries else 0
    about = [one for one in entries if run is None or one.run == run]
    shown = about[-SHOWN:] if since is None else [one for one in about if one.number > since]
    try:
        _print(shown, as_json)
        for more in _following(state, last) if follow else ():
            _print([one for one in more if run is None or one.run == run], as_json)
    except NoAnswer as error:
        raise Failed(str(error)) from None
    except KeyboardInterrupt:
        click.echo()


def _print(entries: Iterable[Entry], as_json: bool) -> None:
    now_s = time.time()
    for entry in entries:
        if as_json:
            import msgspec

            click.echo(msgspec.json.encode(entry))
        else:
            click.echo(event_line(entry, now_s))


def event_line(entry: Entry, now_s: float) -> str:
    return f"{entry.number:>6}  {format_time(entry.at_s, now_s)}  {printable(entry.text)}"


def _following(state: StateFolder, after: int) -> Iterator[tuple[Entry, ...]]:
    """What comes after a number, as it comes. Raises Failed where the supervisor is gone."""
    seen_s = None
    while True:
        path = f"/v1/events?after={after}&wait={_WAIT_S}"
        answer = ask(state, path, Events, timeout_s=_WAIT_S + 10)
        if answer is not None:
            seen_s, after = time.monotonic(), answer.next
            yield answer.entries
        elif seen_s is None or time.monotonic() - seen_s > _RESTART_S:
            raise Failed(NO_SUPERVISOR)
        else:
            time.sleep(0.2)
