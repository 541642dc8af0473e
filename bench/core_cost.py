"""What an event costs the core, by its kind, with 10, 100 and 1,000 attempts running; and how long
a million events of a simulated search take, the simulated machine included.

Four attempts a device, eight runs whose hosts each keep three trials waiting, every trial with a
forecast of its own. A Sampled is a whole poll, so it is shown for each device. CPU time, so that
what else the machine does counts little. Wanted: under 1 ms at the median for one event at 1,000
attempts on 256 devices, and a million events in under 60 s.

    python bench/core_cost.py            [--profile: where the time goes, of the second]
"""

from __future__ import annotations

import cProfile
import math
import pstats
import random
import sys
import time
from collections import defaultdict
from itertools import count

import measure

from probes.reading import Device, Held, Reading
from scheduler.core.actions import Action, Start
from scheduler.core.core import Core
from scheduler.core.events import (
    Event,
    Exited,
    Found,
    Joined,
    Offered,
    Progressed,
    Sampled,
    Saved,
    Started,
    Withdrawn,
)
from scheduler.core.model import Attempt, Budget, Evidence, Process, Run, Trial
from scheduler.loop import run
from scheduler.simulate import Card, Script, SimulatedWorld

GIB = 1 << 30
TOTAL_BYTES = 18 * GIB
PEAK_BYTES = 3 * GIB  #: what an attempt holds; forecasts lie around a third above
A_DEVICE = 4
RUNS = 8
WAITING = 3  #: of each run
ROUNDS = 200
DONE = Evidence(outcome="complete", exit_code=0)
SIMULATED = 2_000  #: trials of the simulated search


class Machine:
    """Devices and hosts as the core hears of them: all full, and as many waiting as there are."""

    def __init__(self, attempts: int) -> None:
        self.core = Core()
        self.now_s = 1000.0
        self.took_s: dict[str, list[float]] = defaultdict(list)
        self.running: dict[str, Attempt] = {}
        self.pids: dict[str, int] = {}
        self.keys = [f"card{n:03}" for n in range(math.ceil(attempts / A_DEVICE))]
        self.offered = [0] * RUNS
        self.rng = random.Random(1)
        self.core.handle(Found(at_s=self.now_s, budgets=tuple(map(budget, self.keys))))
        for number in range(RUNS):
            self.core.handle(Joined(at_s=self.now_s, run=Run(id=f"run{number}")))
        self.poll()
        for number in range(attempts + RUNS * WAITING):
            self.offer(number % RUNS)

    def handle(self, event: Event, kind: str | None = None) -> tuple[Action, ...]:
        """Of a *kind* of its own where an attempt started, as that is one more decision."""
        self.now_s += 0.001
        began_s = time.process_time()
        actions = self.core.handle(event)
        took_s = time.process_time() - began_s
        begun = [action.attempt for action in actions if isinstance(action, Start)]
        name = kind or type(event).__name__
        self.took_s[f"{name}, starts one" if begun and kind is None else name].append(took_s)
        for attempt in begun:
            self.running[attempt.id] = attempt
            self.pids[attempt.id] = pid = 10_000 + len(self.pids)
            process = Process(pid=pid, started_ticks=pid)
            self.handle(Started(at_s=self.now_s, attempt=attempt.id, process=process))
        return actions

    def offer(self, number: int) -> None:
        self.offered[number] += 1
        want = int(PEAK_BYTES * self.rng.uniform(1.15, 1.45))
        trial = Trial(run=f"run{number}", number=self.offered[number], want_bytes=want)
        self.handle(Offered(at_s=self.now_s, trial=trial))

    def poll(self) -> None:
        trees: dict[str, list[Held]] = {key: [] for key in self.keys}
        for id, attempt in self.running.items():
            trees[attempt.device].append(Held(pid=self.pids[id], held_bytes=PEAK_BYTES))
        readings = tuple(
            Reading(
                device=key,
                total_bytes=TOTAL_BYTES,
                used_bytes=PEAK_BYTES * len(held),
                held=tuple(held),
            )
            for key, held in trees.items()
        )
        self.handle(Sampled(at_s=self.now_s, readings=readings), kind="Sampled")

    def go_round(self) -> None:
        """One attempt reports and saves, ends, its memory is back, another trial starts."""
        id = self.rng.choice(list(self.running))
        self.handle(Progressed(at_s=self.now_s, attempt=id, reports=7))
        self.handle(Saved(at_s=self.now_s, attempt=id, saved_at_s=self.now_s))
        attempt = self.running.pop(id)
        self.handle(Exited(at_s=self.now_s, attempt=id, evidence=DONE))
        self.now_s += 1.0
        self.poll()
        number = int(attempt.trial.run.removeprefix("run"))
        self.offer(number)
        withdrawn = Withdrawn(at_s=self.now_s, run=f"run{number}", trial=self.offered[number])
        self.handle(withdrawn)
        self.offer(number)


