"""How well memory is used, against what one would use instead and against knowing everything.

    python -m bench.packing [--seeds 10] [--workloads mixed drift] [--contention measured|one|none]

On a virtual clock, with the real core and the real forecasts; about a quarter of an hour. What is
told of a rival is what its rule does with the same trials on the same cards: Optuna and Ray Tune
themselves run in ``bench.packing.real``. The exit code is 1 where something was missed.

Contention is a law fitted on measured pairs of other people's cards; for more than two at once it
is an extrapolation. "none": memory alone decides, nobody slows anybody down. "one": together they
do what one does alone.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import time
from collections.abc import Sequence
from multiprocessing import Pool

from bench.measure import verdict
from bench.packing.table import WANTED, Seed, seed_of, show
from bench.packing.wall import Walls, walls
from bench.packing.workloads import WORKLOADS

WALL = "wall"


def main() -> None:
    options = _options()
    pairs = [
        (name, law)
        for name, law in WANTED
        if name in options.workloads and options.contention in (None, law)
    ]
    if options.contention is not None:  # also where nothing is wanted of it
        asked = [(name, options.contention) for name in options.workloads if name != WALL]
        pairs = list(dict.fromkeys([*pairs, *asked]))
    met, began = True, time.monotonic()
    with Pool(options.processes) as pool:
        for name, law in pairs:
            seeds = pool.starmap(seed_of, [(name, seed, law) for seed in range(options.seeds)])
            met &= judge(name, law, seeds)
        if WALL in options.workloads:
            met &= judge_walls(pool.map(walls, range(options.seeds)))
    print(f"\n{time.monotonic() - began:.0f} s")
    sys.exit(0 if met else 1)


def judge(name: str, law: str, seeds: Sequence[Seed]) -> bool:
    show(name, law, seeds)
    judged = [one.judge(name, seeds) for one in WANTED.get((name, law), ())]
    return all(judged)


def judge_walls(seeds: Sequence[Walls]) -> bool:
    print(f"\nwall, {len(seeds)} seeds (medians); TPE asks")
    late = statistics.median(one.late_out for one in seeds)
    again = statistics.median(one.swapped_largest for one in seeds)
    print(
        f"  attempts of trials 51 to 100 out of memory "
        f"{statistics.median(one.late_attempts_out for one in seeds):.1%}, refused unrun "
        f"{statistics.median(one.refused for one in seeds):.0f}, largest that finished "
        f"{statistics.median(one.largest for one in seeds):.1%} of the card; on the larger card "
        f"{statistics.median(one.swapped_out for one in seeds):.1%} out of memory, stopped early "
        f"{sum(one.stopped is not None for one in seeds)}"
    )
    verdict("wall, of trials 51 to 100 out of memory", late, "at most 0.05", late <= 0.05)
    verdict("wall, largest after the swap, of the card", again, "at least 0.9", again >= 0.9)
    return late <= 0.05 and again >= 0.9


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    names = [*WORKLOADS, WALL]
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--workloads", nargs="+", choices=names, default=names)
    parser.add_argument("--contention", choices=("measured", "one", "none"), default=None)
    parser.add_argument("--processes", type=int, default=os.cpu_count())
    return parser.parse_args()


if __name__ == "__main__":
    main()
