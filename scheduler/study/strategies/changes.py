"""The one record of what the strategies change or undo: before, after, reason, evidence."""

from __future__ import annotations

import time
from typing import Literal

from scheduler.core.model import Change
from scheduler.strategies.asked import Subject
from scheduler.study.board import Board


class Changes:
    """Of one run. *fixed*: what its user does not want to be changed by itself."""

    def __init__(self, run: str, board: Board, fixed: tuple[Subject, ...]) -> None:
        self._run = run
        self._board = board
        self._fixed = frozenset(fixed)

    def is_fixed(self, what: Subject) -> bool:
        """It may be changed by the user only."""
        return what in self._fixed

    def record(
        self,
        what: Literal["pruning", "ranges", "budget"],
        before: str,
        after: str,
        because: str,
        *,
        evidence: str = "",
        by: Literal["scheduler", "you"] = "scheduler",
    ) -> None:
        """Write a change down, and say it."""
        change = Change(
            at_s=time.time(),
            what=what,
            run=self._run,
            trial=None,
            device=None,
            before=before,
            after=after,
            because=because,
            evidence=evidence,
            by=by,
        )
        self._board.note(change)
        self._board.say(f"scheduler: {what}: {before} -> {after}: {because}")
