"""A run's report as one page of HTML that needs nothing else, no network and no file beside it.

Every text of the user's is escaped. Plotly's script (4.8 MB) is in the page once.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from html import escape
from typing import TYPE_CHECKING, Any

from scheduler.interfaces.run_table import run_lines
from scheduler.machine.sizes import format_duration

if TYPE_CHECKING:
    from scheduler.interfaces.report import Report
    from scheduler.study.reading.plots import Plot

WIDTH = 110  #: cells of what is shown as on a terminal
_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; max-width: 1100px; margin: 2em auto; padding: 0 1em;
       color: #222; background: #fff }
h1 { font-size: 1.5em } h2 { font-size: 1.15em; margin-top: 2em; border-bottom: 1px solid #ddd }
pre { background: #f6f6f6; padding: 1em; overflow-x: auto; line-height: 1.35 }
table { border-collapse: collapse; font-size: 0.9em; display: block; overflow-x: auto }
td, th { text-align: left; padding: 0.25em 0.9em 0.25em 0; border-bottom: 1px solid #eee;
         vertical-align: top }
td.number { text-align: right; font-variant-numeric: tabular-nums }
.none { color: #777 }
"""


def page(report: Report, plots: Sequence[Plot]) -> str:
    """The whole page."""
    return "\n".join(_parts(report, plots))


def _parts(report: Report, plots: Sequence[Plot]) -> Iterator[str]:
    run = report.run
    yield "<!doctype html>"
    yield '<html lang="en"><head><meta charset="utf-8">'
    yield '<meta name="viewport" content="width=device-width, initial-scale=1">'
    yield f"<title>{escape(run.id)}</title><style>{_STYLE}</style></head><body>"
    yield f"<h1>{escape(run.id)}</h1>"
    if run.spec is not None:
        words = " ".join([run.spec.target, *run.spec.arguments])
        yield f"<p>{escape(words)}, asked for at {_clock(run.spec.created_at_s)}; "
        yield f"this page was made at {_clock(report.at_s)}.</p>"
    lines = run_lines(run, report.at_s, WIDTH)
    yield f"<pre>{escape(chr(10).join(lines))}</pre>"
    yield from _plots(plots)
    yield from _best(report)
    yield from _changes(report)
    yield "</body></html>"


def _plots(plots: Sequence[Plot]) -> Iterator[str]:
    is_first: bool | str = True  #: plotly's word for "with its script"
    for plot in plots:
        yield f"<h2>{escape(plot.title)}</h2>"
        if plot.figure is None:
            yield f'<p class="none">{escape(plot.because)}</p>'
            continue
        yield plot.figure.to_html(include_plotlyjs=is_first, full_html=False)
        is_first = False


def _best(report: Report) -> Iterator[str]:
    if not report.best:
        return
    names = list(dict.fromkeys(name for one in report.best for name in one.params))
    yield "<h2>Best trials</h2>"
    yield from _table(
        ("trial", "value", "took", *names),
        (
            (
                one.number,
                one.value,
                "-" if one.duration_s is None else format_duration(one.duration_s),
                *(one.params.get(name, "-") for name in names),
            )
            for one in report.best
        ),
    )


def _changes(report: Report) -> Iterator[str]:
    yield "<h2>What was changed by itself, and by you</h2>"
    if not report.changes:
        yield '<p class="none">nothing</p>'
        return
    yield from _table(
        ("when", "what", "before", "after", "why", "evidence", "by"),
        (
            (_clock(one.at_s), one.what, one.before, one.after, one.because, one.evidence, one.by)
            for one in report.changes
        ),
    )


def _table(heads: Sequence[str], rows: Iterable[Sequence[Any]]) -> Iterator[str]:
    yield f"<table><tr>{''.join(f'<th>{escape(head)}</th>' for head in heads)}</tr>"
    for row in rows:
        yield f"<tr>{''.join(map(_cell, row))}</tr>"
    yield "</table>"


def _cell(value: Any) -> str:
    if isinstance(value, int | float) and not isinstance(value, bool):
        return f'<td class="number">{value:.6g}</td>'
    return f"<td>{escape(str(value))}</td>"


def _clock(at_s: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(at_s))
