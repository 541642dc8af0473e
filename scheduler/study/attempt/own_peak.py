"""The most that this attempt has held, by its own count, for what no poll has seen.

Devices are polled once a second or four times. What a batch holds for half a second at the end of
an epoch would be in no forecast, and the next attempt's cap would stop it there. Both counts are
lower bounds: torch's leaves out the GPU context, that of the kernel what was shared with the
template at the start and written to since.
"""

from __future__ import annotations

import contextlib
import sys

from probes.number import read_text_or_none

_STATUS = "/proc/self/status"


class OwnPeak:
    """Made before the objective begins."""

    def __init__(self, *, on_host: bool) -> None:
        self._began_bytes = own_bytes("VmRSS") if on_host else None
        self._on_host = on_host

    def read(self) -> int | None:
        """None: it cannot be told."""
        return self._of_ram() if self._on_host else _of_torch()

    def _of_ram(self) -> int | None:
        most = own_bytes("VmHWM")
        if most is None or self._began_bytes is None:
            return None
        return max(0, most - self._began_bytes)


def _of_torch() -> int | None:
    """What its allocator has taken of the GPU at most; None where it has taken nothing."""
    torch = sys.modules.get("torch")
    with contextlib.suppress(Exception):  # whatever build and version it is
        if torch is not None and torch.cuda.is_initialized():
            return int(torch.cuda.max_memory_reserved())
    return None


def own_bytes(name: str) -> int | None:
    """A field of this process's /proc/PID/status, in bytes; None where it is not there. See
    proc_pid_status(5)."""
    text = read_text_or_none(_STATUS) or ""
    for line in text.splitlines():
        if line.startswith(f"{name}:"):
            words = line.split()
            return int(words[1]) * 1024 if len(words) == 3 and words[1].isdecimal() else None
    return None
