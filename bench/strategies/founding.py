"""The founding user's search, each of its accelerations switched on one after another.

    python -m bench.strategies.founding TABLE.npz [TABLE.npz ...] [--seeds 20]

An RX 7900 GRE (16 GB) with a desktop on it, trials of 14.7 minutes and about 6 GB, 1,000 of them:
10.2 days one after another. The trials are recorded learning curves (``tables`` says what a file
holds), the sampler and the pruner are the real ones, the clock is virtual. How many fit is the real
core's word on an emulated card.

Two at once slow each other: together they do ``min(2, 2.24 - 0.40 U)`` times the work of
one, U being the sum of what each uses of the GPU alone. That is fitted on 1,091 measured pairs
(RMSE 0.15) of other people's cards; nothing of it was measured on this one. More than two at once
would be extrapolation, and is not done here.
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from statistics import median

from bench.strategies.methods import METHODS
from bench.strategies.simulate import Outcome, simulate
from bench.strategies.tables import Table, read
from probes.reading import Device
from scheduler import loop
from scheduler.core.actions import Action, Settle, Start
from scheduler.core.core import Core
from scheduler.core.events import Event
from scheduler.core.model import Budget, Run, Trial
from scheduler.simulate import Card, Script, SimulatedWorld

TRIAL_MIN, PLANNED, BUDGET = 14.7, 1000, 400
CARD_BYTES, DESKTOP_BYTES, TRIAL_BYTES = 16 * 10**9, int(1.2e9), int(5.8e9)
PROMISE_BYTES, RESERVE_BYTES = 6 * 10**9, int(1.6e9)
ALONE = (0.35, 0.55, 0.90)  #: of the GPU, used by a trial that is alone
WANTED_DAYS = 1.5  #: at 0.55
DAY_MIN = 24 * 60


class Company:
    """Follows a simulated card, and keeps how many attempts ran at once, at most."""

    def __init__(self, world: SimulatedWorld) -> None:
        self.world, self.now, self.most = world, 0, 0

    def next_event(self) -> Event | None:
        return self.world.next_event()

    def perform(self, action: Action) -> None:
        self.now += isinstance(action, Start) - isinstance(action, Settle)
        self.most = max(self.most, self.now)
        self.world.perform(action)


class Forgetful:
    def append(self, event: Event) -> None: ...


def at_once() -> int:
    """How many of the user's trials the core has run side by side on their card."""
    device = Device(
        key="0000:03:00.0",
        kind="gpu",
        name="RX 7900 GRE",
        total_bytes=CARD_BYTES,
        source="amdgpu",
        because="",
    )
    budget = Budget(
        device=device,
        reserve_bytes=RESERVE_BYTES,
        promise_bytes=PROMISE_BYTES,
        max_attempts=None,
    )
    script = Script(peak_bytes=TRIAL_BYTES, ramp_s=120.0, run_s=TRIAL_MIN * 60)
    world = SimulatedWorld(
        cards=[Card(budget=budget, strangers=((0.0, DESKTOP_BYTES),))],
        runs=[Run(id="r")],
        trials=[(Trial(run="r", number=number), script) for number in range(8)],
    )
    company = Company(world)
    loop.run(Core(), company, Forgetful())
    return company.most


def throughput(count: int, alone: float) -> float:
    """Of *count* trials at once, in trials alone."""
    return 1.0 if count == 1 else min(2.0, 2.24 - 0.40 * 2 * alone)


def days(outcome: Outcome, alone: float) -> float:
    """How long a simulated study takes; its workers make their steps together."""
    company: Counter[int] = Counter()
    for one in outcome.ran:
        assert one.ended_at is not None
        company.update(range(one.ended_at - one.steps_done, one.ended_at))
    step_min = TRIAL_MIN / outcome.table.steps
    spent = sum(step_min * count / throughput(count, alone) for count in company.values())
    return spent / DAY_MIN


def study(table: Table, method: str, seed: int, workers: int) -> Outcome:
    return simulate(
        table, METHODS[method], trials=min(BUDGET, len(table.curves)), seed=seed, workers=workers
    )


def show(table: Table, seeds: int) -> bool:
    """Prints a table; whether what was wanted is reached."""
    fit = at_once()
    print(f"\n{table.name}: {len(table.curves)} configurations, {table.steps} reports a trial")
    print(f"the card takes {fit} trials of {TRIAL_BYTES / 1e9:.1f} GB beside the desktop\n")
    plain = [study(table, "none", seed, 1) for seed in range(seeds)]
    side = [study(table, "none", seed, fit) for seed in range(seeds)]
    pruned = [study(table, "auto", seed, fit) for seed in range(seeds)]
    good = True
    whole = PLANNED * TRIAL_MIN / DAY_MIN
    for alone in ALONE:
        rows = (
            (f"{PLANNED} trials, one at a time", whole, 1.0, None),
            (f"{BUDGET} trials", _days(plain, alone), 2.5, plain),
            (f"{fit} at once by memory", _days(side, alone), 1.8, side),
            ("auto pruning with its controls", _days(pruned, alone), 2.5, pruned),
        )
        print(f"a trial alone uses {alone:.0%} of the GPU")
        print(f"  {'':36}{'days':>6}{'factor':>8}{'planned':>9}   best value, median")
        before = whole
        for name, took, planned, outcomes in rows:
            value = "" if outcomes is None else f"{_value(outcomes):.4g}"
            print(f"  {name:36}{took:6.2f}{before / took:7.2f}x{planned:8.1f}x   {value}")
            before = took
        print(f"  {'in all':36}{before:6.2f}{whole / before:7.2f}x{2.5 * 1.8 * 2.5:8.1f}x")
        if alone == 0.55:
            good = before <= WANTED_DAYS
            print(f"  wanted: at most {WANTED_DAYS} days: {'met' if good else 'MISSED'}")
    as_good = _as_good(plain, pruned)
    print(f"at the value of {BUDGET} trials that are not pruned: {as_good}")
    return good


def _days(outcomes: Sequence[Outcome], alone: float) -> float:
    return median(days(outcome, alone) for outcome in outcomes)


def _value(outcomes: Sequence[Outcome]) -> float:
    turn = 1 if outcomes[0].table.direction == "maximize" else -1
    return turn * median(outcome.best() for outcome in outcomes)


def _as_good(plain: Sequence[Outcome], ours: Sequence[Outcome]) -> str:
    """Ranks among the table's ends say more than values, whose scale is the table's own."""
    ends = sorted(plain[0].table.ends, reverse=True)
    ranks = [(ends.index(a.best()), ends.index(b.best())) for a, b in zip(plain, ours, strict=True)]
    same = sum(mine <= theirs for theirs, mine in ranks)
    return (
        f"{same} of {len(ranks)} seeds as good or better; the best was configuration "
        f"{median(mine for _, mine in ranks) + 1:g} of {len(ends)} in the median, "
        f"{median(theirs for theirs, _ in ranks) + 1:g} without pruning"
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("tables", nargs="+", type=Path)
    parser.add_argument("--seeds", type=int, default=20)
    asked = parser.parse_args()
    print("The plan's factors are 2.5 x 1.8 x 2.5 = 11.2x. They do not simply multiply: the pair's")
    print("gain depends on how much of the GPU a trial uses, and pruning saves less the better the")
    print("sampler's trials are, and nothing of the first trials and of its controls.")
    results = [show(table, asked.seeds) for path in asked.tables for table in read(path)]
    return 0 if all(results) else 1


if __name__ == "__main__":
    raise SystemExit(main())
