"""A process that gives way: in CPU time, at the disk, and before the kernel's OOM killer.

Only downwards from what the user has: nothing here takes precedence over anybody.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import platform
import time
from pathlib import Path
from typing import Literal

Io = Literal["best-effort", "idle", "none"]

#: The kernel's OOM killer takes the process with the highest score first: a trial, which comes
#: back, before the desktop, which does not. 1000 would be "always me".
OOM_SCORE = 500
#: ioprio_set and ioprio_get by the machine's name (asm/unistd_64.h, asm-generic/unistd.h); glibc
#: has no wrappers.
_CALLS = {"x86_64": (251, 252), "aarch64": (30, 31)}
_THIS_PROCESS = (1, 0)  # IOPRIO_WHO_PROCESS, the caller
#: Class and level, ioprio_set(2). 0 is no class of its own, which the kernel takes for
#: best-effort with a level by the nice value, 4 where that is 0.
_NONE, _BEST_EFFORT, _IDLE = 0, 2, 3
_WANTED = {"best-effort": (_BEST_EFFORT, 7), "idle": (_IDLE, 0)}

_is_done = False


def be_courteous(nice: int, io: Io) -> None:
    """Give way by *nice* more than the user has it, and at the disk. Once in a process's life.

    To be called before there are threads: each has priorities of its own, inherited at its start.
    What a kernel or a container refuses is left as it is.
    """
    global _is_done
    if _is_done:
        return
    _is_done = True
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text(str(OOM_SCORE))
    if nice > 0:
        with contextlib.suppress(OSError):
            give_way_as_a_group(os.nice(nice))
    if io in _WANTED:
        give_way_at_the_disk(_WANTED[io])


def give_way_as_a_group(nice: int) -> None:
    """Desktop kernels share the CPU out among sessions first, and nice counts inside of one only.

    An attempt is a session of its own, so without this it would weigh as much as the desktop. See
    sched(7), "The autogroup feature". Users may change one group every 0.1 s on a whole machine.
    """
    group = Path("/proc/self/autogroup")
    for _ in range(5):
        try:
            group.write_text(str(nice))
            return
        except BlockingIOError:
            time.sleep(0.1)
        except OSError:
            return


def give_way_at_the_disk(wanted: tuple[int, int]) -> None:
    """Set class and level *wanted*, unless the user's own gives way more."""
    calls = _CALLS.get(platform.machine())
    if calls is None:
        return
    current = read_io_priority()
    if current is None or (current[0] or _BEST_EFFORT, current[1]) >= wanted:
        return
    system = ctypes.CDLL(None, use_errno=True)
    system.syscall(calls[0], *_THIS_PROCESS, wanted[0] << 13 | wanted[1])


def read_io_priority(pid: int = 0) -> tuple[int, int] | None:
    """Class and level of a process, 0: this one. None where the kernel does not say."""
    calls = _CALLS.get(platform.machine())
    if calls is None:
        return None
    answer = ctypes.CDLL(None, use_errno=True).syscall(calls[1], _THIS_PROCESS[0], pid)
    return None if answer < 0 else (answer >> 13 & 7, answer & 7)
