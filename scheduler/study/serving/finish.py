"""Telling the study how trials end, as ``Study.optimize`` does: tell, log line, callbacks.

What ends a run is kept here as ``error``: the user's own exception, out of an objective that did
not catch it or out of a callback.
"""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import optuna
from optuna.distributions import BaseDistribution
from optuna.trial import FrozenTrial, TrialState

from scheduler.core.model import Trial
from scheduler.study import inside
from scheduler.study.board import Board, best_of
from scheduler.study.keeping.outcome import Outcome, Unfit
from scheduler.study.keeping.record import Record

Callback = Callable[[optuna.Study, FrozenTrial], None]


class AttemptTraceback(Exception):
    """The traceback of an exception that was raised in an attempt's process, as its cause."""

    def __str__(self) -> str:
        return f'\n"""\n{self.args[0]}"""'


class Refused(SystemExit):
    """What was asked for does not suit the objective. Nothing is wrong in the script, so there is
    no traceback of it; the exit code is that of bad input."""

    def __init__(self, because: str) -> None:
        super().__init__(2)
        self.because = because


class AttemptFailed(RuntimeError):
    """An attempt ended without a result, in a way that another attempt would not change."""


class Finisher:
    """One study's ends. *callbacks* are the user's."""

    def __init__(self, record: Record, callbacks: Sequence[Callback], board: Board) -> None:
        self.when_final: Callable[[FrozenTrial], None] = lambda trial: None  #: before callbacks
        self._record = record
        self._study = record.study
        self._callbacks = callbacks
        self._board = board
        self.error: BaseException | None = None
        self._misconfigured: BaseException | None = None

    def finished(self, outcome: Outcome) -> None:
        """Tell a complete or pruned outcome. A value Optuna does not take makes it FAIL."""
        state = TrialState.PRUNED if outcome.state == "pruned" else None
        value = outcome.value if state is None else None
        told, values, warning = inside.tell(self._study, outcome.number, value, state)
        trial = self._record.frozen(outcome.number)
        self._board.clear()
        if told == TrialState.COMPLETE:
            inside.log_complete(self._study, values or [], trial.number, trial.params)
        elif told == TrialState.PRUNED:
            inside.logger.info(f"Trial {trial.number} pruned. {outcome.message}")
        else:
            value = Unfit(outcome.shown)
            inside.log_failed(trial.number, trial.params, warning or "", value)
        self._after(trial)

    def user_error(self, outcome: Outcome, pickled: bytes | None) -> None:
        """FAIL by the user's own exception: the run ends with it unless ``catch`` names it."""
        trial = self._tell_failed(outcome.number, outcome.shown)
        inside.logger.warning(outcome.traceback)
        self._after_failure(trial, None if outcome.caught else _revived(outcome, pickled))

    def failed(self, number: int, because: str, *, fatal: bool) -> None:
        """FAIL without an exception of the user's. *fatal*: no other trial would do better."""
        trial = self._tell_failed(number, because)
        error = AttemptFailed(f"trial {number} ended without a result: {because}")
        self._after_failure(trial, error if fatal else None)

    def _tell_failed(self, number: int, shown: str) -> FrozenTrial:
        inside.tell(self._study, number, None, TrialState.FAIL)
        trial = self._record.frozen(number)
        self._board.clear()
        inside.log_failed(trial.number, trial.params, shown, None)
        return trial

    def _after_failure(self, trial: FrozenTrial, error: BaseException | None) -> None:
        """*error* ends the run: no callback hears of the trial then, as in ``optimize``."""
        if error is None:
            self._after(trial)
        else:
            self.end_with(error)
            self._board.count(trial)
            self.when_final(trial)

    def capacity(self, number: int, because: str) -> None:
        self._record.tell_capacity(number, because)
        self._board.say(f"scheduler: trial {number} does not fit: {because}")
        self._after(self._record.frozen(number))

    def unrun(
        self, number: int, because: str, params: Mapping[str, tuple[Any, BaseDistribution]]
    ) -> None:
        """Tell a candidate as too big without a try. It is none of the user's trials: no callback
        hears of it."""
        try:
            self._record.tell_unrun(number, because, params)
        except Exception as error:  # the storage
            self.end_with(error)
            return
        trial = self._record.frozen(number)
        if not self._board.status.unrun:
            told = "the sampler is told so, and the same goes for others like it"
            self._board.say(f"scheduler: trial {number} is {because}; {told}")
        self._board.count(trial)
        self.when_final(trial)

    def put_back(self, number: int, again: Trial, because: str) -> None:
        """No callbacks: the trial is not over."""
        self._record.put_back(number, again)
        self._board.count(self._record.frozen(number))
        if not isinstance(self.error, Refused):
            self._board.say(f"scheduler: trial {number} comes back: {because}")

    @property
    def has_finished_well(self) -> bool:
        """Whether a trial of the call is COMPLETE or PRUNED, by its own doing."""
        return bool(self._board.status.complete or self._board.status.pruned)

    def misconfigured(self, outcome: Outcome | None, pickled: bytes | None) -> None:
        """Keep what an attempt raised whose trial was put back: the run may be halted for it."""
        if outcome is not None and self._misconfigured is None:
            self._misconfigured = _revived(outcome, pickled)

    def halt(self, because: str) -> None:
        """End the run as the user's own exception does, whatever ``catch`` names."""
        self.end_with(self._misconfigured or AttemptFailed(f"no trial can run: {because}"))

    def refuse(self, because: str) -> None:
        """End the run because of what was asked for."""
        self.end_with(Refused(because))

    def _after(self, trial: FrozenTrial) -> None:
        self._board.count(trial)
        if trial.state == TrialState.COMPLETE:
            self._board.set(best=best_of(self._study))
        self._board.clear()
        self.when_final(trial)
        try:
            for callback in self._callbacks:
                callback(self._study, copy.deepcopy(trial))
        except BaseException as error:
            self.end_with(error)

    def end_with(self, error: BaseException) -> None:
        """The first error is the one the run ends with."""
        self.error = self.error or error


def _revived(outcome: Outcome, pickled: bytes | None) -> BaseException:
    """The user's exception as it was raised, its traceback in its cause.

    It comes from our own child over a socket pair, so it may be unpickled.
    """
    error = None if pickled is None else pickle.loads(pickled)
    if not isinstance(error, BaseException):
        error = RuntimeError(outcome.shown)
    error.__cause__ = AttemptTraceback(outcome.traceback)
    return error