def budget(key: str) -> Budget:
    device = Device(
        key=key, kind="amd", name=key, total_bytes=TOTAL_BYTES, source="bench", because=""
    )
    return Budget(device=device, reserve_bytes=GIB, promise_bytes=6 * GIB, max_attempts=None)


def events_cost() -> None:
    """The times of each kind for each number of attempts, and the verdict on the largest."""
    for attempts in (10, 100, 1000):
        machine = Machine(attempts)
        machine.took_s.clear()
        for _ in range(ROUNDS):
            machine.go_round()
        devices = len(machine.keys)
        print(f"\n{len(machine.running)} attempts on {devices} devices")
        polls = machine.took_s.pop("Sampled")
        worst_s = 0.0
        for kind, took in sorted(machine.took_s.items()):
            print(f"  {kind + ':':24} {measure.spread(took, 'us', 1e6)}")
            worst_s = max(worst_s, sorted(took)[len(took) // 2])
        print(f"  {'Sampled, each device:':24} {measure.spread(polls, 'us', 1e6 / devices)}")
    print()
    measure.verdict("one event of the costliest kind, ms", worst_s * 1e3, "under 1", worst_s < 1e-3)


class Counting(Core):
    """Its own journal, which only counts."""

    def __init__(self) -> None:
        super().__init__()
        self.events: dict[str, int] = defaultdict(int)

    def append(self, event: Event) -> None:
        self.events[type(event).__name__] += 1


class Search(SimulatedWorld):
    """A run of trials of mixed sizes, each with its forecast, of which three wait at any time."""

    def __init__(self) -> None:
        super().__init__(cards=[Card(budget=budget("card"))], runs=[Run(id="r")])
        self.rng = random.Random(2)
        self.left = count()
        for _ in range(WAITING):
            self.offer_next()

    def offer_next(self) -> None:
        number = next(self.left)
        if number < SIMULATED:
            peak, run_s = int(self.rng.uniform(1.5, 9) * GIB), self.rng.uniform(60, 600)
            trial = Trial(run="r", number=number, want_bytes=int(1.1 * peak))
            ramp_s = self.rng.uniform(5, 60)
            self.bind(trial, Script(peak_bytes=peak, ramp_s=ramp_s, run_s=run_s))
            self.offer(trial)

    def perform(self, action: Action) -> None:
        super().perform(action)
        if isinstance(action, Start):
            self.offer_next()


def simulated_cost(*, profiled: bool) -> None:
    world, core, profile = Search(), Counting(), cProfile.Profile()
    began_s = time.process_time()
    if profiled:
        profile.enable()
    run(core, world, core)
    profile.disable()
    took_s = time.process_time() - began_s
    if profiled:
        pstats.Stats(profile).sort_stats("tottime").print_stats(25)
    events = sum(core.events.values())
    mix = ", ".join(f"{count} {kind}" for kind, count in sorted(core.events.items()))
    print(f"\n{events} events in {took_s:.1f} s: {mix}")
    million_s = took_s / events * 1e6
    measure.verdict("a million simulated events, s", million_s, "under 60", million_s < 60)


if __name__ == "__main__":
    events_cost()
    simulated_cost(profiled="--profile" in sys.argv)
