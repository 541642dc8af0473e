"""A run in lines of text: how it gets on, its attempts, why it waits, what was changed. Pure.

``tables`` puts the runs below the devices.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from scheduler.core.model import Change
from scheduler.core.view import AttemptView
from scheduler.interfaces.overview import RunOverview
from scheduler.interfaces.paint import PLAIN, Column, Paint, columns, printable, words
from scheduler.interfaces.progress import Left, Progress
from scheduler.machine.runs import Best, LiveTrial, RunStatus
from scheduler.machine.sizes import format_duration, format_size
from scheduler.strategies.shown import PruningShown, RangesShown, WarmStartShown

CHANGES_SHOWN = 5
LABEL = 10  #: cells of the labels at the left, the indent among them
PARAM_LINES = 3

_STYLES = {"running": "green", "finished": "green", "failed": "red", "interrupted": "yellow"}


def run_lines(
    run: RunOverview, now_s: float, width: int, paint: Paint = PLAIN, *, is_all: bool = False
) -> Iterator[str]:
    """All that is shown of one run; of its changes the last few, unless *is_all*."""
    state = paint(_STYLES.get(run.state, "bold"), run.state)
    standing = "; ".join(_standing(run, now_s))
    first = f"{paint('bold', run.id)}  {state}"
    yield from words(standing, width, f"{first}  " if standing else first, "    ")
    status = run.status
    if run.problem:
        yield from row("problem", run.problem, width)
    if status is not None:
        yield from _progress(run, status, now_s, width)
    yield from _attempts(run.attempts, status, now_s, width)
    if not run.is_over and run.hold and run.hold != run.paused:
        yield from row("next", run.hold, width)
    if status is None:
        return
    yield from _changes(run.id, status.changes, now_s, width, is_all)
    for warning in status.warnings:
        yield from row("note", warning, width)
    if status.error:
        yield from (paint("red", line) for line in row("error", status.error, width))


def row(label: str, text: str, width: int, most: int | None = None) -> Iterator[str]:
    """*text* at its label, its further lines below its first."""
    yield from words(text, width, f"  {label}".ljust(LABEL), " " * LABEL, most)


def _standing(run: RunOverview, now_s: float) -> Iterator[str]:
    """Where it stands in the queue, when it ended, how it goes on."""
    spec, status = run.spec, run.status
    if run.paused and not run.is_over:
        yield "paused"
    if run.place is not None:
        yield f"number {run.place} in the queue"
    if spec is not None and spec.priority and not run.is_over:
        yield f"priority {spec.priority}"
    has_begun = status is not None and status.started_at_s is not None
    if spec is not None and spec.after and run.state == "queued" and not has_begun:
        yield f"after {' and '.join(spec.after)}"
    said_so = status is not None and status.state == run.state
    if status is not None and said_so and run.is_over:
        yield _ended(status, now_s)
    if run.state == "interrupted":
        is_kept = spec is not None and spec.kept
        resume = f"resume {run.id}" if is_kept else f"run --resume {run.id}"
        because = "" if said_so else "its process is gone; "
        yield f"{because}to go on: scheduler {'start' if is_kept and not said_so else resume}"


def _ended(status: RunStatus, now_s: float) -> str:
    at = format_time(status.updated_at_s, now_s)
    if status.started_at_s is None:
        return at
    return f"{at} after {format_duration(status.updated_at_s - status.started_at_s)}"


def _progress(run: RunOverview, status: RunStatus, now_s: float, width: int) -> Iterator[str]:
    if run.progress is not None:
        yield from _pace(status, run.progress, now_s, width)
    if status.best is not None:
        yield from row("best", _best(status.best, now_s), width, PARAM_LINES)
    if status.warm_start is not None:
        yield from row("first", _warm_start(status.warm_start), width)
    if status.pruning is not None and status.pruning.sentence:
        yield from row("pruning", _pruning(status.pruning), width)
    if status.budget is not None and status.budget.sentence:
        yield from row("budget", status.budget.sentence, width)
    if status.ranges is not None:
        yield from row("ranges", _ranges(status.ranges), width)
    if status.way and not run.is_over:
        yield from row("starts", f"by {status.way}; study in {status.storage}", width)


def _ranges(it: RangesShown) -> str:
    if it.state == "waiting":
        return "not narrowed yet: too few trials are complete"
    said = f"{it.narrowed} of {it.parameters} parameters narrowed"
    if it.state == "off":
        said = "full again"
    return f"{said}, {it.full} of {it.trials} trials on the full ranges" if it.trials else said


def _pruning(shown: PruningShown) -> str:
    said = (shown.sentence or "").removeprefix("pruning").lstrip("; ")
    return f"{shown.strategy}: {said}"


def _counts(status: RunStatus, progress: Progress) -> str:
    of = f" of {status.n_trials}" if status.n_trials is not None else ""
    named = (
        (len(status.running), "running", None),
        (status.pruned, "pruned", progress.pruned_share),
        (status.failed, "failed", None),
        (status.capacity, "too big for the device", progress.too_big_share),
        (status.retried, "came back", None),
        (status.unrun, "answered without running", None),
    )
    said = [f"{n} {word}{_percent(share)}" for n, word, share in named if n]
    return ", ".join([f"{progress.done}{of} done", *said])


def _percent(share: float | None) -> str:
    return "" if share is None else f" ({100 * share:.0f} %)"


def _pace(status: RunStatus, progress: Progress, now_s: float, width: int) -> Iterator[str]:
    yield from row("trials", _counts(status, progress), width)
    rates = ((progress.trials_an_hour_now, "now"), (progress.trials_an_hour, "over the run"))
    said = [f"{format_rate(one)} {when}" for one, when in rates if one is not None]
    if said:
        yield from row("pace", f"trials an hour: {', '.join(said)}", width)
    if progress.left is not None:
        yield from row("left", _left(progress.left, now_s), width)


def format_rate(an_hour: float) -> str:
    return f"{an_hour:.1f}" if an_hour < 100 else f"{an_hour:.0f}"


def _left(left: Left, now_s: float) -> str:
    about, low, high = map(format_span, (left.about_s, left.low_s, left.high_s))
    between = f" ({low} to {high})" if low != high else ""
    return f"about {about}{between}, until {format_time(now_s + left.about_s, now_s)}"


def format_span(seconds: float) -> str:
    """Finer than ``format_duration`` where a range would otherwise be "1 min to 1 min"."""
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else format_duration(seconds)


def _best(best: Best, now_s: float) -> str:
    ago = f", {format_duration(now_s - best.at_s)} ago" if best.at_s is not None else ""
    known = f" (known from study {best.known_from})" if best.known_from is not None else ""
    return f"{best.value:.6g} in trial {best.number}{known}{ago}: {_params(best.params)}"


def _warm_start(it: WarmStartShown) -> str:
    said = [f"{it.done} of {it.settings} settings to try first are done"] if it.settings else []
    if it.tried_before:
        said.append(f"{it.tried_before} had been tried before")
    if it.known:
        said.append(f"{it.known} known results from study {it.study}")
    return "; ".join(said) or "no settings to try first"


def _params(params: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {_short(value)}" for name, value in params.items())


def _short(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _attempts(
    attempts: Sequence[AttemptView], status: RunStatus | None, now_s: float, width: int
) -> Iterator[str]:
    """The numbers are Optuna's, those that `scheduler logs` takes; a new attempt has none yet."""
    if not attempts:
        return
    numbers = status.running if status is not None else {}
    live = [status.live.get(one.attempt.id) if status else None for one in attempts]
    on_one = len({one.attempt.device for one in attempts}) == 1

    def column(name: str, cells: Iterator[str], keep: int = 9, *, left: bool = False) -> Column:
        return Column(name=name, cells=tuple(cells), keep=keep, left=left)

    shown = (
        column("trial", (str(numbers.get(one.attempt.id, "-")) for one in attempts), left=True),
        column("state", (one.state for one in attempts), left=True),
        column("step", (_number(one.step if one else None) for one in live), 8),
        column("value", (_number(one.value if one else None) for one in live), 8),
        column("held", (_seen(one.held_bytes, one) for one in attempts)),
        column("promise", (format_size(one.promise_bytes) for one in attempts)),
        column("peak", (_seen(one.peak_bytes, one) for one in attempts), 3),
        column("time", (format_duration(now_s - one.attempt.started_at_s) for one in attempts)),
        column("saved", (_ago(one.saved_at_s, now_s) for one in attempts), 4),
        column("on", (one.attempt.device for one in attempts), 1 if on_one else 7, left=True),
        column("params", (_live_params(one) for one in live), 2, left=True),
    )
    yield from columns(shown, width)


