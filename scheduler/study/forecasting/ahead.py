"""New trials before they begin: asked of the sampler, forecast, and answered where none can run.

What waits when is the queue's; what a forecast is, the forecaster's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import msgspec
import optuna
from optuna.samplers import BaseSampler
from optuna.trial import FrozenTrial, TrialState

from scheduler.core.actions import Refuse, Settle
from scheduler.core.candidates import Candidates
from scheduler.core.forecast import Forecast, Value
from scheduler.core.model import Budget, Trial
from scheduler.study import inside
from scheduler.study.forecasting.foreseen import Foreseen, foresee
from scheduler.study.forecasting.freely import Freely
from scheduler.study.forecasting.history import History, Shown, plain
from scheduler.study.forecasting.space import space_of
from scheduler.study.keeping.record import CAPACITY, UNRUN, Record
from scheduler.study.serving.finish import Finisher
from scheduler.study.strategies.narrowed import NarrowedSampler

#: A wish that has changed by less is not said again: each costs the supervisor a line of journal.
RENEWED_FROM = 0.02
#: Promises are whole ones of these: torch's allocator takes up to 20 MiB at once, and what the
#: garbage collector leaves differs from attempt to attempt, however small a trial is.
GRAIN_BYTES = 16 << 20


@dataclass(frozen=True, kw_only=True)
class Asked:
    """A trial that was asked for ahead."""

    asked: optuna.Trial
    foreseen: Foreseen


@dataclass(frozen=True, kw_only=True)
class Returned:
    """A trial that has come back in this life of the run, and waits. ``trial``: as it came back."""

    trial: Trial
    params: Mapping[str, Value]


class Ahead:
    """*keeps_promise*: the user wants the promise that they gave, and no other."""

    def __init__(
        self,
        record: Record,
        history: History,
        finisher: Finisher,
        keeps_promise: Callable[[], bool],
    ) -> None:
        self._record = record
        self._study = record.study
        self._history = history
        self._finisher = finisher
        self._keeps_promise = keeps_promise
        self._candidates = Candidates(GRAIN_BYTES)
        self._waiting: dict[int, Asked] = {}
        self._returned: dict[int, Returned] = {}
        self._usual: Forecast | None = None  #: of a trial whose parameters are not known
        self._shows_space = False  #: a trial has ended that shows what the objective suggests

    def begin(self, budgets: Mapping[str, Budget]) -> None:
        """The devices are known, again: those that a supervisor has said last."""
        self._history.begin(budgets)
        self._look_anew()
        self._shows_space = bool(self._shown())

    def _shown(self) -> list[FrozenTrial]:
        """Trials that show what the objective suggests."""
        states = (TrialState.COMPLETE, TrialState.PRUNED)
        trials = self._study.get_trials(deepcopy=False, states=states)
        return [one for one in trials if one.params and UNRUN not in one.system_attrs]

    # -- how many wait, and with what wish -----------------------------------------------------

    @property
    def asks_first(self) -> bool:
        """Candidates are asked for before they are offered."""
        forecaster = self._history.forecaster
        if forecaster is None or not forecaster.needs_params or self._keeps_promise():
            return False
        return self._shows_space and inside.draws_ahead(self._sampler())

    @property
    def room(self) -> int:
        """How many new trials may wait."""
        return self._candidates.room(needs_params=self.asks_first)

    def want_bytes(self) -> int | None:
        """What a trial is to be promised whose parameters are not known; None: the default."""
        return self._candidates.usual_bytes(None if self._keeps_promise() else self._usual)

    def _wanted(self, number: int) -> int | None:
        """By a trial that waits, whether it was asked for or not."""
        back = self._returned.get(number)
        if back is not None:
            return self._again(back).want_bytes
        found = self._forecast(number)
        return self.want_bytes() if found is None else self._candidates.want_bytes(number, found)

    def _forecast(self, number: int) -> Forecast | None:
        """By the parameters of one that was asked for; None: too few of them are known."""
        asked = self._waiting.get(number)
        return None if asked is None else self._by_params(plain(asked.foreseen.values))

    def _by_params(self, params: Mapping[str, Value]) -> Forecast | None:
        forecaster = self._history.forecaster
        if forecaster is None or self._keeps_promise() or not self._history.is_like(params):
            return None
        return forecaster.forecast(params)

    def _again(self, back: Returned) -> Trial:
        """What it is offered as by now."""
        return self._candidates.returned(back.trial, self._by_params(back.params))

    def _look_anew(self) -> None:
        forecaster = self._history.forecaster
        self._usual = None if forecaster is None else forecaster.forecast(None)

    def _sampler(self) -> BaseSampler:
        sampler = self._study.sampler
        return sampler.own if isinstance(sampler, NarrowedSampler) else sampler

    # -- asking --------------------------------------------------------------------------------

    def ask(self, trial: Trial) -> Asked:
        """In the thread that asks. The study has the trial when this returns, and no parameter."""
        freely = self._candidates.draws_freely and not inside.is_grid(self._sampler())
        sampler = Freely(self._study.sampler) if freely else None
        asked = self._record.ask(trial, returned=False, candidate=True, sampler=sampler)
        space = space_of([(one.params, one.distributions) for one in self._shown()])
        return Asked(asked=asked, foreseen=foresee(asked, space))

    def took(self, trial: Trial, asked: Asked) -> Trial:
        """*trial* has been asked for; returns it with its wish."""
        self._waiting[trial.number] = asked
        return msgspec.structs.replace(trial, want_bytes=self._wanted(trial.number))

    def start(self, trial: Trial, *, returned: bool) -> tuple[Callable[[], optuna.Trial], Foreseen]:
        """An attempt starts: how its trial is got, in the thread that asks, and what of its
        parameters is settled."""
        self._returned.pop(trial.number, None)
        asked = None if returned else self._waiting.pop(trial.number, None)
        if not returned:
            self._candidates.started(trial.number)
        if asked is None:
            return lambda: self._record.ask(trial, returned=returned), Foreseen()
        return lambda: self._record.begin(asked.asked, trial), asked.foreseen

    # -- what is learned -----------------------------------------------------------------------

    def learn(self, settle: Settle, shown: Shown, waiting: Iterable[Trial]) -> list[Trial]:
        """Take in how an attempt ended; returns those of *waiting* whose wish is another now."""
        if not self._history.learn(settle, shown):
            return []
        self._look_anew()
        return [one for trial in waiting if (one := self._renewed(trial)) is not None]

    def returned(self, again: Trial, shown: Shown) -> Trial:
        """What *again* is offered as, now that it has come back."""
        back = Returned(trial=again, params=plain(shown.params))
        self._returned[again.number] = back
        return self._again(back)

    def _renewed(self, trial: Trial) -> Trial | None:
        if trial.alone or (trial.attempts and trial.number not in self._returned):
            return None
        want, had = self._wanted(trial.number), trial.want_bytes
        if want == had:
            return None
        if want is not None and had is not None and abs(want - had) < RENEWED_FROM * had:
            return None
        return msgspec.structs.replace(trial, want_bytes=want)

    # -- those that no device could hold -------------------------------------------------------

    def refused(self, trial: Trial, refuse: Refuse) -> Trial | None:
        """What *trial* is to be offered as all the same; None: it was answered."""
        again = self._candidates.answer(trial, refuse, self._forecast(trial.number))
        if again is None:
            asked = self._waiting.pop(trial.number)
            because = f"not run: {refuse.because}"
            self._finisher.unrun(asked.asked.number, because, asked.foreseen.params)
        return again

    @property
    def stops(self) -> str | None:
        """Why the run is to stop; None: it is not. A grid comes to its end by itself."""
        return None if inside.is_grid(self._sampler()) else self._candidates.stops

    def finished(self, trial: FrozenTrial) -> None:
        """A trial has come to its final state."""
        number = self._record.number_of(trial)
        if number is None or UNRUN in trial.system_attrs:
            return
        self._shows_space = self._shows_space or bool(trial.params)
        has_run = trial.state in (TrialState.COMPLETE, TrialState.PRUNED)
        self._candidates.ended(number, fits=has_run and CAPACITY not in trial.system_attrs)

    def give_back(self, *, resumable: bool) -> None:
        """The call ends: what was asked for and has not begun is nobody's, or waits."""
        self._waiting.clear()
        self._record.give_back(resumable=resumable)
