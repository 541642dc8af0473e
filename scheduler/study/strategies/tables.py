"""Tables of ranges: of a study that lies somewhere, as a study keeps it, and in words."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
from optuna.study import StudyDirection

from scheduler.strategies.ranges import Limits, Row, table
from scheduler.study.reading.earlier import read_study
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


class Kept(msgspec.Struct, frozen=True, kw_only=True):
    """What holds. ``limits`` are the ``first`` ones until one is widened."""

    version: int
    is_on: bool
    source: str
    is_own: bool  #: of this study, so there is nothing to be proven
    first: dict[str, Limits]
    limits: dict[str, Limits]
    since: int = 0  #: a version; trials of later ones tell whether it does any good


def said(name: str, limits: Limits) -> str:
    if limits.low is None and limits.high is None:
        return f"{name} {' or '.join(map(str, limits.choices))}"
    low = "" if limits.low is None else f"{limits.low:.4g}"
    high = "" if limits.high is None else f"{limits.high:.4g}"
    return f"{name} {low} to {high}"


def why_none(rows: Sequence[Row]) -> str:
    if not rows:
        return "it has no finished trials"
    return "; ".join(f"{row.name}: {row.because}" for row in rows[:3])
