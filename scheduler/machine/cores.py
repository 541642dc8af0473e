"""How many cores we may use: affinity, and the cgroup's quota (a container has one).

Quotas of cgroups version 1 are not read.
"""

from __future__ import annotations

import contextlib
import math
import os
from pathlib import Path


def usable_cores(proc: Path = Path("/proc"), cgroups: Path = Path("/sys/fs/cgroup")) -> int:
    """At least one."""
    cores = len(os.sched_getaffinity(0))
    return max(1, min([cores, *(math.floor(quota) for quota in read_quotas(proc, cgroups))]))


def read_quotas(proc: Path, cgroups: Path) -> list[float]:
    """The quotas, in cores, of our cgroup and of those above it that have one."""
    try:
        own = parse_cgroup((proc / "self/cgroup").read_text())
    except OSError:
        return []
    above = [part for part in own.split("/") if part]
    folders = [cgroups.joinpath(*above[:depth]) for depth in range(len(above) + 1)]
    return [quota for quota in map(_read_quota, folders) if quota is not None]


def parse_cgroup(text: str) -> str:
    """Our path in the version 2 hierarchy, from /proc/self/cgroup (cgroups(7)): "0::/a/b"."""
    found = (line for line in text.splitlines() if line.startswith("0::"))
    return next(found, "0::/").removeprefix("0::")


def _read_quota(folder: Path) -> float | None:
    with contextlib.suppress(OSError, ValueError):
        return parse_quota((folder / "cpu.max").read_text())
    return None


def parse_quota(text: str) -> float | None:
    """In cores, from "150000 100000": microseconds of CPU time a period. None: "max", no limit.

    Raises ValueError on anything else.
    """
    quota, period = text.split()
    return None if quota == "max" else int(quota) / int(period)
