"""How much is promised beyond a trial's peak, and how often too little, as a search goes on.

Wanted: on the mixed workload at 50 trials a median over-promise (promise / peak - 1) of at most
12 % while at least 98 % of the peaks are not exceeded. Each forecast is made before its trial is
seen, for the 100 trials that follow the given number; median and mean over the seeds. In each a
search that draws evenly, and one that comes to like a place. Refitting: the slowest of the adds.

    python bench/forecast.py [seeds] [workload...]
"""

from __future__ import annotations

import itertools
import statistics
import sys
import time
from pathlib import Path

import measure
from forecast_loads import LOADS, trials

sys.path.insert(0, str(Path(__file__).parents[1]))
from scheduler.core.forecast import Forecaster, Observation

SEEDS = 10
COUNTS = (10, 20, 30, 50, 100)
AFTER = 100  #: trials judged after each count; after 10 and 20 it is up to the next
TRIALS = 200
MOST_OVER = 0.12
LEAST_COVERAGE = 0.98
REFIT_MS = 50.0

Told = tuple[float, bool]  #: promise / peak, whether by the model


def main() -> None:
    seeds = int(sys.argv[1]) if len(sys.argv) > 1 else SEEDS
    wanted = sys.argv[2:] or list(LOADS)
    print(f"{'':25}over-promise % / kept %, by the model, from trial")
    print(f"{'':25}" + "".join(f"{count:>16}" for count in COUNTS) + "   slowest add, ms")
    for name in wanted:
        for narrows in (False, True):
            runs = [followed(name, seed, narrows=narrows) for seed in range(seeds)]
            slowest_ms = max(ms for _, ms in runs)
            tell(name, [told for told, _ in runs], slowest_ms, narrows=narrows)
    refit()


def followed(name: str, seed: int, *, narrows: bool) -> tuple[list[Told | None], float]:
    """What was promised for each trial; the slowest observation, ms."""
    forecaster, told, slowest = Forecaster(promise_bytes=6 << 30), [], 0.0
    for params, peak in itertools.islice(trials(LOADS[name], seed, narrows=narrows), TRIALS):
        said = forecaster.forecast(params)
        told.append(None if said is None else (said.bytes / peak, said.level == "model"))
        began = time.process_time()
        forecaster.add(Observation(params=params, bytes=peak))
        slowest = max(slowest, time.process_time() - began)
    return told, slowest * 1e3


def tell(name: str, runs: list[list[Told | None]], slowest_ms: float, *, narrows: bool) -> None:
    cells, over, kept = [], 0.0, 0.0
    for count in COUNTS:
        end = {10: 20, 20: 50}.get(count, count + AFTER)
        parts = [[one for one in run[count:end] if one] for run in runs]
        over = statistics.median(statistics.median(r - 1 for r, _ in part) for part in parts)
        kept = statistics.fmean(r >= 1 for part in parts for r, _ in part)
        model = statistics.fmean(by for part in parts for _, by in part)
        cells.append(f"{over * 100:6.1f}/{kept * 100:5.1f}/{model * 100:3.0f}")
        if name == "mixed" and count == 50:
            wanted = over, kept
    title = f"{name}, {'narrowing' if narrows else 'even'}"
    print(f"{title:25}{''.join(f'{cell:>16}' for cell in cells)}{slowest_ms:10.0f}", flush=True)
    if name == "mixed":
        over, kept = wanted
        measure.verdict(f"{title}, over-promise", over, "at most 0.12", over <= MOST_OVER)
        measure.verdict(f"{title}, coverage", kept, "at least 0.98", kept >= LEAST_COVERAGE)


def refit() -> None:
    """At 300 observations."""
    forecaster, took = Forecaster(promise_bytes=None), []
    for number, (params, peak) in enumerate(
        itertools.islice(trials(LOADS["mixed"], 0, narrows=True), 340)
    ):
        began = time.process_time()
        forecaster.add(Observation(params=params, bytes=peak))
        if number >= 300:
            took.append((time.process_time() - began) * 1e3)
    slow = sorted(took)[-2:]
    measure.verdict("a refit at 300 observations, ms", slow[0], "under 50", slow[0] < REFIT_MS)


if __name__ == "__main__":
    main()
