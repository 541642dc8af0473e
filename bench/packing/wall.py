"""A range of which the upper half fits no card, and an objective that prefers just that.

With Optuna's real TPE in the loop, told of each trial as our host tells it. Then the same study,
with what was learned of its memory, goes on on a larger card.
"""

from __future__ import annotations

import msgspec
import optuna
from optuna.distributions import BaseDistribution, FloatDistribution
from optuna.samplers import RandomSampler, TPESampler
from optuna.trial import Trial, TrialState

from bench.packing.case import DESKTOP_BYTES, GIB, RAMP
from bench.packing.field import CALM_S, HEARD_S, LAWS, budget_of, run_of
from scheduler import loop
from scheduler.core.core import Core
from scheduler.core.forecast.forecaster import Forecaster
from scheduler.simulate import Card, SimulatedWorld
from scheduler.simulate.host import Became, Hosted, SimulatedHost
from scheduler.simulate.outcome import Forgetful, outcome_of
from scheduler.simulate.workload import Job

SMALL, LARGE = 16 * GIB, 24 * GIB
TRIALS = 100
SPACE: dict[str, BaseDistribution] = {
    "share": FloatDistribution(0.0, 2.0),
    "x": FloatDistribution(-1.0, 1.0),
}


class Walls(msgspec.Struct, frozen=True, kw_only=True):
    """What a study came to. Shares are of trials; largest ones are shares of the small card."""

    late_out: float  #: of trials 51 to 100, those that ended out of memory
    late_attempts_out: float  #: of the attempts of these
    refused: int  #: asked, and told to the sampler without running
    swapped_out: float  #: the same as the first, of all trials on the larger card
    largest: float  #: that finished on the small card, of what that can give
    swapped_largest: float  #: that finished on the larger card, of what that can give
    stopped: str | None


class Part(msgspec.Struct, frozen=True, kw_only=True):
    """One card's trials."""

    ends: dict[int, Became]  #: by number, in the order in which they began; none that was refused
    shares: dict[int, float]
    out_attempts: dict[int, tuple[int, int]]  #: out of memory, and all
    refused: int
    stopped: str | None

    def largest(self) -> float:
        done = [self.shares[number] for number, end in self.ends.items() if end == "done"]
        return max(done, default=0.0)


def room_of(total_bytes: int) -> int:
    return total_bytes - DESKTOP_BYTES - budget_of(0, total_bytes).reserve_bytes


class Study:
    """Optuna's side: asks, and tells as the host does."""

    def __init__(self, seed: int) -> None:
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        self.sampler, self.freely = TPESampler(seed=seed), RandomSampler(seed=seed)
        self.study = optuna.create_study(sampler=self.sampler)
        self.asked: dict[int, tuple[Job, Trial]] = {}
        self.host: SimulatedHost | None = None

    def next_job(self) -> Job:
        free = self.host is not None and self.host.candidates.draws_freely
        self.study.sampler = self.freely if free else self.sampler
        trial = self.study.ask(SPACE)
        job = Job(
            peak_bytes=int(max(0.02, trial.params["share"]) * room_of(SMALL)),
            duration_s=600.0,
            params=dict(trial.params),
            curve=RAMP,
            steps=20,
        )
        self.asked[id(job)] = (job, trial)
        return job

    def tell(self, job: Job, became: Became) -> None:
        trial = self.asked.pop(id(job))[1]
        if became == "done":
            self.study.tell(trial, trial.params["x"] ** 2 - trial.params["share"])
        elif became == "failed":
            self.study.tell(trial, state=TrialState.FAIL)
        else:
            self.study.tell(trial, state=TrialState.PRUNED)

    def put_back(self) -> None:
        """What was asked and has not begun."""
        for _, trial in self.asked.values():
            self.study.tell(trial, state=TrialState.FAIL)
        self.asked.clear()

    def run(self, total_bytes: int, *, known: Forecaster | None, forecasts: bool) -> Part:
        strangers = ((0.0, DESKTOP_BYTES),)
        run = run_of()
        world = SimulatedWorld(
            cards=[Card(budget=budget_of(0, total_bytes), strangers=strangers)],
            runs=[run],
            contention=LAWS["none"],
            calm_s=CALM_S,
            progress_s=HEARD_S,
        )
        ends: dict[int, Became] = {}

        def tell(job: Job, became: Became) -> None:
            number = next(n for n, one in host.jobs.items() if one is job)
            if became != "refused":
                ends[number] = became
            self.tell(job, became)

        host = SimulatedHost(
            world, run, self.next_job, n_trials=TRIALS, tell=tell, forecasts=forecasts
        )
        if known is not None:
            host.forecaster = known
        self.host = host
        loop.run(Core(), Hosted(world, host), Forgetful())
        self.put_back()
        outcome = outcome_of(world, host)
        order = sorted(outcome.trials, key=lambda one: one.began_s)
        return Part(
            ends={one.number: ends[one.number] for one in order if one.number in ends},
            shares={n: float(job.params["share"] or 0.0) for n, job in host.jobs.items()},
            out_attempts={one.number: (one.ran_out, one.attempts) for one in order},
            refused=len(host.refused),
            stopped=host.stopped,
        )

    @property
    def forecaster(self) -> Forecaster | None:
        return None if self.host is None else self.host.forecaster


def out_share(ends: list[Became]) -> float:
    return sum(one == "capacity" for one in ends) / max(1, len(ends))


def walls(seed: int, *, forecasts: bool = True) -> Walls:
    study = Study(seed)
    small = study.run(SMALL, known=None, forecasts=forecasts)
    large = study.run(LARGE, known=study.forecaster, forecasts=forecasts)
    late = list(small.ends)[TRIALS // 2 :]
    attempts = [small.out_attempts[number] for number in late]
    return Walls(
        late_out=out_share([small.ends[number] for number in late]),
        late_attempts_out=sum(out for out, _ in attempts) / max(1, sum(n for _, n in attempts)),
        refused=small.refused,
        swapped_out=out_share(list(large.ends.values())),
        largest=small.largest(),
        swapped_largest=large.largest() * room_of(SMALL) / room_of(LARGE),
        stopped=small.stopped or large.stopped,
    )
