"""Sees to it that what happens is told: what the core does, and what runs write themselves."""

from __future__ import annotations

from collections.abc import Collection

from scheduler.core.actions import Action
from scheduler.core.view import View
from scheduler.machine.chronicle.bests import Bests
from scheduler.machine.chronicle.chronicle import Chronicle
from scheduler.machine.chronicle.rollbacks import Rollbacks
from scheduler.machine.chronicle.telling import entries_of
from scheduler.machine.chronicle.timeline import Timeline
from scheduler.machine.state import StateFolder


class Witness:
    """Belongs to the loop's thread. *chronicle*: None where nobody is told, as in tests."""

    def __init__(self, state: StateFolder, chronicle: Chronicle | None, since_s: float) -> None:
        self._chronicle = chronicle
        self._bests = Bests(state)
        self._rollbacks = Rollbacks(state, since_s)
        self._timeline = Timeline(state.path)

    def acted(self, action: Action) -> None:
        if self._chronicle is not None:
            self._chronicle.tell_all(entries_of(action))

    def tell_of_run(self, what: str, text: str, run: str) -> None:
        if self._chronicle is not None:
            self._chronicle.tell("run", what, text, run=run)

    def look(self, connected: Collection[str]) -> None:
        """What the runs with a host have written since the last look. Once a poll."""
        if self._chronicle is not None:
            self._chronicle.tell_all(self._rollbacks.look(connected))
            self._chronicle.tell_all(self._bests.look(connected))

    def polled(self, view: View, now_s: float) -> None:
        """*view* is what is so after a poll."""
        self._timeline.look(view, now_s)
