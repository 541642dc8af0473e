"""What ``report`` and ``should_prune`` cost in an attempt, and what a trial costs beside them.

Against the same script under plain Python, on the same kind of SQLite storage, one trial at a time.
Wanted: not slower than 1.5 times at the median, and under 50 ms a trial beside plain Optuna's own.

    python bench/report_cost.py
"""

from __future__ import annotations

import statistics
import sys

import measure

TRIALS = 30
REPORTS = 30
EMPTY_TRIALS = 100  #: without a report: what is left is the trial itself
SCRIPT = """
import sys, time
import optuna

optuna.logging.set_verbosity(optuna.logging.WARNING)

def objective(trial):
    x = trial.suggest_float("x", 0, 1)
    took = []
    for step in range(int(sys.argv[4])):
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
        ways = {
            "plain Optuna": [sys.executable, str(script)],
            "in an attempt": [*measure.SCHEDULER, "run", "--max-trials", "1", str(script)],
        }
        pairs, trials = {}, {}
        for number, (way, command) in enumerate(ways.items()):
            url = f"sqlite:///{folder}/{number}"
            for kind, count, reports in (("pairs", TRIALS, REPORTS), ("empty", EMPTY_TRIALS, 0)):
                times = folder / f"{number}.{kind}"
                asked = [str(times), f"{url}-{kind}.db", str(count), str(reports)]
                measure.run([*command, *asked], environment, folder)
            pairs[way] = [float(took) for took in (folder / f"{number}.pairs").read_text().split()]
            total = float((folder / f"{number}.empty.total").read_text().split()[1])
            trials[way] = total / EMPTY_TRIALS
    for way, took in pairs.items():
        print(f"report + should_prune, {way}: {measure.spread(took)}")
    for way, mean in trials.items():
        print(f"a trial without reports, {way}: {mean * 1e3:.3g} ms")
    plain, ours = (statistics.median(took) for took in pairs.values())
    measure.verdict("attempt / plain Optuna", ours / plain, "at most 1.5", ours <= 1.5 * plain)
    plain, ours = trials.values()
    extra_ms = (ours - plain) * 1e3
    measure.verdict("more a trial, ms", extra_ms, "under 50", extra_ms < 50)


if __name__ == "__main__":
    main()
