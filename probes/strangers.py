"""Who else holds memory on a device: the processes outside our trees, by name, largest first.

For people who ask what their card is full of; not for polls, as all of /proc is walked. On an AMD
GPU KFD's list and the DRM files are joined, of other GPUs a tool's list is named, on host RAM it is
the processes with the most memory. What the user's rights do not show is counted where it can be.

A process chooses its own name and arguments, and they are for a terminal: nothing that does not
print is let through.
"""

from __future__ import annotations

import os
import pwd
import re
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path

import msgspec

from probes import amdgpu, fdinfo, kfd
from probes.meminfo import parse_sizes
from probes.number import Unread, read_text, read_text_or_none
from probes.private import parse_statm
from probes.processes import members, read_all, read_kin, root_of, same_namespace
from probes.reading import Device

#: Longer names are cut: a line of a table has other columns too.
MOST_NAME = 40

_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")

#: Programs that say little without the script that they run.
_INTERPRETER = re.compile(r"(python|pypy|perl|ruby|node|bash|dash|sh|zsh)[0-9.]*")

#: Python's options that take the next argument as their value.
_WITH_VALUE = frozenset({"-W", "-X"})

#: A colour or a title as terminals know it: without the escape character its rest would be shown.
_ESCAPE = re.compile(r"\x1b(\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(\x07|\x1b\\)?)")

Sizes = Mapping[int, int | None]  #: bytes by pid; None: not said


class Stranger(msgspec.Struct, frozen=True, kw_only=True):
    """A process that is none of ours."""

    pid: int
    command: str  #: one printable line: "blender", "python train.py"
    held_bytes: int | None  #: None: it is on the device, its size was not said
    user: str | None = None  #: None: not said


class Others(msgspec.Struct, frozen=True, kw_only=True):
    """All who hold memory on a device and are none of ours, as far as they can be seen.

    Bytes are None where one of the sizes was not said.
    """

    named: tuple[Stranger, ...] = ()  #: largest first, unknown sizes last
    more: int = 0  #: how many there are beside them
    more_bytes: int | None = 0
    unnamed: int = 0  #: of another PID namespace, or ended and not given back yet
    unnamed_bytes: int | None = 0
    closed: int = 0  #: other users' processes that may hold some; root could see


def read_strangers(
    device: Device,
    trees: tuple[int, ...],
    *,
    sysfs: Path,
    proc: Path,
    listed: Sequence[tuple[int, int | None]] | None = None,
    at_most: int = 8,
) -> Others:
    """Who holds memory on *device* beside *trees* (root pids), at most *at_most* of them by name.

    *listed*: (pid, bytes) as a tool lists them for this device, where there is one. Never raises
    for what the machine does. May block as long as a process that hangs in its memory lock. Sizes
    are the process's own: on host RAM shared pages are shared out (PSS) where the user may look,
    and counted in full (RSS) where not. Measured on 100 processes: 5 ms for a GPU, 24 ms for RAM.
    """
    if device.kind == "host":
        return _name(_read_ram(trees, proc, 2 * at_most), proc, at_most)
    clients = fdinfo.Clients(held={}, closed=0)
    if device.kind == "amd":
        seen, clients = _read_amd(device.key, sysfs, proc)
        listed = seen if seen is not None else listed
    listed = listed or ()
    kin_of = cache(lambda pid: read_kin(pid, proc))
    sizes = dict(clients.held)
    beyond: Sequence[int | None] = ()
    if same_namespace([pid for pid, _ in listed], proc):
        # DRM's number has compute in it where the driver counts it, KFD's has no graphics.
        sizes |= {pid: larger(size, sizes.get(pid)) for pid, size in listed}
    else:
        beyond = _beyond(listed, clients.held)
    theirs = {pid: size for pid, size in sizes.items() if root_of(pid, trees, kin_of) is None}
    return _name(theirs, proc, at_most, unnamed=beyond, closed=clients.closed)


def _read_amd(
    address: str, sysfs: Path, proc: Path
) -> tuple[list[tuple[int, int | None]] | None, fdinfo.Clients]:
    """What KFD lists, None where it lists nothing, and the DRM clients."""
    gpus, _ = amdgpu.find(sysfs, proc)
    gpu = next((gpu for gpu in gpus if gpu.device.key == address), None)
    region: fdinfo.Region = "gtt" if gpu is not None and gpu.pool.is_ram else "vram"
    clients = fdinfo.read_clients(address, proc, region=region)
    if gpu is None or gpu.node is None:
        return None, clients
    listed = kfd.read_listed(sysfs, gpu.node.gpu_id)
    return None if listed is None else [one for one in listed if one[1] != 0], clients


def larger(one: int | None, other: int | None) -> int | None:
    """Of two counts of what overlaps; one that is not known gives way."""
    return max((size for size in (one, other) if size is not None), default=None)


def _beyond(listed: Sequence[tuple[int, int | None]], here: Sizes) -> list[int | None]:
    """Sizes of processes that are *listed* by pids of another namespace and are not ours to see.

    Those that we do see (*here*, our own trees too) are in the list by other numbers. Which they
    are cannot be told, so the smallest of what is listed are taken to be beyond.
    """
    sizes = sorted((size for _, size in listed if size != 0), key=lambda size: size or 0)
    seen = sum(size != 0 for size in here.values())
    return sizes[: max(0, len(sizes) - seen)]


