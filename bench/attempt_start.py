"""How long from the decision to start an attempt until the objective's first line.

Forked, with torch (where it is installed) and Optuna imported by the script, against a cold start
of the same script by plain Python. Wanted: at least 20 times faster, under 100 ms at the median.

    python bench/attempt_start.py
"""

from __future__ import annotations

import statistics
import sys
import time

import measure

TRIALS = 20
COLD = 5
SCRIPT = """
import sys, time
try:
    import torch
except ImportError:
    pass
import optuna

def objective(trial):
    now_s = time.time()
    go = getattr(trial.study.sampler, "_go", None)  # what an attempt is told by its host
    with open(sys.argv[1], "a") as file:
        print(now_s - go.attempt.started_at_s if go else now_s, file=file)
    return trial.suggest_float("x", 0, 1)

optuna.create_study().optimize(objective, n_trials=int(sys.argv[2]))
"""


def main() -> None:
    with measure.workplace() as (folder, environment):
        script, lines = folder / "train.py", folder / "lines.txt"
        script.write_text(SCRIPT)
        cold = []
        for _ in range(COLD):
            began = time.time()
            measure.run([sys.executable, str(script), str(lines), "1"], environment, folder)
            cold.append(float(lines.read_text().split()[-1]) - began)
        lines.unlink()
        options = ["run", "--memory-per-trial", "64MiB", "--max-trials", "1"]
        command = [*measure.SCHEDULER, *options, str(script), str(lines), str(TRIALS)]
        measure.run(command, environment, folder)
        warm = [float(took) for took in lines.read_text().split()]
    print(f"cold start of the script: {measure.spread(cold)}")
    print(f"forked attempt:           {measure.spread(warm)}")
    ratio = statistics.median(cold) / statistics.median(warm)
    middle_ms = statistics.median(warm) * 1e3
    measure.verdict("times faster than cold", ratio, "at least 20", ratio >= 20)
    measure.verdict("median start, ms", middle_ms, "under 100", middle_ms < 100)


if __name__ == "__main__":
    main()
