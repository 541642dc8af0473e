"""``scheduler pause-device DEVICE``: nothing more starts on a device until it is resumed."""

from __future__ import annotations

import click

from scheduler.interfaces.ordering import device_path, give
from scheduler.machine.state import find


@click.command()
@click.option("--stop", is_flag=True, help="Stop the trials that run there; they come back later.")
@click.argument("device")
def command(device: str, stop: bool) -> None:
    """Start no more trials on DEVICE, a key that `scheduler devices` shows."""
    give(find(), device_path(device, "pause"), {"stop": stop})
    rest = "what runs there is stopped and comes back" if stop else "what runs there finishes"
    click.echo(f"device {device} is paused, {rest}; to go on: scheduler resume-device {device}")
