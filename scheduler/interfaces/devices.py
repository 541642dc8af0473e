"""``scheduler devices``: what was found, what it says, and why anything was left out."""

from __future__ import annotations

from collections.abc import Iterator

import click
import msgspec

from probes.reading import Reading
from scheduler.core.model import Budget
from scheduler.interfaces.client import NoAnswer, ask
from scheduler.interfaces.errors import Failed
from scheduler.machine.answers import Devices
from scheduler.machine.sizes import format_size
from scheduler.machine.state import find


@click.command()
@click.option("--json", "as_json", is_flag=True, help="One JSON object; sizes are bytes.")
def command(as_json: bool) -> None:
    """Show the devices of this machine. Asks the supervisor; where none runs, the devices."""
    try:
        found = ask(find(), "/v1/devices", Devices) or read_devices()
    except NoAnswer as error:
        raise Failed(str(error)) from None
    click.echo(msgspec.json.encode(found) if as_json else "\n".join(devices_lines(found)))


def read_devices() -> Devices:
    """Looks for itself. May hang where a device does."""
    from scheduler.machine.budgets import look_here

    here = look_here()
    return Devices(
        budgets=here.budgets,
        readings=tuple(probe.read(()) for probe in here.probes),
        left_out=here.choice.left_out,
    )


def devices_lines(found: Devices) -> Iterator[str]:
    readings = {reading.device: reading for reading in found.readings}
    for budget in found.budgets:
        if budget.on_request:
            continue  # it is among those left out
        yield from _device(budget, readings.get(budget.device.key))
    if not found.budgets:
        yield "no device was found; nothing can run here"
    if found.left_out:
        yield "left out:"
    for one in found.left_out:
        yield f"  {one.key}  {one.name}: {one.because}"


def _device(budget: Budget, reading: Reading | None) -> Iterator[str]:
    it = budget.device
    yield f"{it.key}  {it.name}"
    if reading is None or reading.problem:
        yield f"  memory  unknown: {reading.problem if reading else 'not read yet'}"
    else:
        used, total = format_size(reading.used_bytes), format_size(reading.total_bytes)
        yield f"  memory  {used} used of {total}"
    at_once = f", at most {budget.max_attempts} at once" if budget.max_attempts else ""
    reserve, promise = format_size(budget.reserve_bytes), format_size(budget.promise_bytes)
    yield f"  by default  {promise} for a trial, {reserve} kept free{at_once}"
    yield f"  source  {it.source}: {it.because}"
