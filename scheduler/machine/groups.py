"""A cgroup for an attempt alone, in which the kernel keeps it, and all it starts, to its cap.

Stronger than what a process can be asked for: a data limit is each process's own and does not know
shared memory, torch's limit knows torch alone. Version 2 has two controllers for that, ``memory``
for RAM and, from Linux 6.14 on, ``dmem`` for the memory of a GPU; version 1 has the former.

Formats: kernel, Documentation/admin-guide/cgroup-v2.rst and cgroup-v1/memory.rst; the names of
regions, "drm/PCI ADDRESS/vram" with a number or none behind, drivers/gpu/drm/drm_drv.c.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable
from pathlib import Path

import msgspec

from probes import cgroup
from probes.number import parse_pairs, read_text_or_none
from scheduler.machine.processes import identify

PROC, CGROUPS = Path("/proc"), Path("/sys/fs/cgroup")
PREFIX = "scheduler-"
#: Each unit of systemd's has a ``pids.max``, far above what a run has: it is no reason to stay.
_LIMITS = ("memory.max", "memory.high", "memory.swap.max", "dmem.max", "cpu.max")
_V1_LIMIT = "memory.limit_in_bytes"


class Home(msgspec.Struct, frozen=True, kw_only=True):
    """A cgroup in which we may make others; *controls*: what those can be limited in."""

    folder: str
    version: int
    controls: tuple[str, ...]


class Homes(msgspec.Struct, frozen=True, kw_only=True):
    """Where RAM and where GPU memory can be limited. None: nowhere, for the reason given."""

    memory: Home | None
    dmem: Home | None
    no_memory: str = ""
    no_dmem: str = ""

    def all(self) -> tuple[Home, ...]:
        found = {home.folder: home for home in (self.memory, self.dmem) if home is not None}
        return tuple(found.values())


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """Bytes, of RAM or of the GPU with this PCI address; None: not limited."""

    ram_bytes: int | None = None
    vram_bytes: int | None = None
    address: str = ""


def find(proc: Path = PROC, cgroups: Path = CGROUPS) -> Homes:
    """Where a process like this one can have groups made for its attempts."""
    own = cgroup.parse_own(read_text_or_none(f"{proc}/self/cgroup") or "")
    second, refused = _version_2(own.get(""), cgroups)
    first = _version_1(own.get("memory"), cgroups)
    dmem = second if second and "dmem" in second.controls else None
    memory = first or (second if second and "memory" in second.controls else None)
    lacks = "children of the cgroup around us may not control {}"
    return Homes(
        memory=memory,
        dmem=dmem,
        no_memory="" if memory else refused or lacks.format("memory"),
        no_dmem="" if dmem else _no_dmem(cgroups, refused, lacks.format("dmem")),
    )


def _no_dmem(cgroups: Path, refused: str, lacks: str) -> str:
    controllers = read_text_or_none(f"{cgroup.root_of_version_2(cgroups)}/cgroup.controllers") or ""
    return refused or lacks if "dmem" in controllers.split() else "this kernel has no dmem cgroup"


def _version_1(path: str | None, cgroups: Path) -> Home | None:
    """Our own group: in version 1 one with processes may have children, and its limit is theirs."""
    if path is None or ".." in path.split("/"):
        return None
    folder = cgroups / "memory" / path.lstrip("/")
    if not os.access(folder, os.W_OK):
        return None
    return Home(folder=str(folder), version=1, controls=("memory",))


def _version_2(path: str | None, cgroups: Path) -> tuple[Home | None, str]:
    """Beside our own group, since one with processes has no children with limits; else why not.

    Only where our own has no limit: nobody is to get out of what they were given.
    """
    if path is None or ".." in path.split("/"):
        return None, "no cgroup version 2 is in sight"
    root = cgroup.root_of_version_2(cgroups)
    own = root / path.lstrip("/")
    parent = root if own == root else own.parent
    if own != root and (name := _limited_by(own)) is not None:
        return None, f"{own} has a limit of its own ({name}), which attempts are to stay in"
    for file in (parent, parent / "cgroup.procs"):
        if not os.access(file, os.W_OK):
            return None, f"{file} may not be written"
    controls = (read_text_or_none(f"{parent}/cgroup.subtree_control") or "").split()
    return Home(folder=str(parent), version=2, controls=tuple(controls)), ""


def _limited_by(own: Path) -> str | None:
    """The file by which the group is limited; None: none."""
    for name in _LIMITS:
        lines = (read_text_or_none(f"{own}/{name}") or "").splitlines()
        if any("max" not in line.split() for line in lines if line.strip()):
            return name
    return None


def enclose(limits: Limits, homes: Homes | None = None) -> tuple[str, ...]:
    """Put this process into a group of its own; returns what is limited there.

    What the kernel refuses is left as it is: there are weaker means. To be called before there are
    threads or children.
    """
    homes = homes or find()
    done: list[str] = []
    if limits.ram_bytes is not None and homes.memory is not None:
        limit = "memory.max" if homes.memory.version == 2 else _V1_LIMIT
        lines = [(limit, str(limits.ram_bytes)), ("memory.oom.group", "1")]
        done += ["memory"] if _enter(homes.memory, lines) else []
    if limits.vram_bytes is not None and homes.dmem is not None:
        regions = regions_of(limits.address, Path(homes.dmem.folder))
        lines = [("dmem.max", f"{region} {limits.vram_bytes}") for region in regions]
        done += ["dmem"] if lines and _enter(homes.dmem, lines) else []
    return tuple(done)


def regions_of(address: str, folder: Path) -> tuple[str, ...]:
    """The regions of a card's own memory, which only the root group lists."""
    for level in (folder, *folder.parents):
        text = read_text_or_none(f"{level}/dmem.capacity")
        if text is not None:
            names = (line.split()[0] for line in text.splitlines() if line.strip())
            return tuple(name for name in names if name.startswith(f"drm/{address}/vram"))
    return ()


