"""A host without a study: offers trials as the real one does, learns their memory, answers.

Uses the real forecasts and the real rules for candidates. Which trial comes next is its caller's
word; so a sampler that listens to what became of the earlier ones can be put in.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Literal

import msgspec

from scheduler.core.actions import Action, Halt, Refuse, Settle, Start
from scheduler.core.candidates import Candidates
from scheduler.core.events import Event, Withdrawn
from scheduler.core.forecast.forecaster import Forecaster
from scheduler.core.forecast.observation import Forecast, Observation
from scheduler.core.forecast.taught import taught
from scheduler.core.model import Attempt, Run, Settlement, Trial
from scheduler.simulate.workload import Job
from scheduler.simulate.world import SimulatedWorld

#: What became of a trial; "refused": it was never run, as no device could have held it.
Became = Settlement | Literal["refused"]


class SimulatedHost:
    """One run's host. It offers until *n_trials* have begun, those that were refused not counted.

    *next_job* gives the next trial; it is asked as late as the real host asks. *tell* hears what
    became of each. *known*: what earlier trials have held. *forecasts* False: every trial is
    promised what the run or the device says, as it is where the run keeps its promise.
    """

    def __init__(
        self,
        world: SimulatedWorld,
        run: Run,
        next_job: Callable[[], Job],
        *,
        n_trials: int,
        tell: Callable[[Job, Became], None] = lambda job, became: None,
        known: Iterable[Observation] = (),
        forecasts: bool = True,
    ) -> None:
        self.run, self.n_trials, self.begun = run, n_trials, 0
        self.jobs: dict[int, Job] = {}  #: by the trial's number
        self.refused: list[int] = []
        self.stopped: str | None = None  #: why it offers no more
        self.candidates = Candidates()
        budgets = [site.card.budget for site in world.sites.values()]
        promise = run.promise_bytes or max(budget.promise_bytes for budget in budgets)
        self.forecaster = Forecaster(promise_bytes=promise, overrun_share=run.overrun_share)
        for observation in known:
            self.forecaster.add(observation)
        self._forecasts = forecasts and not run.keeps_promise
        self._world, self._next_job, self._tell = world, next_job, tell
        self._fresh: dict[int, Trial] = {}
        self._foretold: dict[int, Forecast | None] = {}  #: of the fresh
        self._back: dict[int, Trial] = {}  #: have come back, as they came back, and wait
        self._wished: dict[int, int | None] = {}  #: what these were last offered with
        self._next = 0
        self._top_up()

    def perform(self, action: Action) -> None:
        """Before the world does."""
        match action:
            case Start(attempt=attempt):
                self._start(attempt)
            case Settle():
                self._settle(action)
            case Refuse():
                self._refuse(action)
            case Halt(because=because):
                self.stopped, self._fresh = because, {}
            case _:
                return
        self._top_up()

    def _start(self, attempt: Attempt) -> None:
        number = attempt.trial.number
        self._back.pop(number, None)
        if number in self._fresh:
            del self._fresh[number]
            self._foretold.pop(number)
            self.begun += 1
            self.candidates.started(number)
        if number not in self.jobs:
            self.jobs[number] = self._next_job()
        self._world.bind(attempt.trial, self.jobs[number].script())

    def _settle(self, settle: Settle) -> None:
        number = settle.attempt.trial.number
        job = self.jobs[number]
        if settle.settlement != "again":
            self._tell(job, settle.settlement)
            self.candidates.ended(number, fits=settle.settlement == "done")
        observation = seen(settle, job)
        if observation is not None:
            self.forecaster.add(observation)
            self._wish_anew()
        if settle.again is not None:
            self._back[number] = settle.again

    def returned(self, again: Trial) -> Trial:
        """What a trial that has come back is offered as now."""
        trial = self.candidates.returned(again, self._forecast(self.jobs[again.number]))
        self._wished[again.number] = trial.want_bytes
        return trial

    def _refuse(self, refuse: Refuse) -> None:
        number = refuse.trial
        trial = self._fresh.get(number)
        if trial is None:
            return
        foretold = self._foretold[number] if number in self.jobs else None
        again = self.candidates.answer(trial, refuse, foretold)
        if again is not None:
            self._fresh[number] = again
            self._world.offer(again)
            return
        del self._fresh[number]
        del self._foretold[number]
        self.refused.append(number)
        self.candidates.ended(number, fits=False)
        self._world.close((self.run.id, number))
        self._tell(self.jobs[number], "refused")

    def _wish_anew(self) -> None:
        """Those that wait are told what is forecast of them now."""
        for number, trial in self._fresh.items():
            job = self.jobs.get(number)
            if trial.alone or (job is None and self.forecaster.needs_params):
                continue
            self._foretold[number] = foretold = self._forecast(job)
            want = self._want_bytes(number, foretold)
            if want != trial.want_bytes:
                self._fresh[number] = msgspec.structs.replace(trial, want_bytes=want)
                self._world.offer(self._fresh[number])
        for number, again in self._back.items():
            before, trial = self._wished[number], self.returned(again)
            if trial.want_bytes != before:
                self._world.offer(trial)

    def _forecast(self, job: Job | None) -> Forecast | None:
        if not self._forecasts:
            return None
        return self.forecaster.forecast(None if job is None else job.params)

    def _want_bytes(self, number: int, foretold: Forecast | None) -> int | None:
        if foretold is None or number not in self.jobs:
            return self.candidates.usual_bytes(foretold)
        return self.candidates.want_bytes(number, foretold)

    def _top_up(self) -> None:
        """Offer as many new ones as may wait, and withdraw what waits once that is enough."""
        self.stopped = self.stopped or self.candidates.stops
        if self.stopped is not None or self.begun >= self.n_trials:
            self._withdraw()
            return
        asks = self._forecasts and self.forecaster.needs_params
        room = self.candidates.room(needs_params=asks)
        while len(self._fresh) < min(room, self.n_trials - self.begun):
            number, self._next = self._next, self._next + 1
            if asks:
                self.jobs[number] = self._next_job()
            self._foretold[number] = foretold = self._forecast(self.jobs.get(number))
            want = self._want_bytes(number, foretold)
            self._fresh[number] = Trial(run=self.run.id, number=number, want_bytes=want)
            self._world.offer(self._fresh[number])

    def _withdraw(self) -> None:
        for number in self._fresh:
            gone = Withdrawn(at_s=self._world.now_s, run=self.run.id, trial=number)
            self._world.at(self._world.now_s, gone)
            self._world.close((self.run.id, number))
        self._fresh, self._foretold = {}, {}


class Hosted:
    """A world with hosts in it."""

    def __init__(self, world: SimulatedWorld, *hosts: SimulatedHost) -> None:
        self.world = world
        self.hosts = {host.run.id: host for host in hosts}

    def next_event(self) -> Event | None:
        return self.world.next_event()

    def perform(self, action: Action) -> None:
        host = self.hosts.get(_run_of(action))
        if host is not None:
            host.perform(action)
            if isinstance(action, Settle) and action.again is not None:
                again = host.returned(action.again)
                action = msgspec.structs.replace(action, again=again)
        self.world.perform(action)


def _run_of(action: Action) -> str:
    match action:
        case Start(attempt=attempt) | Settle(attempt=attempt):
            return attempt.trial.run
        case Refuse(run=run) | Halt(run=run):
            return run
        case _:
            return ""


def seen(settle: Settle, job: Job) -> Observation | None:
    """What an attempt's end tells of its trial's memory; None: nothing."""
    found = taught(settle)
    if found is None:
        return None
    needs_bytes, ran_out = found
    return Observation(params=job.params, bytes=needs_bytes, ran_out=ran_out, version=job.version)
