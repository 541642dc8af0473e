"""Starting attempts: by a fork of the template, or by running the script again.

Both give a ``Peer`` at once (the host's end of the line) and say later, through ``news``, which
process it became and how that ended.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Protocol

from scheduler.core.model import Attempt, Budget
from scheduler.study.channel import Answer, Go, answer
from scheduler.study.starting import rerun
from scheduler.study.starting.template import Template


@dataclass(eq=False)
class Peer:
    """The host's end of one attempt's line. The attempt says "ready", and waits for its ``Go``."""

    connection: Connection
    attempt: str | None = None
    ready: bool = False
    _go: Go | None = field(default=None)

    def fileno(self) -> int:
        return self.connection.fileno()

    def go(self, go: Go) -> None:
        self._go = go
        self._begin()

    def is_ready(self) -> None:
        self.ready = True
        self._begin()

    def _begin(self) -> None:
        if self.ready and self._go is not None:
            go, self._go = self._go, None
            answer(self.connection, Answer(go))


@dataclass(frozen=True, slots=True)
class Forked:
    attempt: str
    pid: int


@dataclass(frozen=True, slots=True)
class Ended:
    """``status`` as of waitpid. ``attempt`` is None for a spare that never became one."""

    attempt: str | None
    status: int


class LauncherGone(Exception):
    """The template was killed, by the kernel's OOM killer say, and all its attempts with it."""


News = Forked | Ended


class Launcher(Protocol):
    way: str  #: for people: how attempts start, and why so

    def replacement(self) -> Launcher:
        """What starts attempts after LauncherGone."""
        ...

    def launch(self, attempt: Attempt, budget: Budget) -> tuple[Peer, int | None]:
        """The line, and the pid where it is known at once."""
        ...

    def peers(self) -> list[Peer]: ...
    def descriptors(self) -> list[int]: ...
    def news(self, descriptor: int) -> list[News]: ...
    def close(self) -> None: ...


class Forks:
    """Attempts forked from a template."""

    def __init__(self, template: Template, replacement: Callable[[], Launcher]) -> None:
        self.way = "fork"
        self._template = template
        self._replacement = replacement

    def replacement(self) -> Launcher:
        self.close()
        return self._replacement()

    def launch(self, attempt: Attempt, budget: Budget) -> tuple[Peer, int | None]:
        return Peer(self._template.fork(attempt.id), attempt.id), None

    def peers(self) -> list[Peer]:
        """Lines on which somebody speaks who is no attempt yet."""
        return []

    def descriptors(self) -> list[int]:
        return [self._template.commands.fileno()]

    def news(self, descriptor: int) -> list[News]:
        message = self._template.news()
        if message is None:
            raise LauncherGone
        what, name, number = message
        return [Forked(name, number) if what == "forked" else Ended(name, number)]

    def close(self) -> None:
        self._template.close()


class Reruns:
    """Attempts by running the script again; one spare waits at the line."""

    def __init__(
        self,
        because: str,
        spawn: Callable[[Budget], rerun.Spare],
    ) -> None:
        self.way = f"re-run ({because})"
        self._spawn = spawn
        self._running: dict[int, tuple[rerun.Spare, str]] = {}
        self._spare: tuple[rerun.Spare, Peer, Budget] | None = None

    def replacement(self) -> Launcher:
        return self

    def keep_spare(self, budget: Budget) -> None:
        spare = self._spawn(budget)
        self._spare = spare, Peer(spare.connection), budget

    def launch(self, attempt: Attempt, budget: Budget) -> tuple[Peer, int | None]:
        if self._spare is None or self._spare[2].device.key != budget.device.key:
            self._drop_spare()
            self.keep_spare(budget)
        assert self._spare is not None
        spare, peer, _ = self._spare
        self._spare = None
        self._running[spare.pidfd] = spare, attempt.id
        peer.attempt = attempt.id
        self.keep_spare(budget)
        return peer, spare.process.pid

    def peers(self) -> list[Peer]:
        return [] if self._spare is None else [self._spare[1]]

    def descriptors(self) -> list[int]:
        waiting = [] if self._spare is None else [self._spare[0].pidfd]
        return [*self._running, *waiting]

    def news(self, descriptor: int) -> list[News]:
        if descriptor in self._running:
            spare, name = self._running.pop(descriptor)
            return [Ended(name, _reap(spare))]
        if self._spare is not None and self._spare[0].pidfd == descriptor:
            spare, _, _ = self._spare
            self._spare = None
            return [Ended(None, _reap(spare))]
        return []

    def _drop_spare(self) -> None:
        if self._spare is not None:
            self._spare[0].end()
            self._spare = None

    def close(self) -> None:
        self._drop_spare()
        for spare, _ in self._running.values():
            spare.end()
        self._running.clear()


def _reap(spare: rerun.Spare) -> int:
    """The status as of waitpid, from subprocess's return code."""
    code = spare.process.wait()
    with contextlib.suppress(OSError):
        os.close(spare.pidfd)
    return -code if code < 0 else code << 8


def tail(path: Path, size: int = 4096) -> str:
    """The last *size* bytes of a log; empty where there is none."""
    try:
        with open(path, "rb") as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - size))
            return file.read().decode(errors="replace")
    except OSError:
        return ""
