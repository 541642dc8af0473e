"""The memory limits of our own cgroup and its parents, version 1 and 2.

Formats: kernel, Documentation/admin-guide/cgroup-v2.rst and cgroup-v1/memory.rst. Our own cgroup is
the one that counts: attempts are started in their host's, which is the same where both were started
by one user's login, and is not where a service has a limit of its own.
"""

from __future__ import annotations

from pathlib import Path

import msgspec

from probes.number import (
    Unread,
    parse_number,
    parse_pairs,
    read_number,
    read_text,
    read_text_or_none,
)


class Level(msgspec.Struct, frozen=True, kw_only=True):
    """One cgroup on the way up, and the names that its version gives to the files."""

    folder: str
    limit: str
    usage: str
    inactive: str  #: the line of memory.stat
    kills: tuple[str, str]  #: file and line that count processes killed in this cgroup


class Room(msgspec.Struct, frozen=True, kw_only=True):
    """What a cgroup with a limit still gives."""

    limit_bytes: int
    #: Limit less use; file pages not used lately do not count as use, the kernel drops them first
    #: (the "working set" of Kubernetes).
    available_bytes: int


def find_levels(proc: Path, cgroup: Path) -> tuple[Level, ...]:
    """Our cgroups that can have a memory limit, innermost first. *cgroup*: /sys/fs/cgroup."""
    own = parse_own(read_text_or_none(f"{proc}/self/cgroup") or "")
    levels: list[Level] = []
    if "memory" in own:
        levels += [_version_1(folder) for folder in _upwards(cgroup / "memory", own["memory"])]
    if "" in own:
        levels += [_version_2(folder) for folder in _upwards(root_of_version_2(cgroup), own[""])]
    return tuple(levels)


def root_of_version_2(cgroup: Path) -> Path:
    """Beside version 1, systemd mounts version 2 in a folder of its own."""
    return cgroup / "unified" if (cgroup / "unified").is_dir() else cgroup


def parse_own(text: str) -> dict[str, str]:
    """/proc/self/cgroup as controller -> path; the empty name is version 2."""
    lines = (line.split(":", 2) for line in text.splitlines())
    return {
        controller: fields[2]
        for fields in lines
        if len(fields) == 3
        for controller in fields[1].split(",")
    }


def _upwards(root: Path, path: str) -> list[Path]:
    """The folder of *path* and its parents up to *root*, as far as they are there.

    In a container the path can be the machine's while the root is the container's own: then only
    the root is there, and it is ours.
    """
    own = root / path.lstrip("/")
    if ".." in own.parts:  # a cgroup outside our cgroup namespace
        return [root]
    folders = [own, *own.parents]
    return [folder for folder in folders[: folders.index(root) + 1] if folder.is_dir()]


def _version_1(folder: Path) -> Level:
    return Level(
        folder=str(folder),
        limit="memory.limit_in_bytes",
        usage="memory.usage_in_bytes",
        inactive="total_inactive_file",
        kills=("memory.oom_control", "oom_kill"),
    )


def _version_2(folder: Path) -> Level:
    return Level(
        folder=str(folder),
        limit="memory.max",
        usage="memory.current",
        inactive="inactive_file",
        kills=("memory.events", "oom_kill"),
    )


def read_room(level: Level, most_bytes: int) -> Room | None:
    """None: no limit, or one above *most_bytes* (version 1 says "unlimited" as a huge number).

    Raises Unread where there is a limit and the use cannot be read.
    """
    try:
        limit = parse_number((read_text(f"{level.folder}/{level.limit}")).encode())
    except (Unread, ValueError):  # no memory controller here; "max"
        return None
    if limit >= most_bytes:
        return None
    usage = read_number(f"{level.folder}/{level.usage}")
    inactive = parse_pairs(read_text(f"{level.folder}/memory.stat")).get(level.inactive, 0)
    return Room(limit_bytes=limit, available_bytes=max(limit - max(usage - inactive, 0), 0))


def read_kills(level: Level) -> int | None:
    """Processes killed for memory in this cgroup and below since it was made; None: not said."""
    file, line = level.kills
    return parse_pairs(read_text_or_none(f"{level.folder}/{file}") or "").get(line)
