"""This machine's devices, each with its defaults: what is kept free, promised, run at once."""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple

from probes.choose import choose
from probes.reading import Absent, Device, LeftOut, Probe
from scheduler.core.model import Budget
from scheduler.machine.cores import usable_cores

MIB = 1 << 20
GIB = 1 << 30

RESERVE_SHARE = 0.1
RESERVE_GPU_BYTES = 512 * MIB  #: at least: a desktop's own
PROMISE_GPU_BYTES = 6 * GIB
PROMISE_HOST_BYTES = 1 * GIB


class Here(NamedTuple):
    """This machine's devices. A budget and the sources of each, in the same order: those that are
    used first, then those that a run may name all the same."""

    budgets: tuple[Budget, ...]
    sources: tuple[tuple[Probe, ...], ...]
    left_out: tuple[LeftOut, ...]
    absent: tuple[Absent, ...]


def look_here() -> Here:
    """Find the devices; $SCHEDULER_SYSFS_ROOT stands in for /sys."""
    machine, cores = choose(sysfs=sysfs_root()), usable_cores()
    budgets = [budget_for(one.device, cores) for one in machine.used]
    budgets += [budget_for(one.device, cores, on_request=True) for one in machine.on_request]
    sources = tuple(one.sources for one in (*machine.used, *machine.on_request))
    return Here(tuple(budgets), sources, machine.left_out, machine.absent)


def sysfs_root() -> Path:
    return Path(os.environ.get("SCHEDULER_SYSFS_ROOT", "/sys"))


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