def _enter(home: Home, lines: Iterable[tuple[str, str]]) -> bool:
    """The first of *lines* must be taken; the others are for where they are known."""
    me = identify(os.getpid())
    assert me is not None
    folder = Path(home.folder) / name_of(me.pid, me.started_ticks)
    try:
        folder.mkdir(exist_ok=True)
        for number, (file, text) in enumerate(lines):
            with contextlib.suppress(*(() if number == 0 else (OSError,))):
                _write(folder / file, text)
        _write(folder / "cgroup.procs", str(me.pid))
    except OSError:
        with contextlib.suppress(OSError):
            folder.rmdir()
        return False
    return True


def _write(path: Path, text: str) -> None:
    """In one write(2), to a file that the kernel has made."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(descriptor, text.encode())
    finally:
        os.close(descriptor)


def name_of(pid: int, started_ticks: int) -> str:
    """Of the group of a process; a pid alone comes back."""
    return f"{PREFIX}{pid}-{started_ticks}"


def leave(pid: int, started_ticks: int, homes: Homes) -> bool:
    """Clear up after a process that has ended; whether its group's limit had one killed in it.

    A group in which children still run stays, for ``sweep``.
    """
    was_killed = False
    for home in homes.all():
        folder = Path(home.folder) / name_of(pid, started_ticks)
        file = "memory.events" if home.version == 2 else "memory.oom_control"
        kills = parse_pairs(read_text_or_none(f"{folder}/{file}") or "").get("oom_kill", 0)
        was_killed = was_killed or kills > 0
        with contextlib.suppress(OSError):
            folder.rmdir()
    return was_killed


def sweep(homes: Homes) -> None:
    """Remove our groups that nobody is in any more, whoever of ours has left them."""
    for home in homes.all():
        for folder in Path(home.folder).glob(f"{PREFIX}*-*"):
            if all(word.isdigit() for word in folder.name.removeprefix(PREFIX).split("-")):
                with contextlib.suppress(OSError):  # busy: somebody is in it
                    folder.rmdir()
