"""One workload under one brain on the simulated machine, and what came of it."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from bench.packing.brains import Brain
from bench.packing.case import Case
from probes.reading import Device
from scheduler.core.events import Event
from scheduler.core.model import Budget, Run, Trial
from scheduler.machine.budgets import budget_for
from scheduler.simulate import Card, SimulatedWorld
from scheduler.simulate.contention import NAMED, Contention
from scheduler.simulate.outcome import play
from scheduler.simulate.trace import Overflow, Span

RUN = "bench"
START_UP = 30  #: trials that a forecast may learn from
SOON = 20  #: trials in which the best number at once is to be found
#: Polls at which nothing is new are left out for so long. After more than 20 s the core says that
#: nobody looked, and learns nothing of when peaks come.
CALM_S = 15.0
HEARD_S = 5.0  #: how often reports are passed on
#: By the names of the option: the law fitted on measured pairs, no gain at all, no loss at all.
LAWS: dict[str, Contention] = {
    "measured": NAMED["fitted"],
    "one": NAMED["taking turns"],
    "none": NAMED["unhindered"],
}


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """What a study came to. Shares are None where there is nothing to take one of."""

    took_s: float  #: until its last trial ended
    trials: int  #: in all
    work_s: float  #: of all trials that finished, each alone
    rate: float  #: such seconds a second, over all
    late_rate: float  #: the same after the first 30 ends
    soon_rate: float  #: after the first 20
    starts: int
    out: int  #: attempts that ended for their memory, by running out or by being stopped for it
    late_starts: int  #: after the first 30
    late_out: int
    redone: float  #: share of the attempts' time that came to nothing
    lost: int  #: trials without a result
    taken_bytes: int  #: most by which we wanted more than strangers had left
    crowded_s: int  #: overflows for strangers that came faster than we left

    @property
    def late_out_share(self) -> float:
        return self.late_out / max(1, self.late_starts)


def cards_of(case: Case) -> list[Card]:
    return [
        Card(budget=budget_of(number, size), strangers=case.strangers)
        for number, size in enumerate(case.cards)
    ]


def budget_of(number: int, total_bytes: int) -> Budget:
    """With the defaults that a real card of that size gets."""
    key = f"0000:{number:02x}:00.0"
    device = Device(
        key=key, kind="amd", name="", total_bytes=total_bytes, source="bench", because=""
    )
    return budget_for(device, cores=16)


def reserve_of(case: Case) -> int:
    return max(budget_of(0, size).reserve_bytes for size in case.cards)


def run_of() -> Run:
    return Run(id=RUN, name=RUN)


def drive(brain: Brain, world: SimulatedWorld) -> None:
    """The loop of ``scheduler.loop``, without a journal."""
    while (event := world.next_event()) is not None:
        handle(brain, world, event)


def handle(brain: Brain, world: SimulatedWorld, event: Event) -> None:
    for action in brain.handle(event):
        world.perform(action)


def race(case: Case, brain: Brain, law: str) -> Result:
    """All trials offered at once."""
    trials = [(Trial(run=RUN, number=n), job.script()) for n, job in enumerate(case.jobs)]
    world = SimulatedWorld(
        cards=cards_of(case),
        runs=[run_of()],
        trials=trials,
        contention=LAWS[law],
        calm_s=CALM_S,
        progress_s=HEARD_S,
    )
    drive(brain, world)
    done = sum(one == "done" for one in world.ended.values())
    return result_of(
        world.spans,
        world.overflows,
        trials=len(trials),
        done=done,
        strangers_move=len(case.strangers) > 1,
    )


def ours(case: Case, law: str) -> Result:
    """The real core, asked for trials by a host that has the real forecasts.

    A trial that it refused unrun, though it would fit, is asked for once more behind the others.
    """
    waiting = list(reversed(case.jobs))
    outcome = play(
        cards_of(case),
        run_of(),
        waiting.pop,
        len(case.jobs),
        tell=lambda job, became: waiting.insert(0, job) if became == "refused" else None,
        contention=LAWS[law],
        calm_s=CALM_S,
        progress_s=HEARD_S,
    )
    return result_of(
        outcome.spans,
        outcome.overflows,
        trials=len(case.jobs),
        done=outcome.done,
        strangers_move=len(case.strangers) > 1,
    )


def result_of(
    spans: Sequence[Span],
    overflows: Sequence[Overflow],
    *,
    trials: int,
    done: int,
    strangers_move: bool = False,
) -> Result:
    spans = sorted(spans, key=lambda one: one.began_s)
    finished = [one for one in spans if one.how == "finished"]
    took_s = max((one.ended_s for one in spans), default=0.0)
    memory = {"out of memory"} if strangers_move else {"out of memory", "stopped"}
    out = [number for number, one in enumerate(spans) if one.how in memory]
    busy_s = sum(one.ended_s - one.began_s for one in spans)
    ours = [one.over_bytes for one in overflows if not one.strangers_grew]
    work_s = sum(one.work_s for one in finished)
    return Result(
        took_s=took_s,
        trials=trials,
        work_s=work_s,
        rate=work_s / took_s if took_s else 0.0,
        late_rate=_rate_after(finished, START_UP),
        soon_rate=_rate_after(finished, SOON),
        starts=len(spans),
        out=len(out),
        late_starts=max(0, len(spans) - START_UP),
        late_out=sum(number >= START_UP for number in out),
        redone=sum(one.lost_s() for one in spans) / busy_s if busy_s else 0.0,
        lost=trials - done,
        taken_bytes=max(ours, default=0),
        crowded_s=sum(one.strangers_grew for one in overflows),
    )


def _rate_after(finished: Sequence[Span], count: int) -> float:
    """Work a second after *count* ends."""
    ends = sorted(one.ended_s for one in finished)
    if len(ends) <= count:
        return 0.0
    from_s, until_s = ends[count - 1], ends[-1]
    return sum(_after(one, from_s) for one in finished) / max(1.0, until_s - from_s)


def _after(span: Span, at_s: float) -> float:
    """Work done after *at_s*, as if it had gone on evenly."""
    took_s = span.ended_s - span.began_s
    return span.work_s * max(0.0, span.ended_s - max(at_s, span.began_s)) / took_s
