"""The one record of what the strategies change or undo: before, after, reason, evidence."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterable, Iterator
from typing import Literal

from scheduler.core.model import Change
from scheduler.study.board import Board

What = Literal["pruning", "ranges", "budget", "concurrency", "promise"]


class Changes:
    """Of one run. *fixed*: what its user does not want to be changed by itself."""

    def __init__(self, run: str, board: Board, fixed: Iterable[str]) -> None:
        self._run = run
        self._board = board
        self.fixed = tuple(fixed)
        self._wish: str | None = None  #: what is set now is the user's, who says so
        self._since: list[Change] = []
        self.is_again = False  #: what is set now was set, and recorded, before

    def is_fixed(self, what: str) -> bool:
        """It may be changed by the user only."""
        return what in self.fixed

    def fix(self, subjects: Iterable[str]) -> None:
        """From here on these, and no others."""
        self.fixed = tuple(subjects)

    @contextlib.contextmanager
    def by_you(self, because: str, *, again: bool) -> Iterator[list[Change]]:
        """What is recorded meanwhile is the user's doing; yields it as it comes.

        *again*: an earlier life or call has recorded it, and it is not recorded once more.
        """
        self._wish, self.is_again, self._since = because, again, []
        try:
            yield self._since
        finally:
            self._wish, self.is_again = None, False

    def record(
        self,
        what: What,
        before: str,
        after: str,
        because: str,
        *,
        evidence: str = "",
        by: Literal["scheduler", "you"] = "scheduler",
    ) -> None:
        """Write a change down, and say it. While the user sets something, it is theirs."""
        change = Change(
            at_s=time.time(),
            what=what,
            run=self._run,
            trial=None,
            device=None,
            before=before,
            after=after,
            because=self._wish or because,
            evidence=evidence,
            by="you" if self._wish else by,
        )
        if self._wish:
            self._since.append(change)
        if self.is_again:
            return
        self._board.note(change)
        self._board.say(f"scheduler: {what}: {before} -> {after}: {change.because}")