def _read_ram(trees: tuple[int, ...], proc: Path, walked: int) -> dict[int, int | None]:
    """RAM by pid. Only the *walked* largest are asked for their share of what they share with
    others: that takes 8 ms for each GiB; of the rest what is shared with files is left out."""
    try:
        table = read_all(proc)
    except OSError:
        return {}
    ours = {kin.pid for tree in members(trees, table).values() for kin in tree}
    resident: dict[int, int] = {}
    sizes: dict[int, int | None] = {}
    for pid in table.keys() - ours:
        text = read_text_or_none(f"{proc}/{pid}/statm") or ""
        try:
            sizes[pid] = max(parse_statm(text), 0)
            resident[pid] = int(text.split()[1]) * _PAGE_BYTES
        except ValueError:  # ended
            continue
    for pid in sorted(resident, key=resident.__getitem__, reverse=True)[:walked]:
        rollup = parse_sizes(read_text_or_none(f"{proc}/{pid}/smaps_rollup") or "")
        sizes[pid] = rollup.get("Pss", resident[pid])
    return sizes


def _name(
    sizes: Sizes,
    proc: Path,
    at_most: int,
    *,
    unnamed: Sequence[int | None] = (),
    closed: int = 0,
) -> Others:
    unnamed = list(unnamed)
    named: list[Stranger] = []
    more: list[int | None] = []
    holders = [(pid, size) for pid, size in sizes.items() if size != 0]
    for pid, size in sorted(holders, key=lambda one: (-(one[1] or 0), one[0])):
        if len(named) == at_most:
            more.append(size)
            continue
        command = read_command(pid, proc)
        if command is None:
            unnamed.append(size)
            continue
        user = read_user(pid, proc)
        named.append(Stranger(pid=pid, command=command, held_bytes=size, user=user))
    return Others(
        named=tuple(named),
        more=len(more),
        more_bytes=_sum(more),
        unnamed=len(unnamed),
        unnamed_bytes=_sum(unnamed),
        closed=closed,
    )


def _sum(sizes: list[int | None]) -> int | None:
    known = [size for size in sizes if size is not None]
    return sum(known) if len(known) == len(sizes) else None


def read_user(pid: int, proc: Path) -> str | None:
    """The login name, or the number where it has none; None: the process is gone."""
    found = re.search(r"^Uid:\s+\d+\s+(\d+)", read_text_or_none(f"{proc}/{pid}/status") or "", re.M)
    if found is None:
        return None
    try:
        return printable(pwd.getpwuid(int(found[1])).pw_name) or found[1]
    except (KeyError, OverflowError):
        return found[1]


def read_command(pid: int, proc: Path) -> str | None:
    """What people know the process by; None: it is gone, or has no name that can be shown."""
    try:
        command = parse_command(read_text(f"{proc}/{pid}/cmdline"))
    except Unread:
        command = ""
    # 15 bytes, and of a python process often "MainThread" or the like: the second choice.
    return command or printable(read_text_or_none(f"{proc}/{pid}/comm") or "") or None


def parse_command(text: str) -> str:
    """A short name from /proc/PID/cmdline: the program, and for an interpreter its script.

    Empty where the arguments do not give one: of kernel threads, and of programs that started
    themselves again as /proc/self/exe.
    """
    arguments = text.rstrip("\0").split("\0")
    # Chromium writes its whole command line into the first argument; "-bash" is a login shell.
    program = base_name(arguments[0].partition(" -")[0].removeprefix("-"))
    if program == "exe" and arguments[0].startswith("/proc/"):
        return ""
    if not _INTERPRETER.fullmatch(program):
        return printable(program)
    return printable(f"{program} {_script(arguments[1:])}")


def _script(arguments: list[str]) -> str:
    """What an interpreter runs: ``train.py``, ``-m package.module``, ``-c``; empty: nothing."""
    rest = iter(arguments)
    for argument in rest:
        if argument == "-m":
            return f"-m {next(rest, '')}"
        if argument == "-c":
            return "-c"
        if argument in _WITH_VALUE:
            next(rest, None)
        elif not argument.startswith("-"):
            # A script that is piped in has a number for a name.
            return "" if argument.startswith(("/dev/", "/proc/")) else base_name(argument)
    return ""


def base_name(path: str) -> str:
    """The last part of a path, also of one of Windows' (Wine); other titles as they are."""
    if re.match(r"[A-Za-z]:\\", path):
        return path.rpartition("\\")[2]
    if path.startswith(("/", ".", "~")) or " " not in path:
        return path.rpartition("/")[2]
    return path


def printable(text: str) -> str:
    """One line of at most MOST_NAME characters that does nothing but show itself.

    Left out are escape sequences, all other control characters, and what is not seen or turns the
    direction of writing.
    """
    shown = "".join(
        letter if letter.isprintable() else " " if letter.isspace() else ""
        for letter in _ESCAPE.sub("", text)
    )
    shown = " ".join(shown.split())
    return shown if len(shown) <= MOST_NAME else shown[: MOST_NAME - 3] + "..."
