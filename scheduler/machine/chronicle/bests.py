"""Tells of new best values, from what hosts write into their runs' ``status.json``.

Hosts tell the supervisor how attempts end and not with what values, so this looks at the file.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Collection, Iterator

import msgspec

from scheduler.machine.chronicle.entries import Draft
from scheduler.machine.hosts import read_status
from scheduler.machine.runs import Best
from scheduler.machine.state import StateFolder

_PARAMS = 5  #: shown of a trial


class _Seen(msgspec.Struct, frozen=True):
    stamp: tuple[int, int]  #: when the file was written, and its inode
    best: Best | None


class Bests:
    """What was best when a run was first looked at is known and not told: a supervisor that was
    started again would tell it again."""

    def __init__(self, state: StateFolder) -> None:
        self._state = state
        self._seen: dict[str, _Seen] = {}

    def look(self, runs: Collection[str]) -> list[Draft]:
        """What is new in *runs*, those that have a host, and in those that had one at the last
        look. A file is read only when it was written: 100 us a run, else 20 us."""
        news = [draft for run in {*runs, *self._seen} for draft in self._look_at(run)]
        self._seen = {run: seen for run, seen in self._seen.items() if run in runs}
        return news

    def _look_at(self, run: str) -> Iterator[Draft]:
        before = self._seen.get(run)
        with contextlib.suppress(OSError):
            found = os.stat(self._state.run(run) / "status.json")
            stamp = (found.st_mtime_ns, found.st_ino)
            if before is not None and before.stamp == stamp:
                return
            status = read_status(self._state, run)
            if status is None:
                return
            self._seen[run] = _Seen(stamp, status.best)
            best = status.best
            if before is None or best is None or best == before.best:
                return
            if best.known_from is None:
                yield Draft(kind="run", what="best", text=sentence(run, best), run=run)


def sentence(run: str, best: Best) -> str:
    """Pure."""
    shown = [f"{name} {_short(value)}" for name, value in list(best.params.items())[:_PARAMS]]
    if len(best.params) > _PARAMS:
        shown.append("...")
    values = f": {', '.join(shown)}" if shown else ""
    return f"{run} has a new best, {best.value:g} in trial {best.number}{values}"


def _short(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)[:40]
