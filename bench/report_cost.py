"""What ``report`` and ``should_prune`` cost in an attempt, and a trial in all.

Against the same script under plain Python, on the same kind of SQLite storage. Wanted: not slower
than 1.5 times at the median, and under 50 ms a trial beside plain Optuna's own.

    python bench/report_cost.py
"""

from __future__ import annotations

import statistics
import sys

import measure

TRIALS = 30
SCRIPT = """
import sys, time
import optuna

optuna.logging.set_verbosity(optuna.logging.WARNING)

def objective(trial):
    x = trial.suggest_float("x", 0, 1)
    took = []
    for step in range(30):
        began = time.perf_counter()
        trial.report(x + 1 / (step + 1), step)
        trial.should_prune()
        took.append(time.perf_counter() - began)
    with open(sys.argv[1], "a") as file:
        print(*took, file=file)
    return x

study = optuna.create_study(storage=sys.argv[2], pruner=optuna.pruners.MedianPruner())
began = time.perf_counter()
study.optimize(objective, n_trials=int(sys.argv[3]))
print("TOOK", time.perf_counter() - began, file=open(sys.argv[1] + ".total", "w"))
"""


def main() -> None:
    with measure.workplace() as (folder, environment):
        script = folder / "train.py"
        script.write_text(SCRIPT)
        pairs, totals = {}, {}
        ways = {
            "plain Optuna": [sys.executable, str(script)],
            "in an attempt": [*measure.SCHEDULER, "run", "--max-trials", "1", str(script)],
        }
        for way, command in ways.items():
            times = folder / f"{way}.txt"
            url = f"sqlite:///{folder}/{way.replace(' ', '-')}.db"
            measure.run([*command, str(times), url, str(TRIALS)], environment, folder)
            pairs[way] = [float(took) for took in times.read_text().split()]
            totals[way] = float((folder / f"{way}.txt.total").read_text().split()[1]) / TRIALS
    for way, took in pairs.items():
        print(f"report + should_prune, {way}: {measure.spread(took)}")
    for way, total in totals.items():
        print(f"a trial with 30 reports, {way}: {total * 1e3:.3g} ms")
    plain, ours = (statistics.median(took) for took in pairs.values())
    measure.verdict("attempt / plain Optuna", ours / plain, "at most 1.5", ours <= 1.5 * plain)
    plain, ours = totals.values()
    extra_ms = (ours - plain) * 1e3
    measure.verdict("more a trial, ms", extra_ms, "under 50", extra_ms < 50)


if __name__ == "__main__":
    main()
