"""A cgroup of a test's own with a limit of memory, in whichever version this machine has.

It is made below our own cgroup, so that limits around the tests still hold. The tests stay outside
of it; what they start through ``entering`` is inside, and ends with it.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from script_runs import wait_for

from probes.cgroup import Level, find_levels

_VERSION_1 = "memory.limit_in_bytes"
#: A limit of memory alone lets the kernel swap instead of killing; each version has its own word.
_NO_SWAP = {_VERSION_1: ("memory.swappiness", "0"), "memory.max": ("memory.swap.max", "0")}


@dataclass(frozen=True)
class Cgroup:
    folder: Path
    limit_bytes: int

    @property
    def entering(self) -> tuple[str, ...]:
        """Words that come before a command, so that it runs inside, with its own pid."""
        procs = self.folder / "cgroup.procs"
        return ("sh", "-c", f'echo $$ > "{procs}" && exec "$@"', "sh")

    def pids(self) -> list[int]:
        return [int(pid) for pid in (self.folder / "cgroup.procs").read_text().split()]


@contextlib.contextmanager
def limited(limit_bytes: int) -> Iterator[Cgroup]:
    """A cgroup whose processes have *limit_bytes* together. Skips, saying why, where none can be
    made. In the end what is left in it is killed, and it is gone."""
    parent = _parent()
    folder = Path(parent.folder) / f"scheduler-test-{uuid.uuid4().hex[:8]}"
    try:
        folder.mkdir()
    except OSError as error:
        pytest.skip(f"no cgroup can be made here: {error} (it takes root, or one handed down)")
    cgroup = Cgroup(folder, limit_bytes)
    try:
        _set_up(cgroup, parent)
        yield cgroup
    finally:
        wait_for(lambda: _is_removed(cgroup), f"the end of {folder}")


def _parent() -> Level:
    """Our nearest cgroup that can have children with a limit of memory."""
    for level in find_levels(Path("/proc"), Path("/sys/fs/cgroup")):
        if level.limit == _VERSION_1 or "memory" in _handed_down(level):
            return level
    pytest.skip("no cgroup of this machine has a memory controller for us")


def _handed_down(level: Level) -> list[str]:
    """Version 2: what the children of a cgroup may control."""
    try:
        return Path(level.folder, "cgroup.subtree_control").read_text().split()
    except OSError:
        return []


def _set_up(cgroup: Cgroup, parent: Level) -> None:
    try:
        (cgroup.folder / parent.limit).write_text(str(cgroup.limit_bytes))
        name, value = _NO_SWAP[parent.limit]
        with contextlib.suppress(FileNotFoundError):
            (cgroup.folder / name).write_text(value)
    except OSError as error:
        pytest.skip(f"the memory of a cgroup cannot be limited here: {error}")
    tried = subprocess.run([*cgroup.entering, "true"], capture_output=True, text=True)
    if tried.returncode != 0:
        pytest.skip(f"no process can be moved into a cgroup here: {tried.stderr.strip()}")


def _is_removed(cgroup: Cgroup) -> bool:
    """Only what the test started is in there: nobody else knows its name."""
    for pid in cgroup.pids():
        assert pid != os.getpid()
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    with contextlib.suppress(OSError):  # the kernel takes a moment after the last one's end
        cgroup.folder.rmdir()
    return not cgroup.folder.exists()
