"""Which of the listed programs run now (`[neighbours] exclusive`), by /proc.

A name is compared with a process's name (/proc/PID/comm, 15 bytes of it), the last part of its
first argument and of its executable, and the script of an interpreter, all in any case of letters.
Under Wine and Proton a game's own process carries the game's name ("Game.exe"), and a program in
a flatpak or a snap is seen by its own name too, so wrappers are not looked through: with every
argument compared, `man steam` would empty the card. A name with a slash is a whole path: the
executable's, or the first argument's where another user's executable cannot be seen.

Under a /proc mounted with hidepid other users' programs are not seen at all.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import NamedTuple

import msgspec

from probes.number import read_text_or_none
from probes.processes import Kin, read_kin, root_of
from probes.strangers import base_name, parse_command

LOOK_S = 1.0  #: between two passes over /proc, at least
AGE_S = 2.0  #: a younger process does not count yet
AFTER_S = 30.0  #: for so long after it was last seen a program counts as running
_AGAIN_S = 30.0  #: processes that are known are read again after so long
_COMM = 15  #: characters of a name that the kernel keeps (proc_pid_comm(5))
_TICKS = os.sysconf("SC_CLK_TCK")


class Looks(msgspec.Struct, frozen=True, kw_only=True):
    """What a process goes by."""

    comm: str
    arguments: str  #: /proc/PID/cmdline as it is
    executable: str | None  #: None: not to be seen


def is_called(name: str, looks: Looks) -> bool:
    """Whether *name*, as it was listed, means this process. Pure."""
    first = looks.arguments.partition("\0")[0]
    if "/" in name:
        executable = looks.executable and looks.executable.removesuffix(" (deleted)")
        return name in (executable, first)
    wanted = name.casefold()
    return any(wanted == other.casefold() for other in _names(looks, first)) or (
        len(name) > _COMM and looks.comm.casefold() == wanted[:_COMM] and not first
    )


def _names(looks: Looks, first: str) -> Iterator[str]:
    yield looks.comm
    yield base_name(first)
    # Chromium and what is built on it write all arguments into the first.
    yield base_name(first.partition(" -")[0])
    if looks.executable is not None:
        yield base_name(looks.executable.removesuffix(" (deleted)"))
    _, _, script = parse_command(looks.arguments).partition(" ")
    if script:
        yield script.removeprefix("-m ")


class _Known(NamedTuple):
    """A process that was read: which of the listed names it goes by, and when that was."""

    names: tuple[str, ...]
    read_s: float


class Programs:
    """Looks for *names* in /proc.

    1. A script asks `blender --version`, which takes 0.3 s. 2. The poll sees blender, and hours of
    training are stopped for it. So a process counts from its third second on. 1. Steam updates
    itself: it ends and starts again. 2. In between trials start, and are stopped at once. So a
    program counts for a while after its last process has ended.

    A pass lists /proc and reads the processes that are new; all others again every half minute, as
    a process may become another program. Not for use by several threads at once.
    """

    def __init__(
        self,
        names: Sequence[str],
        *,
        proc: Path = Path("/proc"),
        uptime_s: Callable[[], float] = lambda: time.clock_gettime(time.CLOCK_BOOTTIME),
    ) -> None:
        self._names = tuple(names)
        self._proc = proc
        self._uptime_s = uptime_s  # the clock that field 22 of /proc/PID/stat counts by
        self._known: dict[int, _Known] = {}
        self._seen_s: dict[str, float] = {}
        self._looked_s: float | None = None

    def running(self, ours: Collection[int]) -> tuple[str, ...]:
        """Those that run, in the order of the list. *ours*: root pids of our hosts and attempts,
        whose trees do not count, nor does this process's own. Never raises for what /proc says.
        """
        if not self._names:
            return ()
        now_s = self._uptime_s()
        if self._looked_s is None or now_s - self._looked_s >= LOOK_S:
            self._looked_s = now_s
            for name in self._look(now_s, {*ours, os.getpid()}):
                self._seen_s[name] = now_s
        return tuple(name for name in self._names if self._was_seen(name, now_s))

    def _was_seen(self, name: str, now_s: float) -> bool:
        seen_s = self._seen_s.get(name)
        return seen_s is not None and now_s - seen_s < AFTER_S

    def _look(self, now_s: float, ours: Collection[int]) -> set[str]:
        try:
            pids = {int(name) for name in os.listdir(self._proc) if name.isdigit()}
        except OSError:
            return set()
        self._known = {pid: known for pid, known in self._known.items() if pid in pids}
        kin_of = cache(lambda pid: read_kin(pid, self._proc))
        found = set[str]()
        for pid in pids:
            names = self._called(pid, now_s, kin_of)
            if names and root_of(pid, ours, kin_of) is None:
                found.update(names)
        return found

    def _called(
        self, pid: int, now_s: float, kin_of: Callable[[int], Kin | None]
    ) -> tuple[str, ...]:
        """Which of the listed names this process goes by."""
        known = self._known.get(pid)
        if known is not None and not known.names and now_s - known.read_s < _AGAIN_S:
            return ()
        kin = kin_of(pid)
        if kin is None or kin.zombie or now_s - kin.started_ticks / _TICKS < AGE_S:
            self._known.pop(pid, None)
            return ()
        looks = read_looks(pid, self._proc)
        names = tuple(name for name in self._names if is_called(name, looks))
        self._known[pid] = _Known(names, now_s)
        return names


def read_looks(pid: int, proc: Path) -> Looks:
    """Empty where the process is gone."""
    executable = None
    with contextlib.suppress(OSError):
        executable = os.readlink(f"{proc}/{pid}/exe")
    return Looks(
        comm=(read_text_or_none(f"{proc}/{pid}/comm") or "").removesuffix("\n"),
        arguments=read_text_or_none(f"{proc}/{pid}/cmdline") or "",
        executable=executable,
    )
