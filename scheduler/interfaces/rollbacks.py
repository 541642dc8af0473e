"""``scheduler rollbacks RUN``: what was changed in a run, why, and how to take it back."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator, Sequence

import click

from scheduler.interfaces.errors import BadInput, Failed
from scheduler.interfaces.known import known_run
from scheduler.interfaces.paint import PLAIN, Column, Paint, columns, cut, for_stdout, words
from scheduler.interfaces.run_table import format_time
from scheduler.machine import changes
from scheduler.machine.changes import Rollback
from scheduler.machine.state import find

WIDE = 140  #: from here on what, why and by what evidence are side by side
_GAP = 2


@click.command()
@click.option("--undo", type=click.IntRange(min=1), metavar="N", help="Take back change N.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
@click.argument("run")
def command(run: str, undo: int | None, as_json: bool) -> None:
    """Show what was changed in RUN, by the scheduler or by you, oldest first.

    With --undo, what change N is about is again as it was before, and what the scheduler changed
    by itself it does not change again.
    """
    folder = known_run(find(), run)
    try:
        made, _ = changes.read(folder)
    except OSError as error:
        raise Failed(f"the record of run {run} cannot be read: {error}") from None
    if undo is not None:
        _undo(run, undo, made)
        return
    if as_json:
        import msgspec

        click.echo(msgspec.json.encode({"run": run, "changes": made}))
        return
    width = shutil.get_terminal_size().columns
    for line in rollback_lines(made, time.time(), width, for_stdout()):
        click.echo(line)


def _undo(run: str, number: int, made: Sequence[Rollback]) -> None:
    from scheduler.interfaces.set import fixed_of, put
    from scheduler.strategies import wishes

    change = next((one for one in made if one.number == number), None)
    if change is None:
        there = f"there are 1 to {made[-1].number}" if made else "there are none"
        raise BadInput(f"run {run} has no change {number}; {there}: scheduler rollbacks {run}")
    try:
        values = wishes.undo(change, fixed_of(run))
    except ValueError as error:
        raise BadInput(f"change {number} cannot be undone: {error}") from None
    put(run, values, f"change {number} undone by you")


def rollback_lines(
    made: Sequence[Rollback], now_s: float, width: int, paint: Paint = PLAIN
) -> list[str]:
    """A table. On a narrow terminal each change has its reason below it. Pure."""
    if not made:
        return ["nothing was changed"]
    numbers = [str(one.number) for one in made]
    whens = [format_time(one.at_s, now_s) for one in made]
    whats = [_what(one) for one in made]
    bys: list[str] = [one.by for one in made]
    heads = ("#", "when", "what", "by")
    cells = (numbers, whens, whats, bys)
    fixed = sum(
        max(len(one) for one in (head, *column)) + _GAP
        for head, column in zip(heads, cells, strict=True)
    )
    left = max(20, width - fixed)
    rows: list[tuple[str, ...]] = []
    for place, one in enumerate(made):
        own = (numbers[place], whens[place], whats[place], bys[place])
        texts = _texts(one, left, is_wide=width >= WIDE)
        rows += [(*(own if line == 0 else ("",) * 4), *text) for line, text in enumerate(texts)]
    names = (*heads, "before -> after", "why", "evidence")[: len(rows[0])]
    names = names if width >= WIDE else (*heads, "before -> after, and why")
    shown = [
        Column(name=name, left=name != "#", cells=tuple(row[place] for row in rows))
        for place, name in enumerate(names)
    ]
    heading, *lines = columns(shown, width, indent="")
    return [paint("dim", heading), *lines]


def _what(one: Rollback) -> str:
    return one.what if one.trial is None else f"{one.what}, trial {one.trial}"


def _texts(one: Rollback, left: int, *, is_wide: bool) -> Iterator[tuple[str, ...]]:
    """The lines of the last columns, in *left* cells."""
    device = f"{one.device}: " if one.device else ""
    change = f"{device}{one.before} -> {one.after}"
    if not is_wide:
        yield from ((line,) for line in _wrapped(change, left))
        reason = f"{one.because} ({one.evidence})" if one.evidence else one.because
        yield from ((f"  {line}",) for line in _wrapped(reason, left - 2))
        return
    shares = (left * 3 // 10, left * 4 // 10, left * 3 // 10 - 2 * _GAP)
    cells = [
        _wrapped(text, share)
        for text, share in zip((change, one.because, one.evidence), shares, strict=True)
    ]
    for line in range(max(map(len, cells))):
        yield tuple(cell[line] if line < len(cell) else "" for cell in cells)


def _wrapped(text: str, width: int) -> list[str]:
    return [cut(line, width) for line in words(text, width, "", "")]
