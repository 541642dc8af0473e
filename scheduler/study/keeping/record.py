"""What of a run is written in the study itself: whose a trial is, and what became of it.

Each trial of ours carries marks in its system attributes, so that a resumed run finds from the
study alone what it had begun, what was put back and what still waits:

    scheduler:trial     {run, line, trial}: ours; set in the same transaction that makes it RUNNING;
                        with "candidate" while it is only asked for and no attempt has begun; null
                        where one that somebody enqueued was given back
    scheduler:put_back  the core's Trial that it comes back as; set before it is told FAIL
    scheduler:capacity  why it did not fit the device; told PRUNED, so that the sampler learns
    scheduler:unrun     besides: it is known without a try, and counts as no trial of the run

Others are of the study strategies, and stay with a trial that comes back:

    scheduler:warm_start  {run, nth, source, loose}: a setting that was asked to be tried first
    scheduler:withdrawn   why it is not to run after all; told FAIL, and nobody's from then on
    scheduler:known       {study, name, number}: a result of that study, no attempt of ours made it

A retry is FAIL plus one WAITING clone with Optuna's own ``failed_trial`` and ``retry_history``, as
``RetryHeartbeatStaleTrialCallback`` makes it, so other Optuna tools can read it. Each step can be
repeated after a kill between any two of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec
import optuna
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler
from optuna.trial import FrozenTrial, TrialState

from scheduler.core.model import Trial
from scheduler.study import inside

MARK = "scheduler:trial"
PUT_BACK = "scheduler:put_back"
CAPACITY = "scheduler:capacity"
UNRUN = "scheduler:unrun"
HISTORY = "retry_history"
WARM = "scheduler:warm_start"
WITHDRAWN = "scheduler:withdrawn"
KNOWN = "scheduler:known"
FIXED = "fixed_params"  #: Optuna's, of ``enqueue_trial``
GRID = "grid_id"  #: Optuna's: which point of a grid the trial is to try


class Mark(msgspec.Struct, frozen=True, kw_only=True):
    """Whose a trial is: this run, its ``optimize`` call (from 0), and the trial as offered.

    ``candidate``: no attempt of it has begun.
    """

    line: int
    trial: Trial
    candidate: bool = False


_OPEN = (TrialState.RUNNING, TrialState.WAITING)


class Record:
    """The trials of one run and one ``optimize`` call, in the study."""

    def __init__(self, study: optuna.Study, run: str, line: int) -> None:
        self.study = study
        self.run = run
        self.line = line

    def ours(self) -> list[tuple[FrozenTrial, Trial]]:
        """All our trials, as Optuna has them and as they were offered."""
        return [
            (frozen, mark.trial)
            for frozen in self._all()
            if (mark := self._mark(frozen)) is not None
        ]

    def candidates(self) -> list[Trial]:
        """Those asked ahead, by an earlier life of the run, that no attempt has begun of."""
        return [mark.trial for _, mark in self._candidates()]

    def _candidates(self) -> list[tuple[FrozenTrial, Mark]]:
        found = ((frozen, self._mark(frozen)) for frozen in self._all(_OPEN))
        return [(frozen, mark) for frozen, mark in found if mark is not None and mark.candidate]

    def ask(
        self,
        trial: Trial,
        *,
        returned: bool,
        candidate: bool = False,
        sampler: BaseSampler | None = None,
    ) -> optuna.Trial:
        """Make *trial* RUNNING: its clone if it has *returned*, else what the user enqueued first,
        else a new one. The sampler has drawn its relative parameters when this returns.

        A *candidate* has to ``begin`` before an attempt of it does; one that an earlier life has
        asked is taken up. *sampler* draws in the place of the study's own, for this ask.
        """
        inside.forget_cached_trials(self.study)
        inside.set_in_optimize_loop(self.study, True)
        mark = Mark(line=self.line, trial=trial, candidate=candidate)
        waiting = self._claim(mark, returned)
        trial_id = self._create(mark) if waiting is None else waiting
        seen = self.study if sampler is None else inside.with_sampler(self.study, sampler)
        asked = optuna.Trial(seen, trial_id)
        _ = asked.relative_params  # drawn now, in this thread
        asked.study = self.study
        return asked

    def begin(self, asked: optuna.Trial, trial: Trial) -> optuna.Trial:
        """An attempt of a candidate is about to begin."""
        trial_id = inside.trial_id_of(asked)
        inside.storage_of(self.study).set_trial_system_attr(trial_id, MARK, self._marked(trial))
        return asked

    def _claim(self, mark: Mark, returned: bool) -> int | None:
        storage = inside.storage_of(self.study)
        if mark.candidate:
            for frozen, other in self._candidates():
                if other.trial.number == mark.trial.number:
                    trial_id = inside.trial_id_of(frozen)
                    if frozen.state == TrialState.WAITING:
                        storage.set_trial_state_values(trial_id, TrialState.RUNNING)
                    return trial_id
        for frozen in self._all((TrialState.WAITING,)):
            other_mark = self._mark(frozen)
            is_free = frozen.system_attrs.get(MARK) is None and WITHDRAWN not in frozen.system_attrs
            # By its number: what it is promised may have been forecast anew while it waited.
            is_it = other_mark is not None and other_mark.trial.number == mark.trial.number
            if is_it if returned else is_free:
                trial_id = inside.trial_id_of(frozen)
                storage.set_trial_system_attr(trial_id, MARK, msgspec.to_builtins(mark))
                if storage.set_trial_state_values(trial_id, TrialState.RUNNING):
                    return trial_id
        return None

    def _create(self, mark: Mark) -> int:
        """Created with its mark, so that no kill can leave a RUNNING trial of nobody's."""
        template = optuna.trial.create_trial(
            state=TrialState.RUNNING, system_attrs={MARK: msgspec.to_builtins(mark)}
        )
        storage = inside.storage_of(self.study)
        return storage.create_new_trial(inside.study_id_of(self.study), template)

    def give_back(self, *, resumable: bool) -> None:
        """No attempt of the candidates that are left will begin in this life of the run.

        Those of a run that may go on wait for it. Else what somebody has enqueued waits as it did
        before, and so does a point of a grid that no other trial has; of the rest nothing is lost
        that somebody has chosen, and it fails.
        """
        storage = inside.storage_of(self.study)
        for frozen, _ in self._candidates():
            trial_id = inside.trial_id_of(frozen)
            if not resumable and self._is_chosen(frozen):
                storage.set_trial_system_attr(trial_id, MARK, None)
            elif not resumable:
                if GRID in frozen.system_attrs:  # else the sampler takes the point for visited
                    storage.set_trial_system_attr(trial_id, "search_space", {})
                self.withdraw(trial_id, "it was asked for and never begun")
                self.end_withdrawn(frozen)
                continue
            if frozen.state == TrialState.RUNNING:
                storage.set_trial_state_values(trial_id, TrialState.WAITING)

    def _is_chosen(self, frozen: FrozenTrial) -> bool:
        attrs = frozen.system_attrs
        if FIXED in attrs or GRID not in attrs:
            return FIXED in attrs
        return not any(
            other.number != frozen.number
            and other.system_attrs.get(GRID) == attrs[GRID]
            and WITHDRAWN not in other.system_attrs
            for other in self._all()
        )

    def put_back(self, number: int, again: Trial) -> None:
        """End the attempt with Optuna's *number* as FAIL and make its trial wait as *again*."""
        frozen = self.frozen(number)
        storage = inside.storage_of(self.study)
        if not frozen.state.is_finished():
            value = msgspec.to_builtins(again)
            storage.set_trial_system_attr(inside.trial_id_of(frozen), PUT_BACK, value)
            inside.tell(self.study, number, None, TrialState.FAIL)
        self.make_clone(self.frozen(number))

    def withdraw_waiting(self, because: str) -> None:
        """What waits of this run and line is to run nowhere: neither here nor in somebody's plain
        ``optimize`` on the same study. A resumed run begins it anew."""
        for frozen in self._all((TrialState.WAITING,)):
            warm = frozen.system_attrs.get(WARM)
            if self._mark(frozen) is not None or (warm is not None and warm["run"] == self.run):
                self.withdraw(inside.trial_id_of(frozen), because)
                self.end_withdrawn(frozen)

    def withdraw(self, trial_id: int, because: str) -> None:
        """From now on the trial is nobody's, whatever becomes of it."""
        inside.storage_of(self.study).set_trial_system_attr(trial_id, WITHDRAWN, because)

    def end_withdrawn(self, frozen: FrozenTrial) -> None:
        """FAIL, by way of RUNNING: a finished trial without a start is none that Optuna copies."""
        storage, trial_id = inside.storage_of(self.study), inside.trial_id_of(frozen)
        waits = frozen.state == TrialState.WAITING
        if waits and not storage.set_trial_state_values(trial_id, TrialState.RUNNING):
            return  # somebody else has begun it
        storage.set_trial_state_values(trial_id, TrialState.FAIL)

    def make_clone(self, failed: FrozenTrial) -> None:
        """The WAITING clone of a trial that was put back, unless there is one or is to be none."""
        if WITHDRAWN in failed.system_attrs:
            return
        if any((t.system_attrs.get(HISTORY) or [None])[-1] == failed.number for t in self._all()):
            return
        again = msgspec.convert(failed.system_attrs[PUT_BACK], Trial)
        attrs: dict[str, Any] = {"failed_trial": failed.number, HISTORY: [], **failed.system_attrs}
        attrs[HISTORY] = [*attrs[HISTORY], failed.number]
        attrs[MARK] = self._marked(again)
        del attrs[PUT_BACK]
        clone = optuna.trial.create_trial(
            state=TrialState.WAITING,
            params=failed.params,
            distributions=failed.distributions,
            user_attrs=failed.user_attrs,
            system_attrs=attrs,
        )
        storage = inside.storage_of(self.study)
        storage.create_new_trial(inside.study_id_of(self.study), clone)

    def tell_capacity(self, number: int, because: str) -> None:
        """PRUNED, which TPE learns from; FAIL it would ignore and ask for the same again.

        A sampler's own bookkeeping may stumble over a trial that never ran to its end (a user's
        ``constraints_func`` that reads what the objective sets): the state is stored all the same.
        """
        trial_id = inside.trial_id_of(self.frozen(number))
        inside.storage_of(self.study).set_trial_system_attr(trial_id, CAPACITY, because)
        try:
            inside.tell(self.study, number, None, TrialState.PRUNED)
        except Exception:
            if not self.frozen(number).state.is_finished():
                raise

    def tell_unrun(
        self, number: int, because: str, params: Mapping[str, tuple[Any, BaseDistribution]]
    ) -> None:
        """The same of a candidate, with the parameters that it would have had: without them the
        sampler learns nothing. Can be repeated after a kill."""
        storage, frozen = inside.storage_of(self.study), self.frozen(number)
        trial_id = inside.trial_id_of(frozen)
        for name, (value, distribution) in params.items():
            if name not in frozen.params and inside.takes(distribution, value):
                internal = distribution.to_internal_repr(value)
                storage.set_trial_param(trial_id, name, internal, distribution)
        storage.set_trial_system_attr(trial_id, UNRUN, True)
        self.tell_capacity(number, because)

    def number_of(self, frozen: FrozenTrial) -> int | None:
        """Of a trial of this run and line, its number as it was offered; None: it is not ours."""
        mark = self._mark(frozen)
        return None if mark is None else mark.trial.number

    def frozen(self, number: int) -> FrozenTrial:
        storage = inside.storage_of(self.study)
        study_id = inside.study_id_of(self.study)
        return storage.get_trial(storage.get_trial_id_from_study_id_trial_number(study_id, number))

    def _all(self, states: Iterable[TrialState] | None = None) -> list[FrozenTrial]:
        chosen = None if states is None else tuple(states)
        return self.study.get_trials(deepcopy=False, states=chosen)

    def _marked(self, trial: Trial) -> dict[str, Any]:
        marked: dict[str, Any] = msgspec.to_builtins(Mark(line=self.line, trial=trial))
        return marked

    def _mark(self, frozen: FrozenTrial) -> Mark | None:
        """None where the trial is not of this run and line."""
        found = frozen.system_attrs.get(MARK)
        if found is None or WITHDRAWN in frozen.system_attrs:
            return None
        mark = msgspec.convert(found, Mark)
        return mark if mark.line == self.line and mark.trial.run == self.run else None
