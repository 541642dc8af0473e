"""The devices: which trials will use, whether they can be read, and why others are left out."""

from __future__ import annotations

from probes.reading import Device, LeftOut, Probe, Reading
from scheduler.interfaces.checkup.findings import Check, Where, ok, problem, skipped, warning
from scheduler.machine.sizes import format_size

NAME = "device"


def check(where: Where) -> tuple[Check, ...]:
    found = where.find_devices()
    return judge(found.devices, tuple(map(_read, found.sources)), found.left_out)


def _read(sources: tuple[Probe, ...]) -> Reading:
    """Of the first source that answers; of the preferred one where none does."""
    readings = []
    for source in sources:
        reading = source.read(())
        if reading.asleep or reading.used_bytes is not None:
            return reading
        readings.append(reading)
    return readings[0]


def judge(
    devices: tuple[Device, ...], readings: tuple[Reading, ...], left_out: tuple[LeftOut, ...]
) -> tuple[Check, ...]:
    """*readings*: one for each of *devices*, in the same order."""
    used = [_used(device, one) for device, one in zip(devices, readings, strict=True)]
    if not used:
        used = [problem(NAME, "none was found", "See what was left out: scheduler devices")]
    others = [
        skipped(NAME, f"{one.key}  {one.name} is left out: {one.because}") for one in left_out
    ]
    return (*used, *others)


def _used(device: Device, reading: Reading) -> Check:
    who = f"{device.key}  {device.name}"
    if reading.asleep:
        return warning(NAME, f"{who} is asleep, and is not woken to be asked")
    if reading.total_bytes is None or reading.used_bytes is None:
        seen = f"{who}: its memory is unknown, so nothing starts: {reading.problem or 'not said'}"
        return problem(NAME, seen, "Look for the driver's words: sudo dmesg | tail -50")
    used, total = format_size(reading.used_bytes), format_size(reading.total_bytes)
    reason = f" ({device.because})" if device.kind == "host" else ""
    return ok(NAME, f"{who}: {used} used of {total}{reason}")
