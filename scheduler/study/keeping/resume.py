"""Taking up a run where an earlier life of its host left it.

Outcomes that were written down and not told are told. What was running is put back with the same
parameters. What was put back but has no clone yet gets it. All from the study and the run's
folder; nothing is remembered elsewhere.
"""

from __future__ import annotations

import collections
from pathlib import Path

import msgspec
from optuna.trial import FrozenTrial, TrialState

from scheduler.core.model import Trial
from scheduler.study.board import (
    TIMES_KEPT,
    counted_as,
    counts_as_done,
    duration_s,
    finished_at_s,
)
from scheduler.study.keeping.outcome import read
from scheduler.study.keeping.record import CAPACITY, PUT_BACK, UNRUN, Record
from scheduler.study.serving.finish import Finisher


def take_up(record: Record, finisher: Finisher, outcomes: Path, resumed: bool) -> list[Trial]:
    """Settle what is open of this run and line; returns the trials that wait to come back."""
    outcomes.mkdir(mode=0o700, exist_ok=True)
    if not resumed:
        return []
    candidates = {trial.number for trial in record.candidates()}
    for frozen, trial in record.ours():
        if trial.number in candidates and not frozen.state.is_finished():
            _answer_again(record, frozen)
            continue
        path = outcomes / f"{record.line}-{frozen.number}.json"
        if frozen.state == TrialState.RUNNING:
            outcome = read(path)
            if outcome is not None and outcome.state != "failed":
                finisher.finished(outcome)
            else:
                finisher.put_back(frozen.number, once_more(trial), "its run was interrupted")
        elif frozen.state == TrialState.FAIL and PUT_BACK in frozen.system_attrs:
            record.make_clone(frozen)
        path.unlink(missing_ok=True)
    return [
        trial
        for frozen, trial in record.ours()
        if frozen.state == TrialState.WAITING and trial.number not in candidates
    ]


def _answer_again(record: Record, frozen: FrozenTrial) -> None:
    """A kill came while a candidate was answered without being run."""
    if UNRUN in frozen.system_attrs and frozen.state == TrialState.RUNNING:
        because = frozen.system_attrs.get(CAPACITY, "its forecast is more than any device has")
        record.tell_unrun(frozen.number, because, {})


def once_more(trial: Trial) -> Trial:
    """The same trial after an attempt that ended through no fault of its own."""
    return msgspec.structs.replace(trial, attempts=trial.attempts + 1)


def begun(record: Record) -> set[int]:
    """Numbers of the trials of this run and line that have begun.

    One that was put back counts by its clone, unless that one was withdrawn.
    """
    waiting = {trial.number for trial in record.candidates()}
    return {
        trial.number
        for frozen, trial in record.ours()
        if PUT_BACK not in frozen.system_attrs
        and UNRUN not in frozen.system_attrs
        and trial.number not in waiting
    }


def next_number(record: Record) -> int:
    """The first that no trial of this run and line has had."""
    return 1 + max((trial.number for _, trial in record.ours()), default=-1)


def counts(record: Record) -> dict[str, int]:
    """The counting fields of RunStatus, from the study."""
    found = collections.Counter(counted_as(frozen) for frozen, _ in record.ours())
    fields = ("complete", "pruned", "failed", "capacity", "retried", "unrun")
    return {field: found.get(field, 0) for field in fields}


def paces(record: Record) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """RunStatus's ``finished_at_s`` and ``durations_s``, from the study."""
    ended = [frozen for frozen, _ in record.ours() if counts_as_done(frozen)]
    ended.sort(key=lambda frozen: finished_at_s(frozen) or 0.0)
    times = [at_s for frozen in ended if (at_s := finished_at_s(frozen)) is not None]
    durations = [took_s for frozen in ended if (took_s := duration_s(frozen)) is not None]
    return tuple(times[-TIMES_KEPT:]), tuple(durations[-TIMES_KEPT:])
