"""The same trials under another setting, in several orders: what it would change. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import cycle
from statistics import fmean, median

import msgspec

from scheduler.core.forecast.observation import Observation
from scheduler.core.model import Run
from scheduler.simulate.contention import NAMED
from scheduler.simulate.outcome import HOUR_S, Outcome, play
from scheduler.simulate.site import Card
from scheduler.simulate.workload import Job


class Setting(msgspec.Struct, frozen=True, kw_only=True):
    """What trials run on, and by what rules."""

    name: str
    cards: tuple[Card, ...]
    run: Run
    n_trials: int
    pruning: bool = True
    contention: str = "fitted"


class Prospect(msgspec.Struct, frozen=True, kw_only=True):
    """One setting's outcomes: the median of its orders, unless said otherwise. Shares are 0 to 1.

    ``low_s`` to ``high_s``: 10 to 90 % of the orders' ``makespan_s``.
    """

    name: str
    orders: int
    makespan_s: float
    low_s: float
    high_s: float
    trials_an_hour: float
    at_once: float
    held_share: float  #: of all memory, by attempts
    ran_out: float  #: attempts that ran out of memory, the mean
    ran_out_share: float  #: of attempts, the mean
    redone_share: float  #: of the attempts' time, the mean
    too_big: float  #: trials that were told not to fit, run or not, the mean
    unfinished: float  #: trials that never came to an end, the mean


#: The trials of one order: their number, a seed, whether hopeless ones are pruned.
Draw = Callable[[int, int, bool], Sequence[Job]]


def play_orders(
    setting: Setting, draw: Draw, orders: int, known: Sequence[Observation] = ()
) -> Iterator[Outcome]:
    """One for each seed from 0, the first with its traces. *known*: what earlier trials held."""
    for seed in range(orders):
        drawn = draw(setting.n_trials, seed, setting.pruning)
        jobs = cycle(drawn)
        yield play(
            setting.cards,
            setting.run,
            lambda jobs=jobs: next(jobs),  # type: ignore[misc]
            setting.n_trials,
            contention=NAMED[setting.contention],
            known=known,
            until_s=_patience_s(setting.cards, drawn),
            traced=seed == 0,
        )


def _patience_s(cards: Sequence[Card], jobs: Sequence[Job]) -> float:
    """By when all is done that can be: three times as long as one after another takes, from when
    strangers have settled. A trial that no card can take waits for ever."""
    settled_s = max((at_s for card in cards for at_s, _ in card.strangers), default=0.0)
    return settled_s + 3 * sum(job.duration_s for job in jobs) + HOUR_S


def prospect(setting: Setting, found: Sequence[Outcome]) -> Prospect:
    spans_s = sorted(one.makespan_s for one in found)
    return Prospect(
        name=setting.name,
        orders=len(found),
        makespan_s=median(spans_s),
        low_s=spans_s[len(spans_s) // 10],
        high_s=spans_s[-1 - len(spans_s) // 10],
        trials_an_hour=median(one.trials_an_hour() for one in found),
        at_once=median(one.at_once() for one in found),
        held_share=median(one.held_share() for one in found),
        ran_out=fmean(one.ran_out() for one in found),
        ran_out_share=fmean(one.ran_out_share() for one in found),
        redone_share=fmean(one.redone_share() for one in found),
        too_big=fmean(_too_big(one) for one in found),
        unfinished=fmean(one.unfinished for one in found),
    )


def _too_big(outcome: Outcome) -> int:
    return len(outcome.refused) + sum(one.settlement == "capacity" for one in outcome.trials)
