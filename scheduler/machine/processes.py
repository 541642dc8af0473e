"""Processes told apart for sure, watched and ended. Works for processes that are not our children.

A pid alone names nobody for long; a ``Process`` is a pid with the tick it was started at. Sessions
are ended whole: an attempt is the leader of its own, with its data loaders in it.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import time
from collections.abc import Callable

import msgspec

from scheduler.core.model import Process

_TICKS_PER_S = os.sysconf("SC_CLK_TCK")


class Stat(msgspec.Struct, frozen=True, kw_only=True):
    """What we need of /proc/PID/stat (proc(5))."""

    state: str
    session: int
    threads: int
    started_ticks: int

    @property
    def is_over(self) -> bool:
        """A zombie is. One with threads left is not: its first thread alone has ended."""
        return self.state in "ZX" and self.threads <= 1


def parse_stat(text: str) -> Stat:
    """The name in field 2 may hold spaces and brackets: count from the last bracket."""
    fields = text[text.rindex(")") + 2 :].split()
    return Stat(
        state=fields[0],
        session=int(fields[3]),
        threads=int(fields[17]),
        started_ticks=int(fields[19]),
    )


def read_stat(pid: int) -> Stat | None:
    """None where there is no such process."""
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
            return parse_stat(file.read())
    except (FileNotFoundError, ProcessLookupError):
        return None


def identify(pid: int) -> Process | None:
    """The process that has this pid now; None where there is none."""
    found = read_stat(pid)
    return Process(pid=pid, started_ticks=found.started_ticks) if found else None


def age_s(process: Process) -> float:
    """For how long it has been there, whatever the time of day was set to since."""
    return time.clock_gettime(time.CLOCK_BOOTTIME) - process.started_ticks / _TICKS_PER_S


def is_alive(process: Process) -> bool:
    """Whether this very process still runs. A zombie does not: it holds no memory any more."""
    found = read_stat(process.pid)
    return found is not None and found.started_ticks == process.started_ticks and not found.is_over


def was_running(pid: int, at_s: float) -> bool:
    """Whether the process that has this pid now runs and was there already at *at_s*.

    For pids written down without a tick: one that took the pid later started later. Boot time in
    /proc/stat has whole seconds and follows the clock's corrections, hence the slack.
    """
    found = read_stat(pid)
    if found is None or found.is_over:
        return False
    return _boot_s() + found.started_ticks / _TICKS_PER_S <= at_s + 5.0


def _boot_s() -> int:
    with open("/proc/stat", encoding="ascii") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("btime "))


def wait_gone(process: Process, timeout_s: float) -> bool:
    """Waits until the process has ended; False where it still runs after *timeout_s*."""
    try:
        handle = os.pidfd_open(process.pid)
    except ProcessLookupError:
        return True
    try:
        if identify(process.pid) != process:  # looked at after opening: the handle is that one's
            return True
        poll = select.poll()
        poll.register(handle, select.POLLIN)
        return bool(poll.poll(timeout_s * 1000))
    finally:
        os.close(handle)


def members(leader: Process) -> tuple[Process, ...]:
    """All running processes of the session that *leader* leads or led, itself included.

    The kernel gives a pid to nobody else while a session has it for a name. So what is found is
    ours, unless another process leads a session of that name by now: then nothing is. Nor is init's
    session anybody's, or 0, which is the kernel's threads and those of an outer PID namespace.
    """
    head = read_stat(leader.pid)
    if leader.pid <= 1 or (head is not None and head.started_ticks != leader.started_ticks):
        return ()
    pids = (int(name) for name in os.listdir("/proc") if name.isdigit())
    found = ((pid, read_stat(pid)) for pid in pids)
    return tuple(
        Process(pid=pid, started_ticks=one.started_ticks)
        for pid, one in found
        if one is not None and (one.session == leader.pid or pid == leader.pid) and not one.is_over
    )


def send(process: Process, number: int) -> None:
    """Signals this very process and no other; nothing happens where it is gone."""
    with contextlib.suppress(ProcessLookupError):
        handle = os.pidfd_open(process.pid)
        try:
            if is_alive(process):
                signal.pidfd_send_signal(handle, number)
        finally:
            os.close(handle)


def end_session(leader: Process, grace_s: float) -> bool:
    """Ends a whole session: SIGTERM, *grace_s* to tidy up, SIGKILL. Whether all are gone then."""
    for member in members(leader):
        send(member, signal.SIGTERM)
    if _wait_until(lambda: not members(leader), grace_s):
        return True

    def kill() -> bool:
        left = members(leader)
        for member in left:
            send(member, signal.SIGKILL)
        return not left

    return _wait_until(kill, 2.0)  # again and again: one may have forked before it died


def _wait_until(done: Callable[[], bool], timeout_s: float) -> bool:
    deadline_s = time.monotonic() + timeout_s
    while not done():
        if time.monotonic() >= deadline_s:
            return False
        time.sleep(0.05)
    return True
