"""How long from the decision to start an attempt until the objective's first line.

Forked, with torch (where it is installed) and Optuna imported by the script, against a cold start
of the same script by plain Python. Wanted: at least 20 times faster, under 100 ms at the median.

    python bench/attempt_start.py
"""

from __future__ import annotations

import json
import statistics
import sys
import time

import measure

TRIALS = 20
COLD = 5
SCRIPT = """
import os, sys, time
try:
    import torch
except ImportError:
    pass
import optuna

def objective(trial):
    with open(sys.argv[1], "a") as file:
        print(os.environ.get("SCHEDULER_ATTEMPT", "cold"), time.time(), file=file)
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
        options = ["run", "--memory-per-trial", "64MiB", "--max-trials", str(TRIALS)]
        command = [*measure.SCHEDULER, *options, str(script), str(lines), str(TRIALS)]
        measure.run(command, environment, folder)
        measure.wait_until_gone(folder / "state")
        first_line = {
            name.split("/")[1].split(".")[0]: float(at_s)
            for name, at_s in (line.split() for line in lines.read_text().splitlines())
        }
        warm = [first_line[trial] - at_s for trial, at_s in decisions(folder).items()]
    print(f"cold start of the script: {measure.spread(cold)}")
    print(f"forked attempt:           {measure.spread(warm)}")
    ratio = statistics.median(cold) / statistics.median(warm)
    middle_ms = statistics.median(warm) * 1e3
    measure.verdict("times faster than cold", ratio, "at least 20", ratio >= 20)
    measure.verdict("median start, ms", middle_ms, "under 100", middle_ms < 100)


def decisions(folder: object) -> dict[str, float]:
    """When each trial was decided on: all fit at once here, so each starts when it is offered."""
    journals = list((measure.Path(str(folder)) / "state").glob("journal*.jsonl"))
    events = [json.loads(line) for path in journals for line in path.read_text().splitlines()]
    return {
        str(event["trial"]["number"]): event["at_s"]
        for event in events
        if event.get("type") == "Offered" and event["trial"]["number"] < TRIALS
    }


if __name__ == "__main__":
    main()
