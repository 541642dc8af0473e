"""Ending attempts' processes: SIGTERM, a time of grace, SIGKILL; and what they have left behind."""

from __future__ import annotations

import signal

from scheduler.core.model import Process
from scheduler.machine import processes
from scheduler.study.serving.live import Live
from scheduler.study.serving.reactor import Reactor

CHILDREN_GRACE_S = 5.0  #: for what an attempt has left in its session when it is gone
LINGER_S = 30.0  #: how long the exit handlers of a finished attempt may take


class Signalling:
    """*grace_s*: what a stopped attempt has to save and to end."""

    def __init__(self, reactor: Reactor, grace_s: float) -> None:
        self._reactor = reactor
        self._grace_s = grace_s
        self._left: list[Process] = []  # attempts that are gone, and had children that were not

    def stop(self, live: Live, because: str) -> None:
        """SIGTERM, and SIGKILL when the grace time is over. Asked twice, the first time counts."""
        if live.stopping is None:
            live.stopping = because
            self._send(live, signal.SIGTERM)
            self._reactor.after(self._grace_s, lambda: self.kill(live))

    def linger(self, live: Live) -> None:
        """It has finished, and may run its exit handlers."""
        self._reactor.after(LINGER_S, lambda: self.kill(live))

    def kill(self, live: Live) -> None:
        """An attempt's own process; what it started is ended after it."""
        self._send(live, signal.SIGKILL)

    def _send(self, live: Live, number: int) -> None:
        if live.process is not None and live.evidence is None:
            processes.send(live.process, number)

    def end_children(self, live: Live) -> None:
        """What an attempt has left in its session (data loaders) holds memory, so it is ended."""
        leader = live.process
        if leader is not None and processes.members(leader):
            self._left.append(leader)
            _to_session(leader, signal.SIGTERM)
            self._reactor.after(CHILDREN_GRACE_S, lambda: _to_session(leader, signal.SIGKILL))

    def close(self) -> None:
        """Nothing is waited for any more."""
        for leader in self._left:
            _to_session(leader, signal.SIGKILL)


def _to_session(leader: Process, number: int) -> None:
    for member in processes.members(leader):
        processes.send(member, number)
