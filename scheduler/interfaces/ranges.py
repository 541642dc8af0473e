"""``scheduler ranges STUDY``: where a study's best trials lie, as a table and as a picture."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence

import click
import msgspec

from scheduler.interfaces.errors import BadInput, Failed
from scheduler.interfaces.paint import PLAIN, Column, Paint, columns, cut, for_stdout, printable
from scheduler.interfaces.warm_start_input import THE_ONE, find_study
from scheduler.machine.state import find
from scheduler.strategies.ranges import BEST_SHARE, Limits, Range, Row, holds, narrowed, scaled

LEAST_CELLS, MOST_CELLS = 10, 60  #: of the picture
LIST_CELLS = 28  #: of categories in the table


class RangesReport(msgspec.Struct, frozen=True, kw_only=True):
    """Of one study. ``trials``: finished ones, of which the best quarter is looked at."""

    study: str
    trials: int
    parameters: tuple[Row, ...]


@click.command()
@click.option("--storage", nargs=2, metavar="URL NAME", help="Any study: its storage and its name.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object, as --ranges takes it.")
@click.argument("run", required=False)
def command(run: str | None, storage: tuple[str, str] | None, as_json: bool) -> None:
    """Show where the best quarter of the trials of RUN lies.

    The picture is each parameter's full range: # where the best are, = where `--use-best-ranges`
    would draw from, · what it would leave out.
    """
    if (run is None) == (storage is None):
        raise BadInput("name a run, or a study: scheduler ranges RUN, or --storage URL NAME")
    if run is not None and run not in find().run_ids():
        raise BadInput(f"there is no run {run}; see: scheduler runs --all")
    try:
        url, name = find_study(*(storage or (run or "", THE_ONE)))
    except BadInput as error:
        raise BadInput(str(error).replace("--from-study", "--storage")) from None
    report = read_report(url, name)
    if as_json:
        click.echo(msgspec.json.encode(report, enc_hook=str))
        return
    for line in ranges_lines(report, shutil.get_terminal_size().columns, for_stdout()):
        click.echo(line)


def read_report(url: str, name: str) -> RangesReport:
    """Raises BadInput where that is no study to go by, Failed where it cannot be read."""
    from scheduler.study.reading.trials import Unreachable
    from scheduler.study.strategies.tables import SeveralObjectives, read_table  # Optuna

    try:
        trials, rows = read_table(url, name)
    except Unreachable as error:
        raise Failed(str(error)) from None
    except SeveralObjectives:
        raise BadInput(f"study {name} has several objectives: no trial is the best") from None
    return RangesReport(study=name, trials=trials, parameters=rows)


def ranges_lines(report: RangesReport, width: int, paint: Paint = PLAIN) -> Iterator[str]:
    """A table, then a picture. Pure."""
    rows = report.parameters
    if not rows:
        yield f"study {printable(report.study)} has no finished trials"
        return
    best = f"the best {100 * BEST_SHARE:.0f} % of {report.trials} finished trials"
    yield cut(f"where {best} lie, study {printable(report.study)}", width)
    yield ""
    shown = (
        Column(name="parameter", left=True, cells=tuple(printable(row.name) for row in rows)),
        Column(name="full", left=True, cells=tuple(_range(row.full) for row in rows)),
        Column(name="narrowed", left=True, cells=tuple(_limits(row) for row in rows)),
        Column(name="kept", cells=tuple(_kept(row) for row in rows)),
        Column(name="trials", cells=tuple(str(row.trials) for row in rows)),
    )
    heading, *lines = columns(shown, width, indent="")
    yield paint("dim", heading)
    yield from (cut(line, width) for line in lines)
    for row in rows:
        if row.because is not None:
            yield cut(f"{printable(row.name)} stays as it is: {row.because}", width)
    yield ""
    yield from _pictures(rows, width)


def _pictures(rows: Sequence[Row], width: int) -> Iterator[str]:
    label = min(20, max(len(printable(row.name)) for row in rows))
    cells = max(LEAST_CELLS, min(MOST_CELLS, width - label - 12))
    for row in rows:
        scale = "  log" if row.full.log else ""
        name = cut(printable(row.name), label).ljust(label)
        yield cut(f"{name}  [{picture(row, cells)}]{scale}", width)


def picture(row: Row, cells: int) -> str:
    """The full range as *cells*: `#` where the best are, `=` what is kept besides, `·` the rest."""
    less = row.full if row.limits is None else narrowed(row.full, row.limits) or row.full
    if row.full.choices:
        return _categories(row, less, cells)
    low, high = scaled(row.full, row.full.low), scaled(row.full, row.full.high)
    if high <= low:
        return "#" * cells

    def cell(value: object) -> int:
        return min(cells - 1, int((scaled(row.full, value) - low) / (high - low) * cells))

    first, last = cell(less.low), cell(less.high)
    kept = ["=" if first <= place <= last else "·" for place in range(cells)]
    for value in row.best:
        kept[cell(value)] = "#"
    return "".join(kept)


def _categories(row: Row, less: Range, cells: int) -> str:
    """Each has its part of the cells, as long as there is one for each."""
    count = len(row.full.choices)
    each = max(1, cells // count)
    marks = (
        "#" if choice in row.best else "=" if holds(less, choice) else "·"
        for choice in row.full.choices
    )
    return "".join(mark * each for mark in marks)[:cells].ljust(cells)


def _range(it: Range) -> str:
    if it.choices:
        return _listed(it.choices)
    return f"{_number(it.low)} to {_number(it.high)}{' log' if it.log else ''}"


def _limits(row: Row) -> str:
    limits: Limits | None = row.limits
    if limits is None:
        return "-"
    if row.full.choices:
        return _listed(limits.choices)
    return f"{_number(limits.low)} to {_number(limits.high)}"


def _listed(choices: Sequence[object]) -> str:
    return cut(printable(", ".join(map(str, choices))), LIST_CELLS)


def _number(value: float | int | None) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _kept(row: Row) -> str:
    return f"{100 * row.kept_share:.0f} %"
