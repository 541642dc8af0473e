"""RAM that a tree of processes holds for itself: what would be free if the tree were gone.

Attempts are forked from a common template and share its pages, so neither RSS (counts them for
each) nor PSS (a sibling's exit changes it) is a process's own. Counted are, in bytes:

- each process's private dirty pages, from /proc/PID/smaps_rollup (kernel,
  Documentation/filesystems/proc.rst). Private *clean* pages are file pages that only this process
  maps; they can be dropped, MemAvailable counts them as available, and so must we.
- pages that the root shares with its own children since it was first seen: a data set loaded
  before DataLoader workers are forked would else seem to vanish.
- swapped pages: they come back.

Not counted, and so seen as somebody else's: pages shared with the template, and shared memory
(/dev/shm) that no process of the tree has mapped.

A walk of smaps_rollup holds the process's mmap lock and costs 8 ms for each GiB in 4 KiB pages
(16.5 ms at 2 GiB; 2.8 ms after ``import torch``). So each process is walked once in WALK_EVERY_S;
between, the growth of its anonymous pages, which the kernel keeps as a counter (statm, 3 us), is
added.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

import msgspec

from probes.meminfo import parse_sizes
from probes.number import Unread, read_text
from probes.processes import Kin, members, read_all
from probes.reading import Held

WALK_EVERY_S = 10.0

_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


class Sizes(msgspec.Struct, frozen=True, kw_only=True):
    """Memory of one process, in bytes."""

    private_bytes: int = 0  #: dirty, mapped by this process alone
    shared_bytes: int = 0  #: dirty, mapped by others too
    swapped_bytes: int = 0  #: its share of what is in swap


class TreeMemory(msgspec.Struct, frozen=True, kw_only=True):
    """Memory of all trees asked about."""

    held: tuple[Held, ...]
    swapped_bytes: int  #: the part of it that is in swap, not in RAM


class _Walk(msgspec.Struct, frozen=True, kw_only=True):
    """What the last walk of a process found."""

    at_s: float
    sizes: Sizes
    anonymous_bytes: int  #: the counter at the same moment
    inherited_bytes: int  #: shared when the process was first seen: the template's


class Walker:
    """Reads trees, and remembers each process's last walk."""

    def __init__(self, proc: Path, clock: Callable[[], float] = time.monotonic) -> None:
        self._proc = proc
        self._clock = clock
        self._walks: dict[tuple[int, int], _Walk] = {}

    def read(self, roots: tuple[int, ...]) -> TreeMemory:
        """Held is None for a tree of which some process may not be read, 0 for one that is gone."""
        if not roots:
            self._walks = {}
            return TreeMemory(held=(), swapped_bytes=0)
        trees = members(roots, read_all(self._proc))
        before, self._walks = self._walks, {}
        held: list[Held] = []
        swapped = 0
        for root in roots:
            try:
                sizes = [self._read_process(kin, root, before) for kin in trees.get(root, [])]
            except Unread:
                held.append(Held(pid=root, held_bytes=None))
                continue
            swapped += sum(size.swapped_bytes for size in sizes)
            total = sum(size.private_bytes + size.swapped_bytes for size in sizes)
            held.append(Held(pid=root, held_bytes=total))
        return TreeMemory(held=tuple(held), swapped_bytes=swapped)

    def _read_process(self, kin: Kin, root: int, before: dict[tuple[int, int], _Walk]) -> Sizes:
        """Zero for a process that is gone. Raises Unread if it is there and may not be read."""
        name = (kin.pid, kin.started_ticks)
        try:
            walk = self._walks[name] = self._look(kin.pid, before.get(name))
            grown = read_anonymous(self._proc, kin.pid) - walk.anonymous_bytes
        except Unread as unread:
            if unread.gone:
                return Sizes()
            raise
        private = max(walk.sizes.private_bytes + grown, 0)
        if kin.pid == root:
            private += max(walk.sizes.shared_bytes - walk.inherited_bytes, 0)
        return Sizes(private_bytes=private, swapped_bytes=walk.sizes.swapped_bytes)

    def _look(self, pid: int, last: _Walk | None) -> _Walk:
        now_s = self._clock()
        if last is not None and now_s - last.at_s < WALK_EVERY_S:
            return last
        anonymous = read_anonymous(self._proc, pid)
        sizes = read_sizes(self._proc, pid)
        return _Walk(
            at_s=now_s,
            sizes=sizes,
            anonymous_bytes=anonymous,
            inherited_bytes=sizes.shared_bytes if last is None else last.inherited_bytes,
        )


def read_sizes(proc: Path, pid: int) -> Sizes:
    """From smaps_rollup, or status where that is forbidden (another user's). Raises Unread.

    status cannot tell shared from private: it then counts the template's pages too, which errs on
    the side of too much.
    """
    path = f"{proc}/{pid}/smaps_rollup"
    try:
        return parse_rollup(read_text(path))
    except ValueError as error:
        raise Unread(path, str(error)) from None
    except Unread as unread:
        if not unread.forbidden:
            raise
    return parse_status(read_text(f"{proc}/{pid}/status"))


def parse_rollup(text: str) -> Sizes:
    """Raises ValueError where the lines wanted are missing. SwapPss is as old as smaps_rollup."""
    sizes = parse_sizes(text)
    try:
        return Sizes(
            private_bytes=sizes["Private_Dirty"] + sizes.get("Private_Hugetlb", 0),
            shared_bytes=sizes["Shared_Dirty"],
            swapped_bytes=sizes["SwapPss"],
        )
    except KeyError as error:
        raise ValueError(f"has no {error.args[0]} line") from None


def parse_status(text: str) -> Sizes:
    """RssAnon and VmSwap of /proc/PID/status; 0 for a process without memory of its own."""
    sizes = parse_sizes(text)
    return Sizes(private_bytes=sizes.get("RssAnon", 0), swapped_bytes=sizes.get("VmSwap", 0))


def read_anonymous(proc: Path, pid: int) -> int:
    """Bytes of anonymous memory in RAM: resident less shared, of /proc/PID/statm. Raises Unread."""
    path = f"{proc}/{pid}/statm"
    try:
        return parse_statm(read_text(path))
    except ValueError as error:
        raise Unread(path, str(error)) from None


def parse_statm(text: str) -> int:
    """Raises ValueError for anything but at least three page counts."""
    pages = text.split()
    if len(pages) < 3:
        raise ValueError(f"{text[:40]!r} is not a line of page counts")
    return (int(pages[1]) - int(pages[2])) * _PAGE_BYTES
