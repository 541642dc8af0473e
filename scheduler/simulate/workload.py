"""What a simulation is given: devices, and trials one by one or ranges that they are drawn from.

``docs/simulate.md`` describes the file. Chance is drawn from seeds, so the same seed gives the same
trials. Pure.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from random import Random
from typing import Literal

import msgspec

from probes.reading import Device
from scheduler.core.forecast.observation import Value
from scheduler.core.model import Budget, Evidence, Run
from scheduler.simulate.script import Script
from scheduler.simulate.site import Card

RUN = "simulated"

_EVIDENCE = {
    "complete": Evidence(outcome="complete", exit_code=0),
    "pruned": Evidence(outcome="pruned", exit_code=0),
    "failed": Evidence(outcome="failed", exit_code=1, exception=("ValueError",)),
}


class Job(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A trial: what it would do alone on its device. Shares are from 0 to 1."""

    peak_bytes: int
    duration_s: float
    params: dict[str, Value] = {}
    ramp_s: float = 0.0  #: until its peak, evenly; without a ``curve``
    #: Share of its work done, and share of its peak held then; instead of ``ramp_s``.
    curve: tuple[tuple[float, float], ...] = ()
    use: float = 0.5  #: share of the device's computing
    steps: int = 0  #: how often it reports, evenly; 0: never
    saves_every_s: float | None = None  #: between two checkpoints
    outcome: Literal["complete", "pruned", "failed"] = "complete"
    version: str = ""  #: of its code

    def script(self) -> Script:
        points = tuple(
            (share * self.duration_s, int(part * self.peak_bytes)) for share, part in self.curve
        )
        return Script(
            peak_bytes=self.peak_bytes,
            ramp_s=self.ramp_s,
            run_s=self.duration_s,
            evidence=_EVIDENCE[self.outcome],
            curve=points,
            use=self.use,
            steps=self.steps,
            saves_every_s=self.saves_every_s,
        )


class CardSpec(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A device. ``strangers``: from when on others hold how much, in order of time."""

    total_bytes: int
    reserve_bytes: int = 0
    promise_bytes: int = 6 << 30
    max_attempts: int | None = None
    name: str = ""
    kind: Literal["amd", "nvidia", "host"] = "amd"
    strangers: tuple[tuple[float, int], ...] = ()
    lag_s: float = 0.0  #: until what an ended attempt held is free

    def card(self, number: int) -> Card:
        key = self.name or f"card{number}"
        device = Device(
            key=key,
            kind=self.kind,
            name=key,
            total_bytes=self.total_bytes,
            source="simulated",
            because="it is simulated",
        )
        budget = Budget(
            device=device,
            reserve_bytes=self.reserve_bytes,
            promise_bytes=self.promise_bytes,
            max_attempts=self.max_attempts,
        )
        return Card(budget=budget, strangers=self.strangers, lag_s=self.lag_s)


class ParamRange(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A parameter, drawn evenly, or evenly in its logarithm; what each 1 of it costs a trial."""

    low: float
    high: float
    log: bool = False
    whole: bool = False
    bytes_each: int = 0
    seconds_each: float = 0.0

    def draw(self, chance: Random) -> float | int:
        if self.log:
            value = math.exp(chance.uniform(math.log(self.low), math.log(self.high)))
        else:
            value = chance.uniform(self.low, self.high)
        return round(value) if self.whole else value


class Drawn(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Trials drawn from ranges, each evenly. Parameters add to the peak and the duration."""

    count: int
    peak_bytes: tuple[int, int]
    duration_s: tuple[float, float]
    params: dict[str, ParamRange] = {}
    use: tuple[float, float] = (0.5, 0.5)
    ramp_s: tuple[float, float] = (10.0, 60.0)
    curve: tuple[tuple[float, float], ...] = ()
    steps: int = 0
    saves_every_s: float | None = None
    pruned_share: float = 0.0
    pruned_at: tuple[float, float] = (0.1, 0.5)  #: share of its work that one has done by then

    def jobs(self, count: int, seed: int, *, pruning: bool = True) -> tuple[Job, ...]:
        chance = Random(seed)
        return tuple(self._draw(chance, pruning=pruning) for _ in range(count))

    def _draw(self, chance: Random, *, pruning: bool) -> Job:
        params = {name: one.draw(chance) for name, one in self.params.items()}
        peak = chance.uniform(*self.peak_bytes)
        duration_s = chance.uniform(*self.duration_s)
        for name, value in params.items():
            peak += self.params[name].bytes_each * value
            duration_s += self.params[name].seconds_each * value
        use, ramp_s = chance.uniform(*self.use), chance.uniform(*self.ramp_s)
        is_pruned, at = chance.random() < self.pruned_share, chance.uniform(*self.pruned_at)
        cut = at if is_pruned and pruning else 1.0
        return Job(
            peak_bytes=int(peak),
            duration_s=duration_s * cut,
            params=dict(params),
            ramp_s=min(ramp_s, duration_s * cut),
            curve=_cut(self.curve, cut),
            use=use,
            steps=int(self.steps * cut),
            saves_every_s=self.saves_every_s,
            outcome="pruned" if cut < 1.0 else "complete",
        )


class Workload(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``trials`` in their order, or ``drawn`` ones; the rest is as in ``scheduler run``."""

    cards: tuple[CardSpec, ...]
    trials: tuple[Job, ...] = ()
    drawn: Drawn | None = None
    contention: Literal["fitted", "taking turns", "unhindered"] = "fitted"
    promise_bytes: int | None = None
    max_attempts: int | None = None
    contain: bool = True
    overrun_share: float = 0.02
    fixed: tuple[str, ...] = ()

    def run(self) -> Run:
        return Run(
            id=RUN,
            promise_bytes=self.promise_bytes,
            max_attempts=self.max_attempts,
            contain=self.contain,
            overrun_share=self.overrun_share,
            fixed=self.fixed,
        )

    @property
    def n_trials(self) -> int:
        return len(self.trials) if self.drawn is None else self.drawn.count

    def jobs(self, count: int, seed: int, pruning: bool = True) -> tuple[Job, ...]:
        """Seed 0 has ``trials`` in the order they are given, any other shuffles them. Where more
        are wanted than there are, they come again in another order."""
        if self.drawn is not None:
            return self.drawn.jobs(count, seed, pruning=pruning)
        chance = Random(seed)
        jobs = list(self.trials) if pruning else unpruned(self.trials, seed)
        said: list[Job] = []
        while len(said) < count:
            if seed or said:
                chance.shuffle(jobs)
            said += jobs
        return tuple(said[:count])


def unpruned(jobs: Sequence[Job], seed: int) -> list[Job]:
    """The same without pruning: one that was pruned takes as long as one that was complete."""
    whole = [job for job in jobs if job.outcome == "complete"]
    if not whole:
        return list(jobs)
    chance = Random(seed)
    return [
        job if job.outcome != "pruned" else _to_its_end(job, chance.choice(whole)) for job in jobs
    ]


def _to_its_end(job: Job, like: Job) -> Job:
    duration_s = max(job.duration_s, like.duration_s)
    return msgspec.structs.replace(
        job, outcome="complete", duration_s=duration_s, curve=like.curve, steps=like.steps
    )


def _cut(curve: tuple[tuple[float, float], ...], cut: float) -> tuple[tuple[float, float], ...]:
    """The part up to *cut* of the work, as shares of that."""
    if cut >= 1.0 or not curve:
        return curve
    return tuple((share / cut, part) for share, part in curve)
