"""Limits on this process and its cgroup: memory, cores, processes, open files, /dev/shm.

Formats: getrlimit(2), statvfs(3), proc_swaps(5), Documentation/admin-guide/cgroup-v2.rst.
"""

from __future__ import annotations

import contextlib
import os
import resource
from pathlib import Path

import msgspec

from probes import cgroup
from probes.meminfo import read_meminfo
from probes.number import Unread, read_text_or_none
from scheduler.interfaces.checkup.findings import Check, Where, ok, warning
from scheduler.machine.cores import parse_cgroup, read_quotas
from scheduler.machine.sizes import format_size

GROUP, LIMITS = "cgroup", "limits"
GIB = 1 << 30

FEW_FILES = 1024  #: of a run with eight attempts, each with a dozen files, and a script's own
FEW_PROCESSES = 512  #: threads count: an attempt has one for each core in each of its libraries
SMALL_SHM_BYTES = GIB  #: Docker gives 64 MiB, which a few batches of a DataLoader's workers fill


class Group(msgspec.Struct, frozen=True, kw_only=True):
    """None: no limit, or none that is less than the machine."""

    memory_bytes: int | None
    cores: float | None
    most_processes: int | None
    swap_bytes: int
    has_pressure: bool  #: the kernel tells how long tasks wait for memory (PSI)


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """None: no limit; ``shm_bytes`` None: there is no /dev/shm."""

    open_files: int | None
    processes: int | None
    shm_bytes: int | None


def check_group(where: Where) -> tuple[Check, ...]:
    return judge_group(read_group(where))


def check_limits(where: Where) -> tuple[Check, ...]:
    return judge_limits(read_limits(where))


def read_group(where: Where) -> Group:
    quotas = read_quotas(where.proc, where.cgroups)
    cores = len(os.sched_getaffinity(0))
    swaps = (read_text_or_none(str(where.proc / "swaps")) or "").splitlines()
    return Group(
        memory_bytes=_memory_limit(where),
        cores=min((quota for quota in quotas if quota < cores), default=None),
        most_processes=min(_read_most_processes(where), default=None),
        swap_bytes=sum(map(_swap_bytes, swaps)),
        has_pressure=(where.proc / "pressure/memory").exists(),
    )


def _memory_limit(where: Where) -> int | None:
    rooms = []
    with contextlib.suppress(Unread):
        total = read_meminfo(where.proc).total_bytes
        levels = cgroup.find_levels(where.proc, where.cgroups)
        rooms = [cgroup.read_room(level, total) for level in levels]
    return min((room.limit_bytes for room in rooms if room is not None), default=None)


def _read_most_processes(where: Where) -> list[int]:
    """pids.max of our cgroup and of those above it; version 1 has a hierarchy of its own."""
    text = read_text_or_none(str(where.proc / "self/cgroup")) or ""
    own = cgroup.parse_own(text)
    roots = [(where.cgroups / "pids", own.get("pids")), (where.cgroups, parse_cgroup(text))]
    found = []
    for root, path in roots:
        folder = root / (path or "").lstrip("/")
        for level in [folder, *folder.parents][: 1 + len(folder.relative_to(root).parts)]:
            limit = (read_text_or_none(str(level / "pids.max")) or "").strip()
            found += [int(limit)] if limit.isdigit() else []
    return found


def _swap_bytes(line: str) -> int:
    """Filename, type, size in KiB, used, priority; a name's blanks are escaped. 0: the header."""
    words = line.split()
    return int(words[2]) * 1024 if len(words) == 5 and words[2].isdigit() else 0


def read_limits(where: Where) -> Limits:
    def soft(which: int) -> int | None:
        limit = resource.getrlimit(which)[0]
        return None if limit == resource.RLIM_INFINITY else limit

    return Limits(
        open_files=soft(resource.RLIMIT_NOFILE),
        processes=soft(resource.RLIMIT_NPROC),
        shm_bytes=_size_of(where.dev / "shm"),
    )


def _size_of(folder: Path) -> int | None:
    try:
        found = os.statvfs(folder)
    except OSError:
        return None
    return found.f_blocks * found.f_frsize


def judge_group(group: Group) -> tuple[Check, ...]:
    limits = []
    if group.memory_bytes is not None:
        limits.append(f"memory {format_size(group.memory_bytes)}")
    if group.cores is not None:
        limits.append(f"{group.cores:.3g} cores")
    if group.most_processes is not None:
        limits.append(f"{group.most_processes} processes")
    swap = f"swap {format_size(group.swap_bytes)}" if group.swap_bytes else "no swap"
    pressure = "memory pressure is told" if group.has_pressure else "memory pressure is not told"
    seen = f"{', '.join(limits) or 'no limit of our own'}; {swap}; {pressure}"
    if group.most_processes is not None and group.most_processes < FEW_PROCESSES:
        todo = "Threads count too. Raise it: systemd TasksMax=, docker run --pids-limit"
        return (warning(GROUP, seen, todo),)
    return (ok(GROUP, seen),)


def judge_limits(limits: Limits) -> tuple[Check, ...]:
    checks = []
    if limits.open_files is not None and limits.open_files < FEW_FILES:
        seen = f"{limits.open_files} open files at most"
        checks.append(warning(LIMITS, seen, f"ulimit -n {FEW_FILES}"))
    if limits.processes is not None and limits.processes < FEW_PROCESSES:
        seen = f"{limits.processes} processes and threads at most"
        checks.append(warning(LIMITS, seen, f"ulimit -u {8 * FEW_PROCESSES}"))
    if limits.shm_bytes is None or limits.shm_bytes < SMALL_SHM_BYTES:
        size = "not there" if limits.shm_bytes is None else f"of {format_size(limits.shm_bytes)}"
        todo = "sudo mount -o remount,size=8G /dev/shm; in a container: docker run --shm-size=8g"
        seen = f"/dev/shm is {size}; a DataLoader's workers pass batches through it"
        checks.append(warning(LIMITS, seen, todo))
    if checks:
        return tuple(checks)
    files = "any number of" if limits.open_files is None else limits.open_files
    processes = "any number of" if limits.processes is None else limits.processes
    shm = format_size(limits.shm_bytes)
    return (ok(LIMITS, f"{files} open files, {processes} processes, /dev/shm of {shm}"),)
