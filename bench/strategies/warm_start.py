"""Warm start: how soon a good trial is found with an earlier study's best, to a cold start.

    python -m bench.strategies.warm_start TABLES.npz [--seeds 20]

On a file of several tasks with the same configurations, each task starts from a TPE study of 100
trials on the task before it; without a file, on generated ones whose optimum moves. What is tried
first is chosen, written down and enqueued as a run does it. Misleading are that study's worst: they
cost as many trials as there are, so where a cold start needs ten trials five of them are much. Good
is a completed run in the table's best 1 %; time is in trials, none is pruned. A study that finds
none in time counts with all of its trials.
"""

from __future__ import annotations

import argparse
import statistics
import time
import warnings
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import optuna
from optuna.samplers import TPESampler
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from bench.measure import verdict
from bench.strategies.methods import Never
from bench.strategies.simulate import Study
from bench.strategies.tables import Table, noise, read, table
from scheduler.strategies.asked import WarmStartAsked
from scheduler.study.keeping.record import Record
from scheduler.study.strategies.first_settings import Source, enqueue, plan
from scheduler.study.strategies.known_results import KnownResults

TRIALS = 200  #: at most
EARLIER = 100  #: of the study that settings are taken from
TOP = 5

Start = Callable[[optuna.Study, Source, Study], None]


def moved(tasks: int = 3, configs: int = 1000, steps: int = 10) -> Iterator[Table]:
    """Related tasks: the same configurations, an optimum that moves by 5 % of each range."""
    rng = np.random.default_rng(4)
    cfg = rng.random((configs, 8))
    for task in range(tasks):
        best = np.array([0.3, 0.6, 0.5, 0.4, 0.2, 0.7, 0.5, 0.6]) + 0.05 * task
        ends = 1 - np.sqrt(((cfg - best) ** 2).sum(axis=1))
        curves = ends[:, None] * (1 - np.exp(-5 * np.linspace(0.1, 1, steps)))
        yield table(f"moved {task}", "maximize", curves + noise(rng, curves.shape, 0.01), cfg)


def new_study(it: Table, seed: int) -> tuple[optuna.Study, Study]:
    study = optuna.create_study(direction=it.direction, sampler=TPESampler(seed=seed))
    return study, Study(table=it, judge=Never(), study=study)


def trials_to_good(it: Table, work: Study, trials: int) -> int:
    """How many ran until one was among the best; *trials* where none was."""
    good = it.top(0.01)
    for number in range(trials):
        ran = work.start(number)
        while ran.state == "running":
            work.advance(ran)
        if good[ran.config]:
            return number + 1
    return trials


def earlier(it: Table, seed: int) -> list[FrozenTrial]:
    study, work = new_study(it, 1000 + seed)
    work.run(EARLIER)
    return study.get_trials(deepcopy=False)


def cold(study: optuna.Study, source: Source, work: Study) -> None: ...


def best(study: optuna.Study, source: Source, work: Study) -> None:
    decided = plan(study, WarmStartAsked(top=TOP), source)
    enqueue(Record(study, "bench", 0), decided)


def best_and_known(study: optuna.Study, source: Source, work: Study) -> None:
    """The values are another task's: what is measured is whether that does harm."""
    best(study, source, work)
    known = KnownResults(study, source.id, source.name, source.trials)
    known.show(dict(work.space))
    while known.is_at_work:
        known.work()


def worst(study: optuna.Study, source: Source, work: Study) -> None:
    (direction,) = source.directions
    turned = (
        StudyDirection.MINIMIZE if direction == StudyDirection.MAXIMIZE else StudyDirection.MAXIMIZE
    )
    best(study, Source(source.name, source.id, source.trials, (turned,)), work)


STARTS: dict[str, Start] = {
    "cold": cold,
    "best": best,
    "best + known": best_and_known,
    "misleading": worst,
}


def compare(tables: list[Table], seeds: int) -> dict[str, list[float]]:
    """By start the ratio of the medians over the seeds to a cold start, one a pair of tasks."""
    ratios: dict[str, list[float]] = defaultdict(list)
    print(f"{'task':34}" + "".join(f"{name:>14}" for name in STARTS), "  median trials to good")
    for before, here in zip(tables, [*tables[1:], tables[0]], strict=True):
        took: dict[str, list[int]] = defaultdict(list)
        for seed in range(seeds):
            trials = [t for t in earlier(before, seed) if t.state == TrialState.COMPLETE]
            for name, start in STARTS.items():
                study, work = new_study(here, seed)
                start(study, Source("before", "before", trials, tuple(study.directions)), work)
                took[name].append(trials_to_good(here, work, TRIALS))
        medians = {name: statistics.median(found) for name, found in took.items()}
        print(f"{here.name:34}" + "".join(f"{medians[name]:14g}" for name in STARTS), flush=True)
        for name in STARTS:
            ratios[name].append(medians[name] / medians["cold"])
    return ratios


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("file", type=Path, nargs="?")
    parser.add_argument("--seeds", type=int, default=20)
    given = parser.parse_args()
    warnings.simplefilter("ignore")
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    tables = list(moved()) if given.file is None else read(given.file)
    began_s = time.perf_counter()
    ratios = {
        name: statistics.median(found) for name, found in compare(tables, given.seeds).items()
    }
    print(f"{time.perf_counter() - began_s:.0f} s; to a cold start: {ratios}")
    helped, hurt = ratios["best"], ratios["misleading"]
    verdict("trials with an earlier task's best five, to cold", helped, "0.6", helped <= 0.6)
    verdict("trials with its worst five, to cold", hurt, "1.15", hurt <= 1.15)


if __name__ == "__main__":
    main()
