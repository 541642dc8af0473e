"""``scheduler resume-device DEVICE``: a device is used again."""

from __future__ import annotations

import click

from scheduler.interfaces.ordering import device_path, give
from scheduler.machine.state import find


@click.command()
@click.argument("device")
def command(device: str) -> None:
    """Use DEVICE again: it was paused, or is out of service."""
    give(find(), device_path(device, "resume"))
    click.echo(f"device {device} is used again")
