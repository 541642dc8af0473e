"""The roles of a process that is, or is to become, an attempt."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NoReturn

import optuna

from scheduler.study import inside
from scheduler.study.attempt import run as attempt
from scheduler.study.attempt.standins import StandInStorage
from scheduler.study.channel import Go, Line, StudyHandle
from scheduler.study.takeover import Takeover, catch_of, name_of


class InObjective:
    """A process at its objective: Optuna's own functions, and ``study.stop()`` reaches the host."""

    def __init__(self, line: Line) -> None:
        self._line = line

    def stop(self, original: Callable[..., None], study: optuna.Study) -> None:
        original(study)
        if isinstance(inside.storage_of(study), StandInStorage):
            self._line.ask("stop")

    def create_study(self, original: Callable[..., optuna.Study], **kwargs: Any) -> optuna.Study:
        return original(**kwargs)

    def delete_study(self, original: Callable[..., None], **kwargs: Any) -> None:
        original(**kwargs)

    def add_trial(self, original: Callable[..., None], study: optuna.Study, trial: Any) -> None:
        original(study, trial)

    def optimize(self, study: optuna.Study, call: dict[str, Any]) -> None:
        raise AssertionError("inside an objective optimize is Optuna's own")

    def may_remove(self, path: str) -> bool:
        return True


def become_attempt(
    takeover: Takeover,
    line: Line,
    index: int,
    call: dict[str, Any],
    studies: list[optuna.Study],
) -> NoReturn:
    """At the line: say so, wait for the word, run the objective, end."""
    go: Go = line.ask("ready", index, name_of(call["func"]))
    takeover.role = InObjective(line)
    takeover.inside = True
    attempt.run(line, go, call["func"], catch_of(call["catch"]), studies)


class Again:
    """A process that runs the script again, up to its *target*-th ``optimize`` call.

    The lines before it have had their effect in the host: studies are the host's, writes to them
    are dropped, earlier ``optimize`` calls return at once, nothing of the run is deleted.
    """

    def __init__(self, line: Line, target: int, protected: frozenset[str]) -> None:
        self._line = line
        self._target = target
        self._protected = protected
        self._seen = 0
        self._studies: list[optuna.Study] = []
        self.takeover: Takeover | None = None

    def create_study(self, original: Callable[..., optuna.Study], **kwargs: Any) -> optuna.Study:
        handle: StudyHandle = self._line.ask("study", len(self._studies))
        study = optuna.Study(
            study_name=handle.name,
            storage=StandInStorage(self._line, handle.index, quiet=True),
            sampler=kwargs.get("sampler"),
            pruner=kwargs.get("pruner"),
        )
        self._studies.append(study)
        return study

    def delete_study(self, original: Callable[..., None], **kwargs: Any) -> None:
        return

    def add_trial(self, original: Callable[..., None], study: optuna.Study, trial: Any) -> None:
        return

    def stop(self, original: Callable[..., None], study: optuna.Study) -> None:
        original(study)

    def may_remove(self, path: str) -> bool:
        return path not in self._protected

    def optimize(self, study: optuna.Study, call: dict[str, Any]) -> None:
        assert self.takeover is not None
        if not any(known is study for known in self._studies):
            self._studies.append(study)
        index = self._seen
        self._seen += 1
        if index == self._target:
            become_attempt(self.takeover, self._line, index, call, self._studies)
