"""``scheduler simulate FILE|RUN``: what would happen, in seconds instead of days."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import click
import msgspec

from scheduler.interfaces.errors import BadInput
from scheduler.interfaces.paint import PLAIN, Column, Paint, columns, for_stdout, words
from scheduler.interfaces.run import Size
from scheduler.interfaces.run_table import format_rate, format_span
from scheduler.interfaces.simulate_input import Subject, read_file
from scheduler.interfaces.simulate_run import read_run
from scheduler.machine.sizes import format_size
from scheduler.machine.state import find
from scheduler.simulate.contention import NAMED
from scheduler.simulate.outcome import Outcome
from scheduler.simulate.picture import picture
from scheduler.simulate.what_if import Prospect, Setting, play_orders, prospect
from scheduler.simulate.workload import CardSpec

AS_IT_IS, TOGETHER = "as it is", "all of these"
ORDERS = 10
_POSITIVE = click.IntRange(min=1)


class Share(click.ParamType[float]):
    name = "share"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        text = str(value)
        try:
            share = float(text.removesuffix("%")) / (100 if text.endswith("%") else 1)
        except ValueError:
            share = -1.0
        if not 0 <= share <= 1:
            self.fail(f"{text!r} is not a share; write it as 50% or 0.5", param, ctx)
        return share


class Simulated(msgspec.Struct, frozen=True, kw_only=True):
    """What ``scheduler simulate --json`` prints. The first row is the present setting."""

    subject: str
    trials: int
    rows: tuple[Prospect, ...]
    assumed: tuple[str, ...]


@click.command()
@click.argument("subject", metavar="FILE|RUN")
@click.option(
    "--card",
    "cards",
    type=Size(),
    multiple=True,
    metavar="SIZE",
    help="Such a card instead; given twice, two of them.",
)
@click.option("--reserve", type=Size(), help="Another reserve on each card.")
@click.option(
    "--promise",
    "--memory-per-trial",
    type=Size(),
    help="Another promise until a trial's peak is known.",
)
@click.option("--at-most", "--max-trials", type=_POSITIVE, metavar="N", help="So many at once.")
@click.option("--n-trials", type=_POSITIVE, metavar="N", help="So many trials.")
@click.option("--no-pruning", is_flag=True, help="Trials that were pruned go on to their end.")
@click.option(
    "--use",
    type=Share(),
    metavar="SHARE",
    default="50%",
    show_default=True,
    help="Of RUN: how much of the device's computing one trial uses alone.",
)
@click.option(
    "--contention",
    type=click.Choice(sorted(NAMED)),
    help="How trials slow each other down. Default: as the file says; fitted.",
)
@click.option(
    "--orders",
    type=_POSITIVE,
    default=ORDERS,
    show_default=True,
    help="In how many orders the trials come; ranges are over these.",
)
@click.option(
    "--picture",
    "path",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Memory over time, as SVG: of the last row's first order.",
)
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
def command(
    subject: str, path: Path | None, as_json: bool, orders: int, use: float, **asked: Any
) -> None:
    """Play FILE or RUN on a virtual clock: how long it takes, and what another setting would do.

    FILE holds a workload, see docs/simulate.md. Of RUN its own trials are played again: those that
    are left while it goes on or could, all of them once it is over. Each option that changes
    something has a row beside the present setting, and all of them together have one.
    """
    it = read_subject(subject, use)
    rows: list[Prospect] = []
    first: Outcome | None = None
    settings = settings_of(it, **asked)
    for setting in settings:
        found = list(play_orders(setting, it.draw, orders, it.known))
        rows.append(prospect(setting, found))
        first = found[0]
    if path is not None and first is not None:
        _write(path, picture(first, f"{it.name}, {settings[-1].name}"))
    told = Simulated(
        subject=it.name, trials=settings[0].n_trials, rows=tuple(rows), assumed=it.assumed
    )
    if as_json:
        click.echo(msgspec.json.encode(told))
        return
    for line in simulated_lines(told, shutil.get_terminal_size().columns, for_stdout()):
        click.echo(line)


def read_subject(name: str, use: float) -> Subject:
    """Raises BadInput, Failed."""
    path = Path(name)
    if path.is_file():
        return read_file(path)
    if path.suffix == ".json" or "/" in name:
        raise BadInput(f"{name} is not there")
    return read_run(find(), name, use)


# -- settings ------------------------------------------------------------------------------------


def settings_of(
    it: Subject,
    *,
    cards: Sequence[int] = (),
    reserve: int | None = None,
    promise: int | None = None,
    at_most: int | None = None,
    n_trials: int | None = None,
    no_pruning: bool = False,
    contention: str | None = None,
) -> list[Setting]:
    """The present one, each change by itself, and all of them together. *contention* is how things
    are, so it holds for all."""
    changes: list[tuple[str, dict[str, Any]]] = []
    if cards:
        sizes = " ".join(f"--card {_typed(size)}" for size in cards)
        changes.append((sizes, {"cards": _cards(it.cards, cards)}))
    if reserve is not None:
        changes.append((f"--reserve {_typed(reserve)}", {"reserve": reserve}))
    if promise is not None:
        changes.append((f"--promise {_typed(promise)}", {"promise": promise}))
    if at_most is not None:
        changes.append((f"--at-most {at_most}", {"at_most": at_most}))
    if n_trials is not None:
        changes.append((f"--n-trials {n_trials}", {"n_trials": n_trials}))
    if no_pruning:
        changes.append(("--no-pruning", {"pruning": False}))
    if len(changes) > 1:
        changes.append((TOGETHER, {key: one for _, what in changes for key, one in what.items()}))
    how = contention or it.contention
    return [_setting(it, AS_IT_IS, how, {}), *(_setting(it, name, how, to) for name, to in changes)]


def _setting(it: Subject, name: str, contention: str, to: dict[str, Any]) -> Setting:
    specs = to.get("cards", it.cards)
    if "reserve" in to:
        specs = [msgspec.structs.replace(one, reserve_bytes=to["reserve"]) for one in specs]
    run = msgspec.structs.replace(
        it.run,
        promise_bytes=to.get("promise", it.run.promise_bytes),
        max_attempts=to.get("at_most", it.run.max_attempts),
        reserve_bytes=to.get("reserve", it.run.reserve_bytes),
    )
    return Setting(
        name=name,
        cards=tuple(one.card(number) for number, one in enumerate(specs)),
        run=run,
        n_trials=to.get("n_trials", it.n_trials),
        pruning=to.get("pruning", True),
        contention=contention,
    )


def _cards(present: Sequence[CardSpec], sizes: Sequence[int]) -> list[CardSpec]:
    """Like the first one, in other sizes; strangers stay on the first."""
    return [
        msgspec.structs.replace(
            present[0],
            total_bytes=size,
            name=f"card{number}",
            strangers=present[0].strangers if number == 0 else (),
        )
        for number, size in enumerate(sizes)
    ]


# -- what is shown -------------------------------------------------------------------------------


def simulated_lines(it: Simulated, width: int, paint: Paint = PLAIN) -> Iterator[str]:
    orders = it.rows[0].orders
    times = "one order" if orders == 1 else f"{orders} orders"
    yield f"{paint('bold', it.subject)}: {it.trials} trials, simulated in {times}"

    def column(name: str, cells: Iterator[str], keep: int = 9, *, left: bool = False) -> Column:
        return Column(name=name, cells=tuple(cells), keep=keep, left=left)

    rows = it.rows
    shown = (
        column("", (one.name for one in rows), left=True),
        column("takes", (_takes(one) for one in rows)),
        column("range", (_range(one) for one in rows), 8, left=True),
        column("trials/h", (format_rate(one.trials_an_hour) for one in rows)),
        column("at once", (f"{one.at_once:.1f}" for one in rows), 6),
        column("memory held", (f"{one.held_share:.0%}" for one in rows), 5),
        column("out of memory", (_count(one.ran_out, one.ran_out_share) for one in rows), 7),
        column("done again", (f"{one.redone_share:.1%}" for one in rows), 4),
        column("too big", (_few(one.too_big) for one in rows), 3),
        column("unfinished", (_few(one.unfinished) for one in rows), 2),
    )
    yield from columns(shown, width)
    for assumed in it.assumed:
        yield from words(assumed, width, "  assumed: ", " " * 11)


def _takes(it: Prospect) -> str:
    """Where a trial never came to an end, it was not waited for for ever."""
    if not it.unfinished:
        return format_span(it.makespan_s)
    return f"over {format_span(it.makespan_s)}" if it.makespan_s else "for ever"


def _range(it: Prospect) -> str:
    low, high = format_span(it.low_s), format_span(it.high_s)
    return f"{low} to {high}" if low != high else "-"


def _typed(size_bytes: int) -> str:
    """As it may have been written, in the larger unit that it is a whole number of."""
    for unit, each in (("GiB", 1 << 30), ("GB", 10**9), ("MiB", 1 << 20), ("MB", 10**6)):
        if size_bytes % each == 0:
            return f"{size_bytes // each}{unit}"
    return format_size(size_bytes)


def _count(mean: float, share: float) -> str:
    return f"{mean:.1f} ({share:.1%})" if mean else "0"


def _few(mean: float) -> str:
    return f"{mean:.1f}" if mean else "-"


def _write(path: Path, text: str) -> None:
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise BadInput(f"{path} cannot be written: {error.strerror}") from None
