"""``scheduler devices``: what was found, what it says by which source, and why others do not."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import click
import msgspec

from probes.strangers import Others
from scheduler.interfaces.client import NoAnswer
from scheduler.interfaces.device_report import (
    DeviceReport,
    DevicesReport,
    SourceReport,
    read_devices,
)
from scheduler.interfaces.errors import Failed
from scheduler.machine.sizes import format_size
from scheduler.machine.state import find

STRANGERS = 5  #: shown by name
_INDENT = 12


@click.command()
@click.option("--json", "as_json", is_flag=True, help="One JSON object; sizes are bytes.")
def command(as_json: bool) -> None:
    """Show the devices of this machine: their memory, who holds it, and which source says so.

    Every source that is there is asked, also those that the supervisor has no need of.
    """
    try:
        found = read_devices(find())
    except NoAnswer as error:
        raise Failed(str(error)) from None
    click.echo(msgspec.json.encode(found) if as_json else "\n".join(devices_lines(found)))


def devices_lines(found: DevicesReport) -> Iterator[str]:
    """All that `scheduler devices` shows."""
    shown = [device for device in found.devices if not device.on_request]
    for number, device in enumerate(shown):
        if number:
            yield ""
        yield from _device(device)
    if not shown:
        yield "no device was found; nothing can run here"
    if found.left_out:
        yield ""
        yield "left out:"
    for one in found.left_out:
        yield f"  {one.key}  {one.name}: {one.because}"
    if found.absent:
        yield ""
        yield "sources that are not here:"
    for absent in found.absent:
        yield f"  {absent.source}: {absent.because}"


def _device(report: DeviceReport) -> Iterator[str]:
    it = report.device
    yield f"{it.key}  {it.name}" + (f"  {it.uuid}" if it.uuid else "")
    yield _row("memory", _memory(report))
    if report.waiting_share:
        waited = f"{100 * report.waiting_share:.0f} % of the last 10 s"
        yield _row("pressure", f"some process waited for memory for {waited}")
    yield from _rows("strangers", _strangers(report.strangers))
    at_once = f", at most {report.max_attempts} at once" if report.max_attempts else ""
    reserve, promise = format_size(report.reserve_bytes), format_size(report.promise_bytes)
    yield _row("by default", f"{promise} for a trial, {reserve} kept free{at_once}")
    yield _row("trials get", _variables(it.environment))
    yield _row("found", it.because)
    yield from _rows("sources", (f"{one.name}: {_source(one)}" for one in report.sources))


def _row(title: str, text: str) -> str:
    return f"  {title:<{_INDENT}}{text}"


def _rows(title: str, texts: Iterable[str]) -> Iterator[str]:
    for number, text in enumerate(texts):
        yield _row("" if number else title, text)


def _memory(report: DeviceReport) -> str:
    if report.used_bytes is None:
        return f"unknown, nothing new starts here: {report.problem}"
    text = f"{format_size(report.used_bytes)} used of {format_size(report.total_bytes)}"
    if not report.attempts:
        return text
    running = "1 trial" if report.attempts == 1 else f"{report.attempts} trials"
    if report.held_bytes is None:
        return f"{text}; what our {running} hold of it cannot be told"
    others = max(0, report.used_bytes - report.held_bytes)
    ours = f"{format_size(report.held_bytes)} by our {running}"
    return f"{text}: {ours}, {format_size(others)} by strangers"


def _strangers(others: Others) -> Iterator[str]:
    """The largest by name, then how many more."""
    for one in others.named[:STRANGERS]:
        yield f"{format_size(one.held_bytes):>9}  {one.command} (pid {one.pid})"
    rest = [one.held_bytes for one in others.named[STRANGERS:]]
    known = None not in rest and others.more_bytes is not None
    size = sum(size or 0 for size in rest) + (others.more_bytes or 0) if known else None
    counted = (
        (len(rest) + others.more, size, "more"),
        (others.unnamed, others.unnamed_bytes, "that cannot be named"),
    )
    for count, size, words in counted:
        if count:
            yield f"{format_size(size):>9}  {count} {words}"
    if others.closed:
        yield f"{'unknown':>9}  {others.closed} of other users, which only root may ask"


def _variables(environment: tuple[tuple[str, str | None], ...]) -> str:
    if not environment:
        return "the environment as it is"
    chosen = [f"{name}={value}" for name, value in environment if value is not None]
    unset = [name for name, value in environment if value is None]
    return ", ".join(chosen) + (f"; unset: {', '.join(unset)}" if unset else "")


def _source(source: SourceReport) -> str:
    """What it says, how long it took, and how it stands."""
    took = f" in {_duration(source.took_s)}" if source.took_s is not None else ""
    if source.used_bytes is None:
        said = f"does not answer: {source.problem}"
    else:
        used, total = format_size(source.used_bytes), format_size(source.total_bytes)
        said = f"{used} of {total}{took}"
    if source.state == "left":
        return f"{said}; left for the next one after failing three times, tried again later"
    return f"{said}; {source.state}"


def _duration(took_s: float) -> str:
    return f"{1000 * took_s:.1f} ms" if took_s < 0.1 else f"{took_s:.2f} s"
