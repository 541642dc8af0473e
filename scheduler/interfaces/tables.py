"""A report in lines of plain text, for a terminal of any width. Pure.

The words are those of ``docs/design.md``: held, promise, strangers, headroom, reserve.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence

from scheduler.core.model import Change
from scheduler.core.view import AttemptView, DeviceView
from scheduler.interfaces.report import Report, RunReport, is_over
from scheduler.machine.answers import Supervisor
from scheduler.machine.runs import RunStatus
from scheduler.machine.sizes import format_duration, format_size

CHANGES_SHOWN = 5
_MARKS = "#+x.|"  # held, promised besides, strangers, headroom, reserve


def report_lines(report: Report, width: int) -> list[str]:
    """All that `scheduler status` shows."""
    lines = [*_supervisor(report.supervisor, report.at_s)]
    for device in report.devices:
        lines += ["", *device_lines(device, width)]
    for run in report.runs:
        lines += ["", *run_lines(run, report.at_s)]
    if not report.runs:
        lines += ["", "no runs yet; start one with: scheduler run SCRIPT"]
    return lines


def _supervisor(supervisor: Supervisor | None, now_s: float) -> Iterator[str]:
    if supervisor is None:
        yield "no supervisor is running (the next `scheduler run` starts one)"
        return
    up = format_duration(now_s - supervisor.since_s)
    yield f"supervisor: pid {supervisor.pid}, up {up}, state in {supervisor.state_folder}"
    if supervisor.problem:
        yield f"  nothing new starts: {supervisor.problem}"


def device_lines(device: DeviceView, width: int) -> list[str]:
    """A device's name, its memory as a bar, and what the bar's marks stand for."""
    it = device.budget.device
    total = device.total_bytes if device.total_bytes is not None else it.total_bytes
    lines = [f"{it.key}  {it.name}, {format_size(total)}"]
    if not device.found:
        lines.append("  is not there any more; nothing starts here")
    elif device.problem or device.total_bytes is None or device.used_bytes is None:
        lines.append(f"  memory unknown, nothing new starts here: {device.problem}")
    else:
        lines += _memory(device, device.total_bytes, device.used_bytes, width)
    if device.out_since_s is not None:
        since = time.strftime("%H:%M", time.localtime(device.out_since_s))
        lines.append(f"  out of service since {since}: {device.out_because}")
        lines.append("  look at dmesg, then stop and start the scheduler to use it again")
    if device.at_most is not None:
        lines.append(f"  at most {device.at_most} at once")
    return lines


def _memory(device: DeviceView, total: int, used: int, width: int) -> list[str]:
    running = len(device.attempts)
    reserve, headroom = device.budget.reserve_bytes, device.headroom_bytes
    held = None if device.strangers_bytes is None else used - device.strangers_bytes
    besides = _promised_besides(device.attempts)
    parts = [held if held is not None else used, besides, device.strangers_bytes, headroom, reserve]
    words = [
        f"held by {running} of ours" if held is not None else "used, ours and strangers'",
        "promised besides",
        "strangers",
        "headroom" if headroom is None or headroom >= 0 else "headroom (over)",
        "reserve",
    ]
    named = [
        f"{mark} {word} {format_size(size)}"
        for mark, word, size in zip(_MARKS, words, parts, strict=True)
        if size or mark == "."
    ]
    return [f"  [{bar(parts, total, min(width, 100) - 4)}]", *_wrapped(named, width)]


def _promised_besides(attempts: Iterable[AttemptView]) -> int:
    """Bytes set aside for attempts that do not hold them (yet)."""
    return sum(max(0, one.attempt.promise_bytes - (one.held_bytes or 0)) for one in attempts)


def bar(sizes: Sequence[int | None], total: int, cells: int) -> str:
    """*sizes* as runs of their marks, *total* as *cells*. Ends are rounded, so nothing adds up."""
    text, end = "", 0
    for mark, size in zip(_MARKS, sizes, strict=True):
        end += max(0, size or 0)
        text += mark * (min(cells, round(cells * end / max(1, total))) - len(text))
    return text.ljust(cells)


def _wrapped(parts: Iterable[str], width: int) -> Iterator[str]:
    line = ""
    for part in parts:
        if line and len(line) + len(part) + 3 > width:
            yield line
            line = ""
        line += ("   " if line else "  ") + part
    if line:
        yield line


def run_lines(run: RunReport, now_s: float) -> list[str]:
    """A run's progress, its attempts, why it waits, and what was changed lately."""
    status = run.status
    lines = [f"{run.id}  {_state(run)}"]
    if run.problem:
        lines.append(f"  {run.problem}")
    if status is not None:
        lines += [f"  {line}" for line in _progress(status)]
    lines += _attempts(run.attempts, status.running if status else {}, now_s)
    if not is_over(run) and run.hold:
        lines.append(f"  next trial: {run.hold}")
    if status is not None:
        lines += _changes(status.changes[-CHANGES_SHOWN:], now_s)
        lines += [f"  note: {warning}" for warning in status.warnings]
        if status.error:
            lines.append(f"  error: {status.error}")
    return lines


