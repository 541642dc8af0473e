"""The study's finished trials as learning curves: read once, then kept up to date trial by trial.

Marks in a trial's system attributes, which a resume and the clone of a trial that comes back keep:

    scheduler:control  {step, value}: a verdict to prune fell there and was not carried out
    scheduler:verdict  {step, value}: a verdict to prune fell there and was told to the objective
"""

from __future__ import annotations

from typing import Any

import optuna
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from scheduler.strategies.curves import Curve, Direction, State, curve
from scheduler.study.keeping.record import CAPACITY, MARK, PUT_BACK, WITHDRAWN

CONTROL = "scheduler:control"
VERDICT = "scheduler:verdict"


class History:
    """All finished trials of *study* in the order of their ends; ``ours`` are those of *run*."""

    def __init__(self, study: optuna.Study, run: str) -> None:
        self._run = run
        self.direction: Direction = (
            "maximize" if study.direction == StudyDirection.MAXIMIZE else "minimize"
        )
        self._study = study
        self.read()

    def read(self) -> None:
        """All of it anew: what others have put into the study as well."""
        self.all: list[Curve] = []
        self.ours: list[Curve] = []
        trials = self._study.get_trials(deepcopy=False)
        for trial in sorted((one for one in trials if one.state.is_finished()), key=_ended):
            self.add(trial)

    def add(self, trial: FrozenTrial) -> Curve | None:
        """Take in a trial that has ended; returns its curve, None where it says nothing at all."""
        found = finished_curve(trial)
        if found is not None:
            self.all.append(found)
            if (trial.system_attrs.get(MARK) or {}).get("trial", {}).get("run") == self._run:
                self.ours.append(found)
        return found


def _ended(trial: FrozenTrial) -> tuple[float, int]:
    at = trial.datetime_complete
    return (0.0 if at is None else at.timestamp(), trial.number)


def finished_curve(trial: FrozenTrial) -> Curve | None:
    """None for what no pruner has to do with: an attempt that was put back, a trial too big or
    withdrawn before it ran."""
    attrs = trial.system_attrs
    if PUT_BACK in attrs or CAPACITY in attrs or WITHDRAWN in attrs:
        return None
    state = _state(trial)
    mark = attrs.get(CONTROL if state == "control" else VERDICT) or {}
    return curve(
        trial.number,
        trial.intermediate_values.items(),
        final=_value(trial),
        state=state,
        verdict_at=mark.get("step") if state in ("control", "pruned") else None,
        took_s=None if trial.duration is None else trial.duration.total_seconds(),
    )


def _value(trial: FrozenTrial) -> float | None:
    values = trial.values
    return values[0] if trial.state == TrialState.COMPLETE and len(values) == 1 else None


def _state(trial: FrozenTrial) -> State:
    """An objective may prune by itself (a NaN, say). Without a verdict of the pruner that says
    nothing of the pruner; after one that was not carried out, the trial has come to its own end."""
    attrs = trial.system_attrs
    if trial.state == TrialState.FAIL:
        return "failed"
    if CONTROL in attrs:
        return "control"
    if trial.state == TrialState.COMPLETE:
        return "complete"
    return "pruned" if VERDICT in attrs else "failed"


class Reports:
    """The curves of trials that run, made longer report by report: a trial of 10,000 reports is
    not sorted 10,000 times."""

    def __init__(self) -> None:
        self._curves: dict[int, Curve] = {}

    def curve(self, number: int, reported: dict[int, float]) -> Curve:
        known = self._curves.get(number)
        if known is None or not _goes_on(known, reported):
            known = curve(number, reported.items())
        elif len(known.steps) < len(reported):
            step, value = next(reversed(reported.items()))
            known = Curve(
                trial=number, steps=(*known.steps, step), values=(*known.values, float(value))
            )
        self._curves[number] = known
        return known

    def forget(self, number: int) -> None:
        self._curves.pop(number, None)


def _goes_on(known: Curve, reported: dict[int, float]) -> bool:
    """*reported* is what *known* has, with one more behind it or none."""
    more = len(reported) - len(known.steps)
    if more == 0:
        return True
    return more == 1 and bool(known.steps) and next(reversed(reported)) > known.steps[-1]


def marked(step: int | None, value: float) -> dict[str, Any]:
    """A mark's value. JSON has no NaN: it is written as text, and read by people only."""
    return {"step": step, "value": value if value - value == 0 else str(value)}
