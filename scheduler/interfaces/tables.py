"""An overview in lines of text, for a terminal of any width: the supervisor and the devices. Pure.

Runs are in ``run_table``. The words are those of ``docs/design.md``: held, promise, strangers,
reserve; headroom is called "free", as nobody asks for it by another name.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from scheduler.core.model import Rule
from scheduler.core.rules import kept_bytes, of_device
from scheduler.core.view import AttemptView, DeviceView, GainView
from scheduler.interfaces.overview import Overview, RunOverview
from scheduler.interfaces.paint import PLAIN, Paint, flow, words
from scheduler.interfaces.run_table import format_time, run_lines
from scheduler.machine.api.answers import Supervisor
from scheduler.machine.sizes import format_duration, format_size

MOST_CELLS = 156  #: of a bar: more show nothing more
_MARKS = "#+x~.|"  # held, promised besides, strangers, what they held lately, free, reserve
_STYLES = dict(zip(_MARKS, ("green", "cyan", "yellow", "yellow", "bold", "dim"), strict=True))


def overview_lines(
    overview: Overview, width: int, paint: Paint = PLAIN, *, is_all: bool = False
) -> list[str]:
    """All that `scheduler status` shows: devices, then what runs, what waits, what is over.

    *is_all*: all changes too, not the last few.
    """
    lines = [*_supervisor(overview.supervisor, overview.at_s, width, paint)]
    lines += _rules((one for one in overview.rules if not one.run and not one.device), width, paint)
    for device in overview.devices:
        key = device.budget.device.key
        lines += ["", *device_lines(device, overview.at_s, width, paint, rules=overview.rules)]
        lines += _rules((one for one in overview.rules if one.device == key), width, paint)
    for run in sorted(overview.runs, key=_order):
        lines += ["", *run_lines(run, overview.at_s, width, paint, is_all=is_all)]
        lines += _rules((one for one in overview.rules if one.run == run.id), width, paint)
    if not overview.runs:
        lines += ["", "no runs yet; start one with: scheduler run SCRIPT"]
    return lines


def _order(run: RunOverview) -> tuple[int, int]:
    return (2, 0) if run.is_over else (1, run.place) if run.place is not None else (0, 0)


def _supervisor(
    supervisor: Supervisor | None, now_s: float, width: int, paint: Paint
) -> Iterator[str]:
    if supervisor is None:
        text = "no supervisor is running (the next `scheduler run` starts one)"
        yield from words(text, width, "", "  ")
        return
    up = format_duration(now_s - supervisor.since_s)
    text = f"pid {supervisor.pid}, up {up}, state in {supervisor.state_folder}"
    yield from words(text, width, "supervisor: ", "  ")
    if supervisor.problem:
        problem = words(f"nothing new starts: {supervisor.problem}", width, "  ", "    ")
        yield from (paint("red", line) for line in problem)


def _rules(rules: Iterable[Rule], width: int, paint: Paint) -> Iterator[str]:
    for rule in rules:
        yield from (paint("yellow", line) for line in words(_rule(rule), width, "  ", "    "))


def _rule(rule: Rule) -> str:
    """What it is for, and what follows."""
    said = []
    if rule.max_attempts == 0:
        said.append("nothing new starts")
    elif rule.max_attempts is not None:
        said.append(f"at most {rule.max_attempts} at once")
    if rule.reserve_bytes is not None:
        said.append(f"{format_size(rule.reserve_bytes)} kept free")
    beyond = "runs" if rule.max_attempts == 0 else "is beyond that"
    end = "is stopped and comes back later" if rule.stops else "may finish"
    return f"{rule.because}: {', '.join(said)}; what {beyond} {end}"


def device_lines(
    device: DeviceView,
    now_s: float,
    width: int,
    paint: Paint = PLAIN,
    *,
    rules: Sequence[Rule] = (),
) -> Iterator[str]:
    """A device's name, its memory as a bar, what the bar's marks stand for, and what limits it.

    *rules* may keep more of it free than its own reserve.
    """
    it = device.budget.device
    total = device.total_bytes if device.total_bytes is not None else it.total_bytes
    yield f"{paint('bold', it.key)}  {it.name}, {format_size(total)}"
    for text in _troubles(device, now_s):
        yield from (paint("red", line) for line in words(text, width, "  ", "    "))
    if device.found and device.total_bytes is not None and device.used_bytes is not None:
        kept = kept_bytes(of_device(rules, it.key))
        reserve = max(device.budget.reserve_bytes, kept)
        yield from _memory(device, device.total_bytes, device.used_bytes, reserve, width, paint)
    if device.at_most:  # 0 is a rule's, which says so itself
        tested = ", for a while, to see what they do" if device.is_tested else ""
        yield f"  at most {device.at_most} at once{tested}"
    if device.gains:
        yield from words(_gains(device.gains), width, "  measured: ", "    ")


def _gains(gains: Sequence[GainView]) -> str:
    """What each neighbour more was worth."""
    said = [
        f"{one.at_once} at once do {one.ratio:.2f} of what {one.at_once - 1} do" for one in gains
    ]
    return ", ".join(said)


def _troubles(device: DeviceView, now_s: float) -> Iterator[str]:
    if not device.found:
        yield "is not there any more; nothing starts here"
    elif device.problem or device.total_bytes is None or device.used_bytes is None:
        yield f"memory unknown, nothing new starts here: {device.problem}"
    if device.out_since_s is not None:
        since = format_time(device.out_since_s, now_s)
        yield f"out of service since {since}: {device.out_because}"
        yield f"look at dmesg; to use it again: scheduler resume-device {device.budget.device.key}"


def _memory(
    device: DeviceView, total: int, used: int, reserve: int, width: int, paint: Paint
) -> Iterator[str]:
    strangers, high = device.strangers_bytes, device.strangers_high_bytes
    held = used if strangers is None else used - strangers
    besides = _promised_besides(device.attempts)
    lately = None if strangers is None or high is None else max(0, high - strangers)
    sizes = [held, besides, strangers, lately, device.headroom_bytes, reserve]
    yield f"  [{bar(sizes, total, min(width - 4, MOST_CELLS), paint)}]"
    named = (
        f"{'ours' if strangers is not None else 'ours and of strangers'} {format_size(held)}",
        f"promised besides {format_size(besides)}" if besides else "",
        f"strangers {format_size(strangers)}" if strangers else "",
        f"strangers lately {format_size(lately)} more" if lately and lately >= total // 100 else "",
        _free(device.headroom_bytes),
        f"reserve {format_size(reserve)}",
    )
    pairs = zip(_MARKS, named, strict=True)
    yield from flow((f"{paint(_STYLES[mark], mark)} {text}" for mark, text in pairs if text), width)


def _free(headroom: int | None) -> str:
    """Below nothing: what has been promised and kept free is more than there is."""
    if headroom is not None and headroom < 0:
        return f"free 0, short of {format_size(-headroom)}"
    return f"free {format_size(headroom)}"


def _promised_besides(attempts: Iterable[AttemptView]) -> int:
    """Bytes set aside for attempts that do not hold them (yet)."""
    return sum(max(0, one.promise_bytes - (one.held_bytes or 0)) for one in attempts)


def bar(sizes: Sequence[int | None], total: int, cells: int, paint: Paint = PLAIN) -> str:
    """*sizes* as runs of their marks, *total* as *cells*. Ends are rounded, so nothing adds up."""
    text, end, shown = "", 0, 0
    for mark, size in zip(_MARKS, sizes, strict=True):
        end += max(0, size or 0)
        more = max(0, min(cells, round(cells * end / max(1, total))) - shown)
        text += paint(_STYLES[mark], mark * more)
        shown += more
    return text + " " * (cells - shown)
