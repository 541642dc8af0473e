"""The table of ranges of a study that lies somewhere."""

from __future__ import annotations

from optuna.study import StudyDirection

from scheduler.strategies.ranges import Row, table
from scheduler.study.earlier import read_study
from scheduler.study.strategies.plain import seen


class SeveralObjectives(Exception):
    """No trial of the study is the best. Takes the study's name."""


def read_table(url: str, name: str) -> tuple[int, tuple[Row, ...]]:
    """How many finished trials the study has, and where the best of them lie.

    Raises Unreachable, SeveralObjectives.
    """
    trials, directions = read_study(url, name)
    if len(directions) != 1:
        raise SeveralObjectives(name)
    known = seen(trials, 1.0 if directions[0] == StudyDirection.MAXIMIZE else -1.0)
    return len(known), table(known)
