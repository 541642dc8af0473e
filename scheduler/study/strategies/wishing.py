"""What the user sets while the run goes on, handed to whom it concerns.

A file in the run's folder is looked at about once a second: that works without a supervisor too.
What was set holds in later lives and calls of the run as well; it is recorded once.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping

import msgspec

from scheduler.core.model import Run
from scheduler.machine.runs import read_whole, write_whole
from scheduler.strategies.asked import SUBJECTS
from scheduler.strategies.wishes import (
    ANSWERS,
    FILE,
    FREE,
    KEPT,
    KEYS,
    Answer,
    Answers,
    Key,
    Wish,
    Wishes,
    count_of,
    subjects_of,
)
from scheduler.study.strategies.scene import Scene

LOOK_EVERY_S = 0.5

Set = Callable[[str], None]  #: raises ValueError with a sentence where it cannot be set


class Wishing:
    """*setters*: who takes which. Those for the whole run are taken here."""

    def __init__(self, scene: Scene, setters: Mapping[Key, Set]) -> None:
        self._scene = scene
        self._setters: dict[Key, Set] = {
            "fixed": self._fix,
            "max_trials": self._limit,
            **setters,
        }
        self._path = scene.folder / FILE
        self._stamp: tuple[int, int] | None = None
        self._looked_s = 0.0
        self._taken: dict[str, int] = {}  #: by key, the number of the wish that holds here
        self._max_trials: tuple[int | None] | None = None  #: None: as the run was asked for

    def applied_to(self, run: Run) -> Run:
        """*run* with the limits that hold now."""
        limits = run.max_attempts if self._max_trials is None else self._max_trials[0]
        return msgspec.structs.replace(
            run, max_attempts=limits, fixed=tuple(self._scene.changes.fixed)
        )

    def begin(self) -> None:
        """What was set before the call began."""
        self._look()

    def look(self) -> None:
        now_s = time.monotonic()
        if now_s - self._looked_s >= LOOK_EVERY_S:
            self._looked_s = now_s
            self._look()

    def _look(self) -> None:
        try:
            found = os.stat(self._path)
            stamp = (found.st_mtime_ns, found.st_ino)
            if stamp == self._stamp:
                return
            wishes = read_whole(self._path, Wishes)
            self._stamp = stamp
        except FileNotFoundError:
            return
        except (OSError, msgspec.MsgspecError) as error:
            self._scene.board.warn(f"{FILE} cannot be read, and what it sets is not taken: {error}")
            return
        if wishes is not None:
            self._take(wishes)

    def _take(self, wishes: Wishes) -> None:
        answers = self._answers()
        for key in KEYS:
            wish = wishes.of.get(key)
            if wish is None or self._taken.get(key) == wish.number:
                continue
            self._taken[key] = wish.number
            known = answers.of.get(key)
            again = known is not None and known.number >= wish.number
            said = self._set(key, wish, again=again)
            if not again:
                of = {**answers.of, key: Answer(number=wish.number, said=said)}
                answers = Answers(of=of)
                write_whole(self._scene.folder / ANSWERS, answers)

    def _answers(self) -> Answers:
        try:
            return read_whole(self._scene.folder / ANSWERS, Answers) or Answers()
        except (OSError, msgspec.MsgspecError):
            return Answers()

    def _set(self, key: Key, wish: Wish, *, again: bool) -> str:
        """What became of it, for people."""
        with self._scene.changes.by_you(wish.because, again=again) as made:
            try:
                self._setters[key](wish.value)
            except ValueError as error:
                return f"{key} is not set: {error}"
        if not made:
            return f"{key}: nothing changes by that"
        return "; ".join(f"{one.what}: {one.before} -> {one.after}" for one in made)

    # -- what is the whole run's -------------------------------------------------------------------

    def _fix(self, value: str) -> None:
        changes, fixed = self._scene.changes, subjects_of(value)
        before = changes.fixed
        changes.fix(fixed)
        for subject in SUBJECTS:
            if subject in fixed and subject not in before:
                changes.record(subject, FREE, KEPT, "")
            elif subject in before and subject not in fixed:
                changes.record(subject, KEPT, FREE, "")

    def _limit(self, value: str) -> None:
        asked = self._scene.max_attempts
        before = asked if self._max_trials is None else self._max_trials[0]
        limit = count_of(value)
        self._max_trials = (limit,)
        if limit != before:
            self._scene.changes.record("concurrency", _at_once(before), _at_once(limit), "")


def _at_once(limit: int | None) -> str:
    return "no limit" if limit is None else f"{limit} at once"
