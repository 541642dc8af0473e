"""A card on which attempts slow each other down: trials that report, on a virtual clock."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

import msgspec
from scene import CARD, DONE, GIB, CheckedCore, budget, reading

from scheduler.core.actions import Note, Start
from scheduler.core.core import Core
from scheduler.core.events import (
    Event,
    Exited,
    Found,
    Joined,
    Offered,
    Progressed,
    Sampled,
    Started,
)
from scheduler.core.model import Attempt, Change, Process, Run, Trial

POLL_S = 30.0
TELL_S = 5.0


class Going(msgspec.Struct):
    """An attempt, and the work that is left of it in seconds alone on the card."""

    attempt: Attempt
    begins_s: float  #: left until it begins to work
    reports: int
    every_s: float  #: work from one report to the next
    next_s: float  #: work left until the next one
    pace: float = 1.0  #: noise of its company
    made: int = 0
    told: int = 0
    told_s: float = -99.0


class Card:
    """*places* by memory; *total* of k at once, 1 for one alone. Work is shared evenly.

    *spread* is of the trials' own durations, *noise* of the time between two reports, *bias* of an
    attempt's rate anew in each company; all as the sigma of a logarithm. *reports* 0: they are
    silent, and end after as much work.
    """

    def __init__(
        self,
        total: Callable[[int], float],
        *,
        places: int = 4,
        seed: int = 0,
        reports: int = 20,
        lasts_s: float = 600.0,
        spread: float = 0.4,
        noise: float = 0.1,
        bias: float = 0.0,
        startup_s: float = 5.0,
        drift: float = 0.0,
        run: Run | None = None,
        checked: bool = False,
    ) -> None:
        self.total, self.places, self.random = total, places, Random(seed)
        self.reports, self.lasts_s, self.spread = reports, lasts_s, spread
        self.noise, self.bias, self.startup_s, self.drift = noise, bias, startup_s, drift
        self.core = CheckedCore() if checked else Core()
        self.now_s, self.offered, self.started, self.polled_s = 1000.0, 0, 0, 0.0
        self.going: dict[str, Going] = {}
        self.run = run or Run(id="r")
        self.changes: list[Change] = []
        self.done_at: list[tuple[float, float]] = []  #: when each ended, and the work done by then
        self.worked_s = self.held_s = 0.0
        size = places * 2 * GIB
        device = budget(total=size, reserve=0, promise=2 * GIB)
        self.say(Found(at_s=self.now_s, budgets=(device,)))
        self.say(Joined(at_s=self.now_s, run=self.run))
        self.poll()

    def say(self, event: Event) -> None:
        for action in self.core.handle(event):
            if isinstance(action, Start):
                self.start(action.attempt)
            elif isinstance(action, Note):
                self.changes.append(action.change)

    def start(self, attempt: Attempt) -> None:
        self.started += 1
        lasts_s = self.lasts_s * self.random.lognormvariate(0, self.spread)
        count = self.reports or 20
        going = Going(
            attempt=attempt,
            begins_s=self.startup_s,
            reports=count,
            every_s=lasts_s / count,
            next_s=0.0,
        )
        going.next_s = self.step_s(going)
        self.going[attempt.id] = going
        for one in self.going.values():
            one.pace = self.random.lognormvariate(0, self.bias)
        process = Process(pid=attempt.trial.number + 1, started_ticks=1)
        self.say(Started(at_s=self.now_s, attempt=attempt.id, process=process))

    def step_s(self, going: Going) -> float:
        drift = 1 + self.drift * going.made / going.reports
        return going.every_s * drift * self.random.lognormvariate(0, self.noise)

    def offer(self) -> None:
        while self.offered < self.started + 2:
            trial = Trial(run=self.run.id, number=self.offered)
            self.offered += 1
            self.say(Offered(at_s=self.now_s, trial=trial))

    def poll(self) -> None:
        self.polled_s = self.now_s
        held = {one.attempt.trial.number + 1: 2 * GIB for one in self.going.values()}
        used = sum(held.values())
        self.say(
            Sampled(
                at_s=self.now_s,
                readings=(reading(used, held, key=CARD, total=self.places * 2 * GIB),),
            )
        )

    def until(self, trials: int) -> None:
        """Until so many have finished."""
        while len(self.done_at) < trials:
            self.step()

    def step(self) -> None:
        """Until the next report, end, beginning or poll."""
        self.offer()
        working = [one for one in self.going.values() if one.begins_s <= 0]
        count = len(working)
        speed = self.total(count) / count if count else 0.0
        next_s = [self.polled_s + POLL_S - self.now_s]
        next_s += [one.begins_s for one in self.going.values() if one.begins_s > 0]
        next_s += [one.next_s / (speed * one.pace) for one in working]
        step_s = max(0.0, min(next_s))
        self.now_s += step_s
        self.worked_s += step_s * self.total(count)
        for one in list(self.going.values()):
            if one.begins_s > 0:
                one.begins_s = one.begins_s - step_s if one.begins_s - step_s > 1e-6 else 0.0
            else:
                one.next_s -= step_s * speed * one.pace
                if one.next_s <= 1e-6:
                    self.report(one)
        if self.now_s >= self.polled_s + POLL_S - 1e-6:
            self.poll()

    def report(self, one: Going) -> None:
        one.made += 1
        id, over = one.attempt.id, one.made >= one.reports
        if self.reports and (over or self.now_s - one.told_s >= TELL_S):
            one.told, one.told_s = one.made, self.now_s
            self.say(Progressed(at_s=self.now_s, attempt=id, reports=one.made))
        one.next_s = self.step_s(one)
        if over:
            del self.going[id]
            self.done_at.append((self.now_s, self.worked_s))
            for other in self.going.values():
                other.pace = self.random.lognormvariate(0, self.bias)
            self.say(Exited(at_s=self.now_s, attempt=id, evidence=DONE))
            self.polled_s = self.now_s + 1.0 - POLL_S  # its memory is seen to be back

    def mean_total(self, first: int, last: int) -> float:
        """Of the device, between the ends of two of its trials."""
        (start_s, before), (end_s, after) = self.done_at[first - 1], self.done_at[last - 1]
        return (after - before) / (end_s - start_s)
