"""``scheduler runs``: one line a run."""

from __future__ import annotations

import shutil
import time
from collections.abc import Sequence

import click

from scheduler.interfaces.client import NoAnswer, ask
from scheduler.interfaces.errors import Failed
from scheduler.interfaces.paint import PLAIN, Column, Paint, columns, for_stdout, printable
from scheduler.machine.api.answers import Runs, Status
from scheduler.machine.api.listing import RunAnswer, read_runs
from scheduler.machine.runs import RunStatus
from scheduler.machine.sizes import format_duration
from scheduler.machine.state import find

OVER_SHOWN = 10  #: of the runs that are over, the last ones


@click.command()
@click.option("--all", "shows_all", is_flag=True, help="Those that are over, too, however old.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object, with all that is known.")
def command(shows_all: bool, as_json: bool) -> None:
    """Show the runs, newest first: all that go on, and the last few that are over."""
    state = find()
    try:
        status = ask(state, "/v1/status", Status)
    except NoAnswer as error:
        raise Failed(str(error)) from None
    runs = read_runs(state, status.view if status else None)
    shown = runs if shows_all else _shown(runs)
    if as_json:
        import msgspec

        click.echo(msgspec.json.encode(Runs(runs=tuple(shown))))
        return
    for line in run_lines(shown, time.time(), shutil.get_terminal_size().columns, for_stdout()):
        click.echo(line)
    if len(shown) < len(runs):
        click.echo(f"{len(runs) - len(shown)} older ones are over: scheduler runs --all")


def _shown(runs: Sequence[RunAnswer]) -> list[RunAnswer]:
    over = [run for run in runs if run.is_over]
    dropped = {run.id for run in over[OVER_SHOWN:]}
    return [run for run in runs if run.id not in dropped]


def run_lines(
    runs: Sequence[RunAnswer], now_s: float, width: int, paint: Paint = PLAIN
) -> list[str]:
    """A table, newest first. Pure."""
    if not runs:
        return ["no runs yet; start one with: scheduler run SCRIPT"]
    shown = (
        Column(name="run", left=True, cells=tuple(run.id for run in runs)),
        Column(name="state", left=True, cells=tuple(map(_state, runs))),
        Column(name="priority", keep=2, cells=tuple(map(_priority, runs))),
        Column(name="trials", cells=tuple(_trials(run.status) for run in runs)),
        Column(name="best", keep=4, cells=tuple(_best(run.status) for run in runs)),
        Column(name="since", keep=3, cells=tuple(_since(run, now_s) for run in runs)),
    )
    heading, *rows = columns(shown, width, indent="")
    return [paint("dim", heading), *rows]


def _state(run: RunAnswer) -> str:
    return "paused" if run.paused and not run.is_over else run.state


def _priority(run: RunAnswer) -> str:
    return str(run.priority) if run.priority else "-"


def _trials(status: RunStatus | None) -> str:
    """Those with a final outcome, of all that are wanted."""
    if status is None:
        return "-"
    done = status.complete + status.pruned + status.failed + status.capacity
    return str(done) if status.n_trials is None else f"{done}/{status.n_trials}"


def _best(status: RunStatus | None) -> str:
    if status is None or status.best is None:
        return "-"
    return printable(f"{status.best.value:.6g} (trial {status.best.number})")


def _since(run: RunAnswer, now_s: float) -> str:
    """How long ago it was asked for."""
    return "-" if run.spec is None else format_duration(now_s - run.spec.created_at_s)
