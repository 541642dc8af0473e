"""The device files: this user may open what computing on the GPU needs.

AMD: /dev/kfd and each card's /dev/dri/renderD*. NVIDIA: /dev/nvidiactl and /dev/nvidiaN. They are
asked for with access(2) and not opened: an open of /dev/kfd lists us as a compute process.
"""

from __future__ import annotations

import contextlib
import grp
import os
import pwd
import re
import stat
from pathlib import Path

import msgspec

from probes.drm import AMD, parse_hex
from probes.number import read_text_or_none
from scheduler.interfaces.checkup.findings import Check, Where, ok, problem, skipped, warning

NAME = "permissions"


class File(msgspec.Struct, frozen=True, kw_only=True):
    """A device file. ``mode`` None: it is not there. ``group`` None: its gid has no name here."""

    path: str
    mode: int | None = None
    gid: int | None = None
    group: str | None = None
    is_open_to_us: bool = False


class Facts(msgspec.Struct, frozen=True, kw_only=True):
    amd: tuple[File, ...]  #: empty: no card of AMD's is driven here
    nvidia: tuple[File, ...]
    user: str
    gids: frozenset[int]  #: this process's groups
    listed_gids: frozenset[int]  #: the user's by the group database: what a new login gets


def check(where: Where) -> tuple[Check, ...]:
    return judge(read(where))


def read(where: Where) -> Facts:
    user = _user()
    return Facts(
        amd=tuple(map(_read_file, _amd_paths(where))),
        nvidia=tuple(map(_read_file, _nvidia_paths(where))),
        user=user,
        gids=frozenset({*os.getgroups(), os.getegid()}),
        listed_gids=_listed_gids(user),
    )


def _amd_paths(where: Where) -> list[Path]:
    """render nodes by sysfs: in a container the card is seen there and its file may be missing."""
    entries = (where.sysfs / "class/drm").glob("renderD*")
    nodes = sorted(
        where.dev / "dri" / entry.name
        for entry in entries
        if re.fullmatch(r"renderD\d+", entry.name)
        and parse_hex(read_text_or_none(str(entry / "device/vendor"))) == AMD
    )
    knows_kfd = (where.sysfs / "class/kfd").is_dir() or (where.sysfs / "module/amdgpu").is_dir()
    return [where.dev / "kfd", *nodes] if nodes and knows_kfd else nodes


def _nvidia_paths(where: Where) -> list[Path]:
    """The driver numbers its files itself: the "Device Minor" line of each GPU's information."""
    minors = []
    for folder in sorted(where.proc.glob("driver/nvidia/gpus/*")):
        text = read_text_or_none(str(folder / "information")) or ""
        minors += re.findall(r"^Device Minor:\s*(\d+)", text, re.MULTILINE)
    files = [where.dev / f"nvidia{minor}" for minor in minors]
    return [where.dev / "nvidiactl", *files] if files else []


def _read_file(path: Path) -> File:
    try:
        found = path.stat()
    except OSError:
        return File(path=str(path))
    group = None
    with contextlib.suppress(KeyError):
        group = grp.getgrgid(found.st_gid).gr_name
    return File(
        path=str(path),
        mode=stat.S_IMODE(found.st_mode),
        gid=found.st_gid,
        group=group,
        is_open_to_us=os.access(path, os.R_OK | os.W_OK),
    )


def _user() -> str:
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:  # a container's uid without a name
        return f"uid {os.getuid()}"


def _listed_gids(user: str) -> frozenset[int]:
    with contextlib.suppress(KeyError, OSError):
        return frozenset(os.getgrouplist(user, pwd.getpwnam(user).pw_gid))
    return frozenset()


def judge(facts: Facts) -> tuple[Check, ...]:
    checks = [*_judge_maker(facts, facts.amd, _AMD_CONTAINER)]
    checks += _judge_maker(facts, facts.nvidia, _NVIDIA_CONTAINER)
    return tuple(checks) or (skipped(NAME, "no GPU whose files would be opened"),)


_AMD_CONTAINER = "In a container: docker run --device=/dev/kfd --device=/dev/dri ..."
_NVIDIA_CONTAINER = "In a container: docker run --gpus all ...; else: sudo nvidia-modprobe -c 0 -u"


def _judge_maker(facts: Facts, files: tuple[File, ...], container: str) -> tuple[Check, ...]:
    if not files:
        return ()
    missing = [file for file in files if file.mode is None]
    closed = [file for file in files if file.mode is not None and not file.is_open_to_us]
    checks = []
    if missing:
        # The first file is the one that all cards share; of the others, one is enough for trials.
        stops = files[0] in missing or not any(file.is_open_to_us for file in files[1:])
        seen = f"{_names(missing)} not there, though the driver has the card"
        checks.append((problem if stops else warning)(NAME, seen, container))
    if closed:
        seen = f"{facts.user} may not read and write {', '.join(map(_shown, closed))}"
        checks.append(problem(NAME, seen, _how_to_open(facts, closed)))
    if not checks:
        checks.append(ok(NAME, f"{facts.user} may read and write {_names(files)}"))
    return tuple(checks)


def _names(files: list[File] | tuple[File, ...]) -> str:
    return ", ".join(file.path for file in files)


def _shown(file: File) -> str:
    assert file.mode is not None
    return f"{file.path} (group {file.group or file.gid}, mode {file.mode:04o})"


def _how_to_open(facts: Facts, closed: list[File]) -> str:
    """Named are the files' own groups: render and video on most systems, video on old ones."""
    useless = [file for file in closed if file.gid == 0 or (file.mode or 0) & 0o060 != 0o060]
    if useless:
        rule = 'KERNEL=="kfd|renderD*", GROUP="render", MODE="0660"'
        return (
            f"{_names(useless)}: no group may use it. Put this into"
            f" /etc/udev/rules.d/70-gpu.rules and restart the machine: {rule}"
        )
    if {file.gid for file in closed} <= facts.listed_gids - facts.gids:
        return "The groups are right, but were given after you logged in: log out and in again"
    if unnamed := sorted({file.gid for file in closed if file.group is None and file.gid}):
        options = " ".join(f"--group-add {gid}" for gid in unnamed)
        return f"The group has no name here; in a container: docker run {options} ..."
    groups = ",".join(sorted({file.group for file in closed if file.group}))
    return f"sudo usermod -aG {groups} {facts.user}, then log out and in again"
