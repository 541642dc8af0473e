"""What every strategy of one ``optimize`` call may look at and use."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import optuna

from scheduler.strategies.asked import Asked
from scheduler.study.board import Board
from scheduler.study.keeping.record import Record
from scheduler.study.serving.quota import Quota
from scheduler.study.strategies.changes import Changes


@dataclass(frozen=True, kw_only=True)
class Scene:
    """``study`` is on its storage already. ``earlier``: the call was begun in an earlier life."""

    asked: Asked
    study: optuna.Study
    record: Record
    quota: Quota
    board: Board
    changes: Changes
    folder: Path  #: the run's
    has_own_pruner: bool  #: the script chose it; else it is Optuna's default
    has_own_sampler: bool
    earlier: bool
    max_attempts: int | None = None  #: at once, as the run was asked for; None: no limit

    @property
    def is_single(self) -> bool:
        """One objective: what prunes, narrows and stops needs one value to go by."""
        return len(self.study.directions) == 1

    @property
    def sign(self) -> float:
        """1.0 where larger values are better, -1.0 where smaller ones are."""
        return 1.0 if self.study.direction == optuna.study.StudyDirection.MAXIMIZE else -1.0
