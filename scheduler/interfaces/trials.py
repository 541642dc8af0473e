"""``scheduler trials RUN``: one line a trial, from the run's study."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click
import msgspec

from scheduler.interfaces.errors import Failed
from scheduler.interfaces.known import begun_run
from scheduler.interfaces.paint import PLAIN, Column, Paint, columns, for_stdout, printable
from scheduler.machine.sizes import format_duration
from scheduler.machine.state import find

if TYPE_CHECKING:
    from scheduler.study.reading.trials import TrialRow

STATES = ("waiting", "running", "complete", "pruned", "failed", "too big", "put back")
_VALUES_SHOWN = 3


@click.command()
@click.option("--state", type=click.Choice(STATES), help="Only those in this state.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object, with all parameters.")
@click.argument("run")
def command(run: str, state: str | None, as_json: bool) -> None:
    """Show the trials of RUN by Optuna's number.

    Too big: it did not fit the device, and the sampler was told that it is pruned. Put back: it
    came back as another trial, and the sampler was told that it has failed.
    """
    folder, spec, status = begun_run(find(), run)
    from scheduler.study.reading.trials import Unreachable, read_trials  # Optuna: most of a second

    try:
        rows = read_trials(folder, spec, status)
    except Unreachable as error:
        raise Failed(f"run {run}: {error}") from None
    shown = [row for row in rows if state is None or row.state == state]
    if as_json:
        told = {"run": run, "study": status.study_name, "trials": shown}
        click.echo(msgspec.json.encode(told, enc_hook=str))
        return
    for line in trial_lines(shown, shutil.get_terminal_size().columns, for_stdout()):
        click.echo(line)


def trial_lines(rows: Sequence[TrialRow], width: int, paint: Paint = PLAIN) -> list[str]:
    """A table; parameters that do not fit are cut. Pure."""
    if not rows:
        return ["no trials"]
    shown = (
        Column(name="trial", cells=tuple(str(row.number) for row in rows)),
        Column(name="state", left=True, cells=tuple(row.state for row in rows)),
        Column(name="value", cells=tuple(_values(row) for row in rows)),
        Column(name="took", cells=tuple(_took(row) for row in rows)),
        Column(name="parameters", left=True, cells=tuple(_params(row.params) for row in rows)),
    )
    heading, *lines = columns(shown, width, indent="")
    return [paint("dim", heading), *lines]


def _values(row: TrialRow) -> str:
    if row.values is None:
        return "-"
    more = ", …" if len(row.values) > _VALUES_SHOWN else ""
    return ", ".join(f"{value:.6g}" for value in row.values[:_VALUES_SHOWN]) + more


def _took(row: TrialRow) -> str:
    return "-" if row.duration_s is None else format_duration(row.duration_s)


def _params(params: dict[str, Any]) -> str:
    return ", ".join(f"{printable(name)} {_short(value)}" for name, value in params.items()) or "-"


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else printable(str(value))