def _ago(at_s: float | None, now_s: float) -> str:
    """Of its last checkpoint: what a stop costs."""
    return "-" if at_s is None else f"{format_duration(now_s - at_s)} ago"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.5g}" if isinstance(value, float) else str(value)


def _live_params(live: LiveTrial | None) -> str:
    return printable(_params(live.params)) if live is not None and live.params else "-"


def _seen(size_bytes: int | None, one: AttemptView) -> str:
    """An attempt that no poll has seen yet holds an unknown amount, and will be seen soon."""
    return "-" if one.peak_bytes is None else format_size(size_bytes)


def _changes(
    run: str, changes: Sequence[Change], now_s: float, width: int, is_all: bool
) -> Iterator[str]:
    shown = changes if is_all else changes[-CHANGES_SHOWN:]
    for one in shown:
        what = f"trial {one.trial}, {one.what}" if one.trial is not None else one.what
        at = format_time(one.at_s, now_s)
        on = f" on {one.device}" if one.device else ""
        text = f"{at} {what}{on}: {one.before} -> {one.after}: {one.because}"
        yield from row("changed", text, width)
    if len(shown) < len(changes):
        yield from row("", f"{len(changes) - len(shown)} more: scheduler status {run}", width)


def format_time(at_s: float, now_s: float) -> str:
    """The local time, with its day where that is not within 20 hours."""
    form = "%H:%M:%S" if abs(now_s - at_s) < 20 * 3600 else "%d %b %H:%M"
    return time.strftime(form, time.localtime(at_s))
