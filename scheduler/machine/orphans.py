"""Attempts whose host is gone: watched until they end, ended when they do not.

An attempt ends itself when its host dies. One that hangs would hold its memory for ever, so it is
given some seconds and then ended, session and all. A host that lives but is not connected (it is
busy, or we have just been started again) keeps its attempts: it will join and say what they do.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable

import msgspec

from scheduler.core.model import Process
from scheduler.machine import processes

_log = logging.getLogger(__name__)

PATIENCE_S = 5.0  #: for an attempt whose host has died
REJOIN_S = 10.0  #: for a host that nothing is known of to come back
SILENT_S = 60.0  #: for a living one to tell of an attempt that is gone
_PATIENCE_S = {False: PATIENCE_S, None: REJOIN_S, True: SILENT_S}
GRACE_S = 5.0  #: between SIGTERM and SIGKILL


class Lease(msgspec.Struct, frozen=True, kw_only=True):
    """An attempt that the core counts on, and where it runs. None: its start was not told."""

    attempt: str
    run: str
    process: Process | None


class Orphans:
    """Looks after the leases of runs without a host. One thread calls it.

    *is_host_alive* says of a run whether its host runs; None: nothing is known of it.
    """

    def __init__(
        self,
        is_host_alive: Callable[[str], bool | None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._is_host_alive = is_host_alive
        self._clock = clock
        self._since_s: dict[str, float] = {}  #: by run: when its host was first missed
        self._ending: set[str] = set()

    def look(self, leases: Iterable[Lease], connected: frozenset[str]) -> tuple[str, ...]:
        """Ends what must be ended; returns the attempts that have vanished."""
        missing = [lease for lease in leases if lease.run not in connected]
        hosts = {run: self._is_host_alive(run) for run in {lease.run for lease in missing}}
        now_s = self._clock()
        self._since_s = {run: self._since_s.get(run, now_s) for run in hosts}
        return tuple(
            lease.attempt
            for lease in missing
            if self._has_vanished(lease, hosts[lease.run], now_s - self._since_s[lease.run])
        )

    def _has_vanished(self, lease: Lease, host: bool | None, waited_s: float) -> bool:
        if lease.process is not None and processes.members(lease.process):
            if not host and waited_s >= _PATIENCE_S[host]:
                self._end(lease.attempt, lease.process)
            return False
        nobody_will_tell = host is False and lease.process is not None
        return nobody_will_tell or waited_s >= _PATIENCE_S[host]

    def _end(self, attempt: str, process: Process) -> None:
        if attempt in self._ending:
            return
        self._ending.add(attempt)
        _log.warning("ending %s (pid %d): its host is gone", attempt, process.pid)
        threading.Thread(target=processes.end_session, args=(process, GRACE_S), daemon=True).start()
