"""The state folder: ours alone, on a disk of this machine with some room.

Formats: proc_pid_mountinfo(5), statvfs(3).
"""

from __future__ import annotations

import os
import re
from pathlib import Path

import msgspec

from probes.number import read_text_or_none
from scheduler.interfaces.checkup.findings import Check, Where, ok, problem, warning
from scheduler.machine.sizes import format_size
from scheduler.machine.state import VARIABLE, StateError
from scheduler.machine.state import check as check_state

NAME = "state folder"
LITTLE_BYTES, NONE_BYTES = 1 << 30, 100 << 20

#: File systems of other machines: SQLite's WAL needs shared memory, and sockets work on one machine
#: only (sqlite.org/wal.html).
NETWORK = frozenset(
    {"nfs", "nfs4", "cifs", "smb3", "9p", "ceph", "lustre", "beegfs", "gpfs", "afs", "glusterfs"}
) | frozenset({"fuse.sshfs", "fuse.glusterfs", "fuse.rclone", "fuse.s3fs", "fuse.gcsfuse"})


class Facts(msgspec.Struct, frozen=True, kw_only=True):
    """``wrong`` is a StateError's seen and remedy. Sizes and types None: not said."""

    path: str
    is_there: bool
    wrong: tuple[str, str] | None = None
    closed: str | None = None  #: the folder in which it cannot be made
    file_system: str | None = None
    free_bytes: int | None = None


def check(where: Where) -> tuple[Check, ...]:
    return judge(read(where))


def read(where: Where) -> Facts:
    path = where.state.path
    nearest = next(folder for folder in (path, *path.parents) if os.path.lexists(folder))
    is_there, wrong, closed = nearest == path, None, None
    if is_there:
        try:
            check_state(where.state)
        except StateError as error:
            _, seen, _, remedy = error.args
            wrong = (seen, remedy)
        except OSError as error:  # a link to nowhere
            wrong = (f"cannot be read: {error.strerror}", f"Set {VARIABLE} to another folder.")
    elif not nearest.is_dir() or not os.access(nearest, os.W_OK | os.X_OK):
        closed = str(nearest)
    return Facts(
        path=str(path),
        is_there=is_there,
        wrong=wrong,
        closed=closed,
        file_system=_read_file_system(where.proc, nearest),
        free_bytes=_free_bytes(nearest),
    )


def _free_bytes(folder: Path) -> int | None:
    try:
        found = os.statvfs(folder)
    except OSError:
        return None
    return found.f_bavail * found.f_frsize


def _read_file_system(proc: Path, folder: Path) -> str | None:
    text = read_text_or_none(str(proc / "self/mountinfo")) or ""
    return file_system_of(str(folder.resolve()), text)


def file_system_of(path: str, mountinfo: str) -> str | None:
    """The type of the file system that *path* is on; None: not told.

    The longest mount point counts, and of two on one point the later.
    """
    best, found = -1, None
    for line in mountinfo.splitlines():
        before, dash, after = line.partition(" - ")
        words = before.split(" ")
        if not dash or len(words) < 5:
            continue
        point = re.sub(r"\\([0-7]{3})", lambda octal: chr(int(octal[1], 8)), words[4])
        inside = path == point or path.startswith(point.rstrip("/") + "/")
        if inside and len(point) >= best:
            best, found = len(point), after.split(" ")[0]
    return found


def judge(facts: Facts) -> tuple[Check, ...]:
    elsewhere = f"Set {VARIABLE} to a folder of yours"
    if facts.wrong is not None:
        seen, remedy = facts.wrong
        return (problem(NAME, f"{facts.path} {seen}", remedy),)
    if facts.closed is not None:
        seen = f"{facts.path} cannot be made: no right to write in {facts.closed}"
        return (problem(NAME, seen, elsewhere),)
    free = facts.free_bytes
    room = f"{facts.path}, {format_size(free)} free"
    checks = []
    if free is not None and free < NONE_BYTES:
        checks.append(problem(NAME, room, f"Make room, or: {elsewhere} on another disk"))
    elif free is not None and free < LITTLE_BYTES:
        checks.append(warning(NAME, room, f"Make room, or: {elsewhere} on another disk"))
    if facts.file_system in NETWORK:
        seen = f"{facts.path} is on {facts.file_system}, a network's: databases may be damaged"
        checks.append(warning(NAME, seen, f"{elsewhere} on a disk of this machine"))
    made = "yours alone" if facts.is_there else "made by the first run"
    return tuple(checks) or (ok(NAME, f"{room}, {made}"),)
