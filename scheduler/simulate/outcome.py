"""What a simulation came to."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import msgspec

from scheduler import loop
from scheduler.core.core import Core
from scheduler.core.events import Event
from scheduler.core.forecast.observation import Observation
from scheduler.core.model import Run, Settlement
from scheduler.simulate.contention import Contention, fitted
from scheduler.simulate.host import Became, Hosted, SimulatedHost
from scheduler.simulate.site import Card
from scheduler.simulate.trace import DeviceTrace, Overflow, Span
from scheduler.simulate.workload import Job
from scheduler.simulate.world import SimulatedWorld

HOUR_S = 3600.0


class Forgetful:
    """A journal that keeps nothing."""

    def append(self, event: Event) -> None: ...


class TrialOutcome(msgspec.Struct, frozen=True, kw_only=True):
    number: int
    began_s: float
    ended_s: float
    attempts: int
    ran_out: int  #: of them, of memory
    settlement: Settlement | None  #: None: it was not over when the simulation ended


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """Of one run. ``traces`` are by device, ``spans`` in the order of their ends."""

    makespan_s: float  #: from the first start to the last end
    trials: tuple[TrialOutcome, ...]  #: by number
    spans: tuple[Span, ...]
    overflows: tuple[Overflow, ...]
    refused: tuple[int, ...]  #: numbers of trials that were told to the sampler without running
    stopped: str | None  #: why the host offered no more
    wanted: int  #: trials that were asked for
    events: int
    totals: dict[str, int]  #: the devices' sizes
    traces: dict[str, DeviceTrace]

    @property
    def done(self) -> int:
        return sum(one.settlement == "done" for one in self.trials)

    @property
    def lost(self) -> int:
        """Trials that had begun and came to no end."""
        return sum(one.settlement is None for one in self.trials)

    @property
    def unfinished(self) -> int:
        """Trials that were asked for and came to no end, begun or not."""
        return max(0, self.wanted - sum(one.settlement is not None for one in self.trials))

    def trials_an_hour(self) -> float:
        over = sum(one.settlement is not None for one in self.trials)
        return over * HOUR_S / self.makespan_s if self.makespan_s else 0.0

    def ran_out(self, after: int = 0) -> int:
        """Attempts that ran out of memory, of those after the first *after* starts."""
        starts = sorted(self.spans, key=lambda span: span.began_s)[after:]
        return sum(span.how == "out of memory" for span in starts)

    def ran_out_share(self, after: int = 0) -> float:
        starts = max(0, len(self.spans) - after)
        return self.ran_out(after) / starts if starts else 0.0

    def redone_share(self) -> float:
        """Of the attempts' time, what was run for nothing."""
        spent_s = sum(span.ended_s - span.began_s for span in self.spans)
        return sum(span.lost_s() for span in self.spans) / spent_s if spent_s else 0.0

    def held_share(self) -> float:
        """Of all devices' memory, what attempts held from the first start to the last end."""
        there = sum(self.totals.values()) * self.makespan_s
        return sum(one.held_byte_s for one in self.traces.values()) / there if there else 0.0

    def at_once(self) -> float:
        """Attempts that ran, on average, on all devices together."""
        if not self.makespan_s:
            return 0.0
        return sum(trace.attempt_s for trace in self.traces.values()) / self.makespan_s


def play(
    cards: Sequence[Card],
    run: Run,
    next_job: Callable[[], Job],
    n_trials: int,
    *,
    brain: loop.Brain | None = None,
    contention: Contention = fitted,
    tell: Callable[[Job, Became], None] = lambda job, became: None,
    known: Iterable[Observation] = (),
    forecasts: bool = True,
    period_s: float = 1.0,
    calm_s: float | None = 15.0,
    progress_s: float | None = 5.0,
    until_s: float = float("inf"),
    traced: bool = False,
) -> Outcome:
    """One run's trials on *cards*, from the first to the last; *brain*: the core unless told else.

    *calm_s* and *progress_s* as for the world, *known* and *forecasts* as for the host.
    """
    world = SimulatedWorld(
        cards=cards,
        runs=[run],
        period_s=period_s,
        calm_s=calm_s,
        progress_s=progress_s,
        until_s=until_s,
        contention=contention,
        traced=traced,
    )
    host = SimulatedHost(
        world, run, next_job, n_trials=n_trials, tell=tell, known=known, forecasts=forecasts
    )
    loop.run(brain or Core(), Hosted(world, host), Forgetful())
    return outcome_of(world, host)


def outcome_of(world: SimulatedWorld, host: SimulatedHost) -> Outcome:
    spans = tuple(span for span in world.spans if span.run == host.run.id)
    began_s = min((span.began_s for span in spans), default=0.0)
    for trace in world.traces.values():
        trace.pass_time(world.now_s)
    return Outcome(
        makespan_s=max((span.ended_s for span in spans), default=0.0) - began_s,
        trials=tuple(_trials(spans, world, host.run.id)),
        spans=spans,
        overflows=tuple(world.overflows),
        refused=tuple(host.refused),
        stopped=host.stopped,
        wanted=host.n_trials,
        events=world.events,
        totals={key: site.total_bytes for key, site in world.sites.items()},
        traces=world.traces,
    )


def _trials(spans: Sequence[Span], world: SimulatedWorld, run: str) -> Iterable[TrialOutcome]:
    by_number: dict[int, list[Span]] = {}
    for span in spans:
        by_number.setdefault(span.trial, []).append(span)
    for number, its in sorted(by_number.items()):
        yield TrialOutcome(
            number=number,
            began_s=its[0].began_s,
            ended_s=its[-1].ended_s,
            attempts=len(its),
            ran_out=sum(span.how == "out of memory" for span in its),
            settlement=world.ended.get((run, number)),
        )
