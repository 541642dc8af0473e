"""What of a run is written in the study itself: whose a trial is, and what became of it.

Each trial of ours carries marks in its system attributes, so that a resumed run finds from the
study alone what it had begun, what was put back and what still waits:

    scheduler:trial     {run, line, trial}: ours; set in the same transaction that makes it RUNNING
    scheduler:put_back  the core's Trial that it comes back as; set before it is told FAIL
    scheduler:capacity  why it did not fit the device; told PRUNED, so that the sampler learns

Others are of the study strategies, and stay with a trial that comes back:

    scheduler:warm_start  {run, nth, source, loose}: a setting that was asked to be tried first
    scheduler:withdrawn   why it is not to run after all; told FAIL, and nobody's from then on
    scheduler:known       {study, name, number}: a result of that study, no attempt of ours made it

A retry is FAIL plus one WAITING clone with Optuna's own ``failed_trial`` and ``retry_history``, as
``RetryHeartbeatStaleTrialCallback`` makes it, so other Optuna tools can read it. Each step can be
repeated after a kill between any two of them.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec
import optuna
from optuna.trial import FrozenTrial, TrialState

from scheduler.core.model import Trial
from scheduler.study import inside

MARK = "scheduler:trial"
PUT_BACK = "scheduler:put_back"
CAPACITY = "scheduler:capacity"
HISTORY = "retry_history"
WARM = "scheduler:warm_start"
WITHDRAWN = "scheduler:withdrawn"
KNOWN = "scheduler:known"
FIXED = "fixed_params"  #: Optuna's, of ``enqueue_trial``


class Mark(msgspec.Struct, frozen=True, kw_only=True):
    """Whose a trial is: this run, its ``optimize`` call (from 0), and the trial as offered."""

    line: int
    trial: Trial


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

    def ask(self, trial: Trial, *, returned: bool) -> optuna.Trial:
        """Make *trial* RUNNING: its clone if it has *returned*, else what the user enqueued first,
        else a new one. The sampler has drawn its relative parameters when this returns.
        """
        inside.forget_cached_trials(self.study)
        inside.set_in_optimize_loop(self.study, True)
        waiting = self._claim(trial, returned)
        trial_id = self._create(trial) if waiting is None else waiting
        asked = optuna.Trial(self.study, trial_id)
        _ = asked.relative_params  # drawn now, in this thread
        return asked

    def _claim(self, trial: Trial, returned: bool) -> int | None:
        storage = inside.storage_of(self.study)
        for frozen in self._all((TrialState.WAITING,)):
            mark = self._mark(frozen)
            is_free = mark is None and WITHDRAWN not in frozen.system_attrs
            if (mark is not None and mark.trial == trial) if returned else is_free:
                trial_id = inside.trial_id_of(frozen)
                storage.set_trial_system_attr(trial_id, MARK, self._marked(trial))
                if storage.set_trial_state_values(trial_id, TrialState.RUNNING):
                    return trial_id
        return None

    def _create(self, trial: Trial) -> int:
        """Created with its mark, so that no kill can leave a RUNNING trial of nobody's."""
        template = optuna.trial.create_trial(
            state=TrialState.RUNNING, system_attrs={MARK: self._marked(trial)}
        )
        storage = inside.storage_of(self.study)
        return storage.create_new_trial(inside.study_id_of(self.study), template)

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
