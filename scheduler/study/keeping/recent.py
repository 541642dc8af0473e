"""All trials of a study as they were read a moment ago, for pruners.

A pruner reads all trials at each report, and Optuna's databases read every unfinished one anew for
that, with all that it has reported. With 16 attempts that report ten times a second this took a
whole core after 20 s, more with each step. So what a pruner is shown is read anew when a trial has
begun or ended, and once in a while for what other programs write into the study. What our own
attempts report meanwhile is put in.
"""

from __future__ import annotations

import copy
import threading
import time
from collections.abc import Callable, Container, Iterator
from contextlib import contextmanager
from typing import Any

from optuna.storages import BaseStorage
from optuna.trial import FrozenTrial, TrialState

from scheduler.study import inside

AT_LEAST_S = 1.0  #: for so long what was read is good
#: In times of what the reading took: it costs a twentieth of the host's time at most.
AT_LEAST_TIMES = 20


class _Read:
    def __init__(self, trials: dict[int, FrozenTrial], until_s: float) -> None:
        self.trials = trials  #: by id, in the order of their numbers
        self.until_s = until_s


class Recent:
    """What is read of *storage*, one call at a time. A thread sees it inside of ``shown``."""

    def __init__(self, storage: BaseStorage, clock: Callable[[], float] = time.monotonic) -> None:
        self._storage = storage
        self._clock = clock
        self._reads: dict[int, _Read] = {}  #: by study
        self._thread: int | None = None

    @contextmanager
    def shown(self) -> Iterator[None]:
        """To this thread, until the end of the block."""
        self._thread = threading.get_ident()
        try:
            yield
        finally:
            self._thread = None

    @property
    def is_shown(self) -> bool:
        return self._thread == threading.get_ident()

    def trials(
        self, study_id: int, deepcopy: bool, states: Container[TrialState] | None
    ) -> list[FrozenTrial]:
        """As ``BaseStorage.get_all_trials`` gives them."""
        read = self._reads.get(study_id)
        if read is None or self._clock() >= read.until_s:
            read = self._reads[study_id] = self._read(study_id)
        trials = [one for one in read.trials.values() if states is None or one.state in states]
        return copy.deepcopy(trials) if deepcopy else trials

    def _read(self, study_id: int) -> _Read:
        began_s = self._clock()
        found = self._storage.get_all_trials(study_id, deepcopy=False)
        now_s = self._clock()
        good_for_s = max(AT_LEAST_S, AT_LEAST_TIMES * (now_s - began_s))
        return _Read({inside.trial_id_of(trial): trial for trial in found}, now_s + good_for_s)

    def forget(self) -> None:
        """A trial has begun or ended, or more."""
        self._reads.clear()

    def put(self, trial_id: int, field: str, key: int | str, value: Any) -> None:
        """An entry of a trial's *field*, which is a dict, was written.

        Into a copy: what was given out may be iterated over elsewhere.
        """
        for read in self._reads.values():
            trial = read.trials.get(trial_id)
            if trial is not None:
                changed = copy.copy(trial)
                setattr(changed, field, {**getattr(trial, field), key: value})
                read.trials[trial_id] = changed