def _state(run: RunReport) -> str:
    if run.state != "interrupted":
        return run.state
    said_so = run.status is not None and run.status.state == "interrupted"
    because = "" if said_so else " (its process is gone)"
    return f"interrupted{because}: scheduler run --resume {run.id}"


def _progress(status: RunStatus) -> Iterator[str]:
    done = status.complete + status.pruned + status.failed + status.capacity
    of = f" of {status.n_trials}" if status.n_trials is not None else ""
    named = (
        (len(status.running), "running"),
        (status.pruned, "pruned"),
        (status.failed, "failed"),
        (status.capacity, "too big for the device"),
        (status.retried, "came back"),
    )
    yield ", ".join([f"{done}{of} trials done", *(f"{n} {word}" for n, word in named if n)])
    if status.best is not None:
        params = ", ".join(f"{name} {_short(value)}" for name, value in status.best.params.items())
        yield f"best {status.best.value:.6g} in trial {status.best.number}: {params}"
    if status.way:
        yield f"attempts start by {status.way}; study in {status.storage}"


def _short(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _attempts(
    attempts: Sequence[AttemptView], numbers: Mapping[str, int], now_s: float
) -> Iterator[str]:
    """*numbers* are Optuna's, those that `scheduler logs` takes; a new attempt has none yet."""
    if attempts:
        yield f"  {'trial':<7}{'state':<11}{'held':>9}{'promise':>10}{'peak':>10}{'age':>12}"
    for one in attempts:
        yield (
            f"  {numbers.get(one.attempt.id, '-'):<7}{one.state:<11}"
            f"{_seen(one.held_bytes, one):>9}{format_size(one.attempt.promise_bytes):>10}"
            f"{_seen(one.peak_bytes, one):>10}"
            f"{format_duration(now_s - one.attempt.started_at_s):>12}"
        )


def _seen(size_bytes: int | None, one: AttemptView) -> str:
    """An attempt that no poll has seen yet holds an unknown amount, and will be seen soon."""
    return "-" if one.peak_bytes is None else format_size(size_bytes)


def _changes(changes: Sequence[Change], now_s: float) -> Iterator[str]:
    if changes:
        yield "  changes:"
    for one in changes:
        what = f"trial {one.trial}, {one.what}" if one.trial is not None else one.what
        at = format_time(one.at_s, now_s)
        yield f"    {at}  {what} on {one.device}: {one.before} -> {one.after}"
        yield f"      {one.because}"


def format_time(at_s: float, now_s: float) -> str:
    """The local time, with its day where that is not within the last 20 hours."""
    form = "%H:%M:%S" if now_s - at_s < 20 * 3600 else "%d %b %H:%M"
    return time.strftime(form, time.localtime(at_s))
