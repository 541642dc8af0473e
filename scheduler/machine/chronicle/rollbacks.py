"""Tells of changes that runs record by themselves: of pruning, ranges, budget, and by their users.

The supervisor does not hear of those, so this looks at the runs' records. What the core changes it
tells itself, when it decides it (``telling``).
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Collection, Iterator

from scheduler.core.model import Change
from scheduler.machine import changes
from scheduler.machine.chronicle.entries import Draft
from scheduler.machine.state import StateFolder

_HOSTS_OWN = frozenset({"pruning", "ranges", "budget"})


class Rollbacks:
    """*since_s*: what was recorded before is known and not told, as a former supervisor has."""

    def __init__(self, state: StateFolder, since_s: float) -> None:
        self._state = state
        self._since_s = since_s
        self._read_bytes: dict[str, int] = {}

    def look(self, runs: Collection[str]) -> list[Draft]:
        """What is new in *runs*, those that have a host, and in those that had one at the last
        look. A file that has not grown costs a stat."""
        news = [draft for run in {*runs, *self._read_bytes} for draft in self._look_at(run)]
        self._read_bytes = {run: n for run, n in self._read_bytes.items() if run in runs}
        return news

    def _look_at(self, run: str) -> Iterator[Draft]:
        folder, from_byte = self._state.run(run), self._read_bytes.get(run, 0)
        with contextlib.suppress(OSError):
            self._read_bytes[run] = from_byte
            if os.stat(folder / changes.FILE).st_size > from_byte:
                found, self._read_bytes[run] = changes.read(folder, from_byte)
                news = (one for one in found if one.at_s >= self._since_s)
                yield from (told(run, one) for one in news if _is_to_be_told(one))


def _is_to_be_told(change: Change) -> bool:
    return change.by == "you" or change.what in _HOSTS_OWN


def told(run: str, change: Change) -> Draft:
    """Pure."""
    evidence = f" ({change.evidence})" if change.evidence else ""
    text = f"{change.what} of {run}: {change.before} -> {change.after}: {change.because}{evidence}"
    return Draft(kind="change", what=change.what, text=text, run=run)
