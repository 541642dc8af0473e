"""Narrowed ranges: how soon a good trial is found with them, as a ratio to a cold start.

    python -m bench.strategies.ranges TABLES.npz [--seeds 20]

On a file of several tasks with the same configurations, each task is started with the ranges of
the one before it; without a file, on functions whose optimum has moved a little. Misleading are the
ranges of an earlier study that looked for the *worst*. Good is the table's best 1 %; the count is
of trials, none is pruned. A study that finds none in time counts with all of its trials.
"""

from __future__ import annotations

import argparse
import io
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import optuna
from optuna.distributions import FloatDistribution

from bench.measure import verdict
from bench.strategies.tables import Table, read
from scheduler.machine.runs import RunStatus
from scheduler.strategies.asked import Asked, RangesAsked
from scheduler.strategies.ranges import Limits, limits_of, table
from scheduler.study.board import Board
from scheduler.study.keeping.record import Record
from scheduler.study.serving.quota import Quota
from scheduler.study.strategies.changes import Changes
from scheduler.study.strategies.narrowing import Narrowing
from scheduler.study.strategies.plain import seen
from scheduler.study.strategies.scene import Scene

TRIALS = 200  #: at most
EARLIER = 100  #: of the study that ranges are taken from

Ranges = dict[str, Limits]


@dataclass(frozen=True, kw_only=True)
class Task:
    """``run`` gives a trial its parameters and returns its value, larger is better."""

    name: str
    space: dict[str, FloatDistribution]
    start: Callable[[], Callable[[optuna.Trial], float]]
    good: float  #: a value as good as the best 1 %


def of_table(it: Table) -> Task:
    """The nearest configuration that has not been used yet runs in the place of what is asked."""
    space = {f"p{k}": FloatDistribution(0, 1) for k in range(it.cfg.shape[1])}

    def start() -> Callable[[optuna.Trial], float]:
        free = np.ones(len(it.cfg), bool)

        def run(trial: optuna.Trial) -> float:
            wish = np.array([trial.suggest_float(name, 0, 1) for name in space])
            distance = np.where(free, ((it.cfg - wish) ** 2).sum(axis=1), np.inf)
            config = int(distance.argmin())
            free[config] = False
            for (name, distribution), value in zip(space.items(), it.cfg[config], strict=True):
                trial.storage.set_trial_param(trial._trial_id, name, float(value), distribution)
            return float(it.ends[config])

        return run

    return Task(name=it.name, space=space, start=start, good=float(it.ends[it.top(0.01)].min()))


def synthetic(shift: float, parameters: int = 6, seed: int = 5) -> Task:
    """A bowl with ripples; the last two parameters do nothing. *shift* moves the best place."""
    rng = np.random.default_rng(seed)
    best = np.clip(rng.uniform(0.15, 0.85, parameters) + shift, 0, 1)
    space = {f"p{k}": FloatDistribution(0, 1) for k in range(parameters)}

    def value(at: np.ndarray) -> np.ndarray:
        off = (at - best)[..., : parameters - 2]
        return -(off**2).sum(axis=-1) + 0.02 * np.cos(12 * off).sum(axis=-1)

    def start() -> Callable[[optuna.Trial], float]:
        return lambda t: float(value(np.array([t.suggest_float(name, 0, 1) for name in space])))

    sample = value(rng.random((100_000, parameters)))
    return Task(
        name=f"bowl {shift:+.2f}", space=space, start=start, good=float(np.quantile(sample, 0.999))
    )


def scene(study: optuna.Study, limits: Ranges, folder: Path, run: str) -> Scene:
    status = RunStatus(run=run, state="running", host_pid=0, updated_at_s=0.0)
    board = Board(folder / "status.json", status, io.StringIO())
    given = msgspec.to_builtins(limits)
    return Scene(
        asked=Asked(ranges=RangesAsked(use=bool(limits), table=given)),
        study=study,
        record=Record(study, run, 0),
        quota=Quota(None, None),
        board=board,
        changes=Changes(run, board, ()),
        folder=folder,
        has_own_pruner=False,
        has_own_sampler=True,
        earlier=False,
    )


def search(
    task: Task, limits: Ranges, seed: int, trials: int, folder: Path, sign: float = 1.0
) -> optuna.Study:
    """Until a value is as good as the task's, or *trials* are done.

    *sign* -1.0: for the worst, and all trials.
    """
    sampler = optuna.samplers.TPESampler(seed=seed)
    study = optuna.create_study(direction="maximize", sampler=sampler)
    narrowing = Narrowing(scene(study, limits, folder, f"seed-{seed}"))
    narrowing.begin()
    run = task.start()
    for _ in range(trials):
        trial = study.ask()
        value = run(trial)
        told = sign * value if np.isfinite(value) else -1e9 * sign
        narrowing.finished(study.tell(trial, told))
        if value >= task.good and trials == TRIALS:
            break
    narrowing.end()
    return study


def ranges_of(task: Task, seed: int, folder: Path, *, turned: bool) -> Ranges:
    """Where the best quarter of an earlier study lay; of one for the worst where it is *turned*."""
    study = search(task, {}, seed, EARLIER, folder, -1.0 if turned else 1.0)
    return limits_of(table(seen(study.get_trials(deepcopy=False), 1.0)))


def compare(pairs: Sequence[tuple[Task, Task]], seeds: int, folder: Path) -> dict[str, Any]:
    """Trials until good, by kind of start; the ranges come from the first of each pair."""
    found: dict[str, list[float]] = {"cold": [], "with ranges": [], "misleading": []}
    for earlier, task in pairs:
        counts: dict[str, list[int]] = {name: [] for name in found}
        for seed in range(seeds):
            starts = {
                "cold": {},
                "with ranges": ranges_of(earlier, 1000 + seed, folder, turned=False),
                "misleading": ranges_of(earlier, 1000 + seed, folder, turned=True),
            }
            for name, limits in starts.items():
                counts[name].append(len(search(task, limits, seed, TRIALS, folder).trials))
        medians = {name: statistics.median(them) for name, them in counts.items()}
        print(
            f"{task.name:28}"
            + "".join(
                f"  {name} {middle:5.1f} ({middle / medians['cold']:.2f})"
                for name, middle in medians.items()
            ),
            flush=True,
        )
        for name, middle in medians.items():
            found[name].append(middle / medians["cold"])
    return found


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("file", type=Path, nargs="?")
    parser.add_argument("--seeds", type=int, default=20)
    given = parser.parse_args()
    warnings.simplefilter("ignore")
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    tasks = [synthetic(shift) for shift in (0.0, 0.05, 0.1)]
    if given.file is not None:
        tasks = [of_table(one) for one in read(given.file)]
    pairs = list(zip(tasks, tasks[1:] or tasks, strict=False))
    began = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        ratios = compare(pairs, given.seeds, Path(folder))
    misleading, helped = (statistics.median(ratios[k]) for k in ("misleading", "with ranges"))
    print(f"{time.perf_counter() - began:.0f} s")
    verdict("trials with an earlier task's ranges, to cold", helped, "1 or less", helped <= 1)
    verdict("trials with misleading ranges, to cold", misleading, "1.15", misleading <= 1.15)


if __name__ == "__main__":
    main()
