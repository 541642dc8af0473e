"""A study on a virtual clock: real Optuna, recorded curves, no waiting.

One step of a trial is one unit of time, the same for each. The sampler is asked, the nearest
configuration of the table that has not been used yet is run in its place, and it is that one that
the sampler is told of.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal, Protocol

import numpy as np
import optuna
from optuna.distributions import FloatDistribution
from optuna.trial import Trial, TrialState

from bench.strategies.tables import Table

State = Literal["running", "complete", "pruned", "control"]


@dataclass(kw_only=True)
class Ran:
    """One trial of a simulated study."""

    number: int
    config: int
    trial: Trial
    curve: np.ndarray  #: the whole recorded curve, of which ``steps_done`` are seen
    state: State = "running"
    steps_done: int = 0
    verdict_at: int | None = None  #: the step at which a prune verdict fell
    ended_at: int | None = None  #: on the virtual clock


class Judge(Protocol):
    """Decides for a study."""

    reports: bool  #: whether Optuna is told of each report

    def verdict(self, ran: Ran, step: int) -> Literal["keep", "prune", "control"]: ...

    def finished(self, ran: Ran) -> None: ...


@dataclass(kw_only=True)
class Outcome:
    """What a simulated study came to."""

    table: Table
    ran: list[Ran]  #: in the order of their ends
    judge: Judge

    def steps_run(self) -> int:
        return sum(one.steps_done for one in self.ran)

    def compute(self) -> float:
        """As a share of what the same number of trials cost when none is pruned."""
        return self.steps_run() / (len(self.ran) * self.table.steps)

    def reached_at(self, share: float = 0.01) -> int | None:
        """Steps run until a trial that ran to its end was in the table's best *share*.

        None: none was.
        """
        top = self.table.top(share)
        ends = [
            one.ended_at
            for one in self.ran
            if one.state in ("complete", "control") and top[one.config]
        ]
        return min((end for end in ends if end is not None), default=None)

    def best(self) -> float:
        """The best end of a trial that ran to its end, larger is better."""
        return max(
            self.table.ends[one.config] for one in self.ran if one.state in ("complete", "control")
        )


@dataclass(kw_only=True)
class Study:
    """The study and its workers."""

    table: Table
    judge: Judge
    study: optuna.Study
    workers: int = 1
    clock: int = 0
    ran: list[Ran] = field(default_factory=list)
    free: np.ndarray = field(init=False)

    def __post_init__(self) -> None:
        self.free = np.ones(len(self.table.curves), bool)
        self.space = {f"p{k}": FloatDistribution(0, 1) for k in range(self.table.cfg.shape[1])}

    def start(self, number: int) -> Ran:
        trial = self.study.ask(self.space)
        wish = np.array([trial.params[name] for name in self.space])
        distance = np.where(self.free, ((self.table.cfg - wish) ** 2).sum(axis=1), np.inf)
        config = int(distance.argmin())
        self.free[config] = False
        storage, trial_id = self.study._storage, trial._trial_id
        for (name, distribution), value in zip(
            self.space.items(), self.table.cfg[config], strict=True
        ):
            storage.set_trial_param(trial_id, name, float(value), distribution)
        return Ran(number=number, config=config, trial=trial, curve=self.table.curves[config])

    def advance(self, ran: Ran) -> None:
        """One step of one trial."""
        step = ran.steps_done
        ran.steps_done += 1
        if self.judge.reports:
            ran.trial.report(float(ran.curve[step]), step)
        last = ran.steps_done == len(ran.curve)
        if ran.verdict_at is None and not last:
            word = self.judge.verdict(ran, step)
            if word != "keep":
                ran.verdict_at = step
            if word == "prune":
                self.end(ran, "pruned")
        if last:
            self.end(ran, "complete" if ran.verdict_at is None else "control")

    def end(self, ran: Ran, state: State) -> None:
        ran.state = state
        ran.ended_at = self.clock
        if state == "pruned":
            if not self.judge.reports:
                ran.trial.report(float(ran.curve[ran.steps_done - 1]), ran.steps_done - 1)
            self.study.tell(ran.trial, state=TrialState.PRUNED)
        else:
            self.study.tell(ran.trial, float(ran.curve[-1]))
        self.ran.append(ran)
        self.judge.finished(ran)

    def run(self, trials: int) -> None:
        going: list[Ran] = []
        asked = 0
        while going or asked < trials:
            while len(going) < self.workers and asked < trials:
                going.append(self.start(asked))
                asked += 1
            self.clock += 1
            for one in going:
                self.advance(one)
            going = [one for one in going if one.state == "running"]


def simulate(
    table: Table,
    make: Callable[[Table, int], tuple[Judge, optuna.pruners.BasePruner]],
    *,
    trials: int,
    seed: int,
    workers: int = 1,
) -> Outcome:
    judge, pruner = make(table, seed)
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(
        direction=table.direction,
        sampler=optuna.samplers.TPESampler(seed=seed),
        pruner=pruner,
    )
    work = Study(table=table, judge=judge, study=study, workers=workers)
    work.run(trials)
    return Outcome(table=table, ran=work.ran, judge=judge)
