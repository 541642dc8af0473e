"""``scheduler status`` as a whole process, with a supervisor and a run that is alive.

Wanted: under 200 ms, and neither Optuna, numpy nor torch imported. Beside it a bare interpreter.

    python bench/status_time.py
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import time

import measure

TIMES = 15
HEAVY = ("optuna", "numpy", "torch")
SCRIPT = """
import time, optuna

def objective(trial):
    time.sleep(60)
    return trial.suggest_float("x", 0, 1)

optuna.create_study().optimize(objective, n_trials=4)
"""


def main() -> None:
    with (
        measure.workplace() as (folder, environment),
        measure.going(SCRIPT, folder, environment),
    ):
        wait_until_running(environment)
        status = [*measure.SCHEDULER, "status"]
        bare = [sys.executable, "-c", "pass"]
        took = [measure.run(status, environment, folder) for _ in range(TIMES)]
        base = [measure.run(bare, environment, folder) for _ in range(TIMES)]
        listing = subprocess.run(
            [sys.executable, "-X", "importtime", *status[1:]],
            env=environment,
            capture_output=True,
            text=True,
            check=True,
        ).stderr
    imported = {line.rsplit("|", 1)[-1].strip().split(".")[0] for line in listing.splitlines()}
    heavy = sorted(imported & set(HEAVY))
    print(f"scheduler status: {measure.spread(took)}")
    print(f"python -c pass:   {measure.spread(base)}")
    middle_ms = statistics.median(took) * 1e3
    measure.verdict("median, ms", middle_ms, "under 200", middle_ms < 200)
    measure.verdict(f"heavy modules imported {heavy}", len(heavy), "0", not heavy)


def wait_until_running(environment: dict[str, str]) -> None:
    deadline_s = time.monotonic() + 30
    while time.monotonic() < deadline_s:
        told = subprocess.run(
            [*measure.SCHEDULER, "status"], env=environment, capture_output=True, text=True
        ).stdout
        if "  running\n" in told:  # the run's heading; no supervisor is "running" either
            return
        time.sleep(0.2)
    raise SystemExit(f"nothing runs:\n{told}")


if __name__ == "__main__":
    main()
