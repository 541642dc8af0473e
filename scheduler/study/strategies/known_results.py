"""Results of an earlier study that are added to this one, once it has shown that they belong there.

An old trial suits where a trial of this study had the same names from ranges of the same kind that
hold its values. What an objective suggests is known only when a trial has run, so most are added
after the first end. A trial with other names would take the new ones from samplers that look at
what all trials have in common.
"""

from __future__ import annotations

import time
from collections.abc import Iterable

import optuna
from optuna.distributions import BaseDistribution, check_distribution_compatibility
from optuna.trial import FrozenTrial, TrialState

from scheduler.study import inside
from scheduler.study.keeping.record import CAPACITY, KNOWN, WITHDRAWN

#: In one go, and one trial more: one with 50 reports takes tens of milliseconds on SQLite, a
#: thousand of them a minute, and attempts that ask are not to wait for that.
WORK_S = 0.05
_CONSTRAINTS = "constraints"  #: Optuna's system attributes of that name and beginning are results

Space = dict[str, BaseDistribution]


class KnownResults:
    """Of the study *name* that *source* identifies. *trials* are all that it has."""

    def __init__(
        self, study: optuna.Study, source: str, name: str, trials: Iterable[FrozenTrial]
    ) -> None:
        self._study = study
        self._mark = {"study": source, "name": name}
        here = study.get_trials(deepcopy=False)
        marks = [trial.system_attrs.get(KNOWN) for trial in here]
        added = {mark["number"] for mark in marks if mark and mark["study"] == source}
        self.added = len(added)
        has = {_result(trial) for trial in here}
        self._waiting: dict[frozenset[str], list[FrozenTrial]] = {}
        for trial in trials:
            if is_result(trial) and trial.number not in added and _result(trial) not in has:
                self._waiting.setdefault(frozenset(trial.params), []).append(trial)
        self._due: list[FrozenTrial] = []
        self.unlike: str | None = None  #: why some do not suit what was shown last

    @property
    def waiting(self) -> int:
        """How many no trial of this study was like yet."""
        return sum(map(len, self._waiting.values()))

    def show(self, space: Space) -> None:
        """A trial of this study drew from *space*: what suits it is to be added."""
        waiting = self._waiting.pop(frozenset(space), [])
        odd = []
        for trial in waiting:
            self.unlike = unlike(trial, space)
            if self.unlike is None:
                self._due.append(_adopted(trial, space, self._mark))
            else:
                odd.append(trial)
        if odd:
            self._waiting[frozenset(space)] = odd

    def work(self) -> int:
        """Add for a moment; returns how many were added."""
        until_s = time.monotonic() + WORK_S
        storage, study_id = inside.storage_of(self._study), inside.study_id_of(self._study)
        before = self.added
        while self._due and time.monotonic() < until_s:
            storage.create_new_trial(study_id, self._due.pop(0))
            self.added += 1
        return self.added - before

    @property
    def is_at_work(self) -> bool:
        return bool(self._due)


def is_result(trial: FrozenTrial) -> bool:
    """COMPLETE, or PRUNED after reports; what was too big for some device says nothing here."""
    if CAPACITY in trial.system_attrs or WITHDRAWN in trial.system_attrs or not trial.params:
        return False
    is_pruned = trial.state == TrialState.PRUNED and bool(trial.intermediate_values)
    return trial.state == TrialState.COMPLETE or is_pruned


def unlike(trial: FrozenTrial, space: Space) -> str | None:
    """Why *trial* could not have been drawn from *space*, which has the same names; None: it could.

    As Optuna has it, a parameter keeps its kind, its choices and whether it is on a log scale
    within one study, and may change its range.
    """
    for name, distribution in space.items():
        try:
            check_distribution_compatibility(trial.distributions[name], distribution)
        except ValueError:
            return f"{name} is {trial.distributions[name]} there and {distribution} here"
        if not inside.takes(distribution, trial.params[name]):
            return f"{name} is {trial.params[name]} there and {distribution} here"
    return None


def _adopted(trial: FrozenTrial, space: Space, mark: dict[str, str]) -> FrozenTrial:
    """A copy for this study. It bears this study's ranges, as samplers that look at what all trials
    have in common leave out a parameter whose range differs; and no sampler's bookkeeping."""
    attrs = {k: v for k, v in trial.system_attrs.items() if k.partition(":")[0] == _CONSTRAINTS}
    return FrozenTrial(
        number=-1,
        trial_id=-1,
        state=trial.state,
        value=None,
        values=trial.values,
        datetime_start=trial.datetime_start,
        datetime_complete=trial.datetime_complete,
        params=dict(trial.params),
        distributions={name: space[name] for name in trial.params},
        user_attrs=dict(trial.user_attrs),
        system_attrs={**attrs, KNOWN: {**mark, "number": trial.number}},
        intermediate_values=dict(trial.intermediate_values),
    )


def _result(trial: FrozenTrial) -> tuple[str, str]:
    """The same study may be given under another address, or a copy of it."""
    return repr(sorted(trial.params.items())), repr(trial.values)
