"""This machine's devices, each with its defaults: what is kept free, promised, run at once."""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple

from probes.choose import NoSuchDevice, choose
from probes.reading import Choice, Device, Probe
from scheduler.core.model import Budget
from scheduler.machine.cores import usable_cores

MIB = 1 << 20
GIB = 1 << 30

RESERVE_SHARE = 0.1
RESERVE_GPU_BYTES = 512 * MIB  #: at least: a desktop's own
PROMISE_GPU_BYTES = 6 * GIB
PROMISE_HOST_BYTES = 1 * GIB


class Here(NamedTuple):
    """This machine's devices. A budget and a probe for each, in the same order: those that are
    chosen first, then those that a run may name all the same."""

    choice: Choice
    budgets: tuple[Budget, ...]
    probes: tuple[Probe, ...]


def look_here() -> Here:
    """Find the devices; $SCHEDULER_SYSFS_ROOT stands in for /sys."""
    sysfs, cores = Path(os.environ.get("SCHEDULER_SYSFS_ROOT", "/sys")), usable_cores()
    choice, chosen = choose(sysfs=sysfs)
    named = [probe for out in choice.left_out for probe in _by_name(sysfs, out.key)]
    budgets = [budget_for(probe.device, cores) for probe in chosen]
    budgets += [budget_for(probe.device, cores, on_request=True) for probe in named]
    return Here(choice, tuple(budgets), (*chosen, *named))


def _by_name(sysfs: Path, key: str) -> tuple[Probe, ...]:
    """The probe of a device that is left out unless it is named; none where it cannot be read."""
    try:
        return choose(sysfs=sysfs, wanted=(key,))[1]
    except NoSuchDevice:
        return ()


def budget_for(device: Device, cores: int, *, on_request: bool = False) -> Budget:
    """The defaults for one device. On host RAM *cores* bound the attempts: each needs one.

    A default promise leaves a quarter of the device to strangers, so that a small card with a
    desktop on it runs trials one at a time instead of none.
    """
    total_bytes, on_host = device.total_bytes or 0, device.kind == "host"
    least_bytes = 0 if on_host else RESERVE_GPU_BYTES
    reserve_bytes = max(int(total_bytes * RESERVE_SHARE), least_bytes)
    promise_bytes = PROMISE_HOST_BYTES if on_host else PROMISE_GPU_BYTES
    if device.total_bytes is not None:
        promise_bytes = min(promise_bytes, max(0, (total_bytes - reserve_bytes) * 3 // 4))
    return Budget(
        device=device,
        reserve_bytes=reserve_bytes,
        promise_bytes=promise_bytes,
        max_attempts=cores if on_host else None,
        on_request=on_request,
    )
