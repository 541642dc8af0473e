"""24 trials of 0.3 to 1.5 GB of real memory under a budget of 4 GB of host RAM.

Against plain Optuna with n_jobs=1 and n_jobs=2, the compute being sleep, so that only memory
decides. Wanted: no trial lost, at least 3 times the throughput of n_jobs=1.

    python bench/host_ram.py
"""

from __future__ import annotations

import sys

import measure
import psutil

TRIALS = 24
BUDGET_BYTES = 4 << 30
SCRIPT = """
import sys, time
import optuna

def objective(trial):
    size = trial.suggest_float("size", 0.3e9, 1.5e9)
    block = bytearray()
    for step in range(8):  # memory grows as training's does
        block.extend(bytes(int(size / 8)))
        time.sleep(0.5)
    return len(block) / 1e9

study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=7))
study.optimize(objective, n_trials=int(sys.argv[1]), n_jobs=int(sys.argv[2]))
states = [trial.state.name for trial in study.trials]
assert states.count("COMPLETE") == int(sys.argv[1]), states
"""


def main() -> None:
    memory = psutil.virtual_memory()
    strangers = memory.total - memory.available
    reserve = memory.total - strangers - BUDGET_BYTES
    if reserve < 0:
        raise SystemExit(f"needs {BUDGET_BYTES >> 30} GiB of free memory")
    with measure.workplace() as (folder, environment):
        script = folder / "train.py"
        script.write_text(SCRIPT)
        took = {}
        for jobs in ("1", "2"):
            plain = [sys.executable, str(script), str(TRIALS), jobs]
            took[f"plain Optuna, n_jobs={jobs}"] = measure.run(plain, environment, folder)
        options = ["--reserve", str(reserve), "--memory-per-trial", "900MiB", "--max-trials", "8"]
        ours = [*measure.SCHEDULER, "run", *options, str(script), str(TRIALS), "1"]
        took["scheduler run"] = measure.run(ours, environment, folder)
    for way, seconds in took.items():
        print(f"{way}: {seconds:.1f} s, {TRIALS / seconds * 3600:.0f} trials an hour")
    base = took["plain Optuna, n_jobs=1"]
    ratio = base / took["scheduler run"]
    measure.verdict("times n_jobs=1", ratio, "at least 3", ratio >= 3)
    print(f"        n_jobs=2 is {base / took['plain Optuna, n_jobs=2']:.3g} times n_jobs=1")


if __name__ == "__main__":
    main()
