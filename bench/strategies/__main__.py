"""Pruning on recorded learning curves: what is reached, what it costs, what the audit says of it.

    python -m bench.strategies [TABLES.npz ...] [--trials 100 200] [--seeds 20] [--workers 1]

The kinds of file are in ``tables``; ``train_tables`` makes some. The generated traps are always
among them. Real Optuna studies with its default TPE sampler on a virtual clock. Reached: a trial
that ran to its end is in the table's best 1 %. Compute: steps, as a share of those of as many
trials without pruning; controls count. False: of pruned trials, those that would have ended in the
study's best decile, or better than all before. Covered: the audit's interval has that share in it.
"""

from __future__ import annotations

import argparse
import itertools
import math
import os
import statistics
import warnings
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from multiprocessing import Pool
from pathlib import Path

import msgspec
import numpy as np

from bench.measure import verdict
from bench.strategies.methods import METHODS, Ours
from bench.strategies.simulate import Outcome, simulate
from bench.strategies.tables import Table, generated, read
from scheduler.strategies.audit import DECILE, audit

BEHIND = 1.05  #: of the best of Optuna's pruners that reach the target as often


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """One study."""

    compute: float
    reached_at: int | None  #: steps of the virtual clock; None: not reached
    false: float | None  #: None: nothing was pruned
    covered: bool | None  #: None: there is no audit
    notches: int = 0  #: that pruning was milder at the end


def rows_of(
    table: Table, name: str, seed: int, workers: int, counts: Sequence[int]
) -> dict[int, Row]:
    """A row for each number of trials. A warning of Optuna's says nothing here.

    With one worker a shorter study is the beginning of a longer one, and is not run again.
    """
    warnings.simplefilter("ignore")
    wanted = [count for count in counts if count <= len(table.curves)]
    runs = [max(wanted)] if workers == 1 and wanted else wanted
    outcomes = {
        run: simulate(table, METHODS[name], trials=run, seed=seed, workers=workers) for run in runs
    }
    return {count: row_of(outcomes.get(count, outcomes[runs[-1]]), count) for count in wanted}


def row_of(whole: Outcome, count: int) -> Row:
    """Of the first *count* trials."""
    outcome = replace(whole, ran=whole.ran[:count])
    false = false_share(outcome)
    covered, notches = None, 0
    if isinstance(judge := outcome.judge, Ours):
        summary = audit(judge.history[:count], outcome.table.direction)
        covered = false is None or summary.low <= false <= summary.high
        notches = judge.notch_after(count)
    return Row(
        compute=outcome.compute(),
        reached_at=outcome.reached_at(),
        false=false,
        covered=covered,
        notches=notches,
    )


def false_share(outcome: Outcome) -> float | None:
    """Of all prune verdicts that were carried out; known from the table. None: there were none."""
    ends = outcome.table.ends[[one.config for one in outcome.ran]]
    bar = np.sort(ends)[-math.ceil(DECILE * len(ends))]
    best, false, pruned = -math.inf, 0, 0
    for one, end in zip(outcome.ran, ends, strict=True):
        if one.state == "pruned":
            pruned += 1
            false += bool(end >= bar or end > best)
        else:
            best = max(best, end)
    return false / pruned if pruned else None


def line(name: str, rows: Sequence[Row]) -> str:
    """Medians of the studies with one method."""
    reached = [row.reached_at for row in rows]
    false = [row.false for row in rows if row.false is not None]
    at = statistics.median(math.inf if one is None else one for one in reached)
    said = (
        f"  {name:14s} reached {sum(one is not None for one in reached):3d}/{len(rows)}"
        f"  compute {compute(rows):.2f}  first at step {at:<6.0f}"
        f"  false {statistics.mean(false) if false else 0:.3f}"
    )
    covered = [row.covered for row in rows if row.covered is not None]
    if covered:
        milder = sum(row.notches > 0 for row in rows)
        said += f"  covered {sum(covered)}/{len(covered)}  made milder {milder}/{len(rows)}"
    return said


def compute(rows: Sequence[Row]) -> float:
    return statistics.median(row.compute for row in rows)


def reached(rows: Sequence[Row]) -> int:
    return sum(row.reached_at is not None for row in rows)


def judge_table(table: Table, methods: dict[str, list[Row]]) -> None:
    """The numbers that are wanted of one table."""
    ours, plain = methods["auto"], methods["none"]
    verdict("reached, to no pruning", reached(ours) / max(1, reached(plain)), ">= 1",
            reached(ours) >= reached(plain))  # fmt: skip
    least = 0.33 if table.direction == "minimize" else 0.55
    if not table.is_trap:
        verdict("compute, to no pruning", compute(ours), f"<= {least}", compute(ours) <= least)
    rivals = [
        compute(rows)
        for name, rows in methods.items()
        if name not in ("auto", "none") and reached(rows) >= reached(ours)
    ]
    if rivals:
        behind = compute(ours) / min(rivals)
        verdict("compute, to the best of Optuna's that reaches as often", behind,
                f"<= {BEHIND}", behind <= BEHIND)  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(prog="bench.strategies")
    parser.add_argument("files", nargs="*", type=Path)
    parser.add_argument("--trials", nargs="+", type=int, default=[100, 200])
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--methods", nargs="+", choices=list(METHODS), default=list(METHODS))
    asked = parser.parse_args()
    tables = [table for file in asked.files for table in read(file)] + generated()
    covered: list[bool] = []
    with Pool(os.cpu_count()) as pool:
        for table in tables:
            jobs = list(itertools.product(asked.methods, range(asked.seeds)))
            given = [(table, name, seed, asked.workers, asked.trials) for name, seed in jobs]
            found: dict[int, dict[str, list[Row]]] = defaultdict(lambda: defaultdict(list))
            for (name, _), rows in zip(
                jobs, pool.starmap(rows_of, given, chunksize=1), strict=True
            ):
                for count, row in rows.items():
                    found[count][name].append(row)
            for count, methods in found.items():
                print(f"{table.name}, {count} trials, {asked.workers} at once", flush=True)
                for name, rows in methods.items():
                    print(line(name, rows), flush=True)
                    covered += [row.covered for row in rows if row.covered is not None]
                if {"auto", "none"} <= methods.keys():
                    judge_table(table, methods)
    if covered:
        share = sum(covered) / len(covered)
        verdict("audits whose interval has the true share in it", share, ">= 0.93", share >= 0.93)


if __name__ == "__main__":
    main()
