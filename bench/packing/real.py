"""The same comparison with real processes and real memory: host RAM, of which 1 GiB may be used.

    python -m bench.packing.real [--ray PYTHON] [--trials 40]

40 trials of 60 to 400 MB by two of their parameters, a few seconds each, which they sleep: so only
memory decides. Against plain Optuna with ``n_jobs`` 1, 2, 3, whose process may hold no more than
that GiB either, and against the real Ray Tune with the fraction that its largest trial needs, where
PYTHON is an interpreter that has ``ray[tune]``; its actors are used again, so that a trial starts
at once there as well. Timed from the first trial's begin to the last one's end, so that nobody's
start is counted. The exit code is 1 where something was missed.
"""

from __future__ import annotations

import argparse
import json
import random
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import msgspec
import psutil

from bench import measure

BUDGET_BYTES = 1 << 30
SETTLED_AFTER = 15  #: trials, after which a forecast may be asked for more
OBJECTIVE = """
import json, sys, time

def train(number, batch, width):
    began = time.time()
    size = int(60e6 + 340e6 * (batch / 128) * (width / 1024))
    blocks, span = [], 1.5 + 2.5 * width / 1024
    for step in range(20):
        if step < 4:
            blocks.append(b"x" * (size // 4))  # written to, so that it is really held
        time.sleep(span / 20)
    with open({log!r}, "a") as file:
        file.write(json.dumps([number, began, time.time(), span]) + "\\n")
    return float(batch)
"""
STUDY = (
    OBJECTIVE
    + """
import optuna, resource

SETTINGS = json.load(open({settings!r}))
n_jobs, budget = int(sys.argv[1]), int(sys.argv[2])
if budget:  # plain Optuna: its one process holds all trials
    now = next(line for line in open("/proc/self/status") if line.startswith("VmData"))
    most = int(now.split()[1]) * 1024 + budget
    resource.setrlimit(resource.RLIMIT_DATA, (most, most))

def objective(trial):
    batch = trial.suggest_categorical("batch", [16, 32, 64, 96, 128])
    width = trial.suggest_int("width", 64, 1024, step=64)
    trial.suggest_float("lr", 1e-5, 1e-1, log=True)
    return train(trial.number, batch, width)

study = optuna.create_study()
for setting in SETTINGS:
    study.enqueue_trial(setting)
study.optimize(objective, n_trials=len(SETTINGS), n_jobs=n_jobs, catch=(MemoryError,))
"""
)
RAY = (
    OBJECTIVE
    + """
import os
os.environ["RAY_AIR_NEW_OUTPUT"] = "0"
import ray
from ray import tune

SETTINGS = json.load(open({settings!r}))
slots = int(sys.argv[1])
ray.init(num_cpus=slots, include_dashboard=False, log_to_driver=False, logging_level="ERROR",
         object_store_memory=100 * 1024 * 1024)

def objective(config):
    one = SETTINGS[config["number"]]
    train(config["number"], one["batch"], one["width"])
    return {{"done": 1}}

tuner = tune.Tuner(
    tune.with_resources(objective, {{"cpu": 1}}),
    param_space={{"number": tune.grid_search(list(range(len(SETTINGS))))}},
    tune_config=tune.TuneConfig(reuse_actors=True),
    run_config=tune.RunConfig(storage_path={storage!r}, verbose=0),
)
tuner.fit()
ray.shutdown()
"""
)


class Way(msgspec.Struct, frozen=True, kw_only=True):
    """What became of the trials one way. Seconds are between the first begin and the last end."""

    took_s: float
    done: int
    late_rate: float  #: seconds of work a second, after the first trials


def settings(count: int) -> list[dict[str, float]]:
    chance = random.Random(11)
    return [
        {
            "batch": chance.choice((16, 32, 64, 96, 128)),
            "width": 64 * chance.randint(1, 16),
            "lr": 10 ** chance.uniform(-5, -1),
        }
        for _ in range(count)
    ]


def peak_bytes(setting: dict[str, float]) -> float:
    return 60e6 + 340e6 * setting["batch"] / 128 * setting["width"] / 1024


def read(log: Path) -> Way:
    """Of what the trials wrote down; one that did not end well wrote nothing."""
    lines = [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []
    lines.sort(key=lambda line: line[2])
    began_s, ended_s = min(line[1] for line in lines), lines[-1][2]
    from_s = lines[SETTLED_AFTER - 1][2]
    late = sum(max(0.0, min(1.0, (end - from_s) / (end - began))) * span
               for _, began, end, span in lines)  # fmt: skip
    return Way(took_s=ended_s - began_s, done=len(lines), late_rate=late / (ended_s - from_s))


def main() -> None:
    options = _options()
    asked = settings(options.trials)
    with measure.workplace() as (folder, environment):
        table = folder / "settings.json"
        table.write_text(json.dumps(asked))
        ways: dict[str, Way] = {}

        def run(name: str, source: str, before: Sequence[str], after: Sequence[str]) -> None:
            log, script = folder / f"{len(ways)}.jsonl", folder / f"train{len(ways)}.py"
            named = {"log": str(log), "settings": str(table), "storage": str(folder / "ray")}
            script.write_text(source.format(**named))
            measure.run([*before, str(script), *after], environment, folder)
            ways[name] = read(log)
            told = ways[name]
            print(
                f"{name:24s}{told.took_s:7.1f} s  {told.done / told.took_s * 3600:6.0f} trials"
                f" an hour  {told.late_rate:5.2f} x alone after {SETTLED_AFTER} trials"
                f"  lost {len(asked) - told.done}",
                flush=True,
            )

        for jobs in ("1", "2", "3"):
            run(f"Optuna, n_jobs={jobs}", STUDY, [sys.executable], [jobs, str(BUDGET_BYTES)])
        run("scheduler run", STUDY, [*measure.SCHEDULER, "run", *_asked()], ["1", "0"])
        slots = int(BUDGET_BYTES // max(map(peak_bytes, asked)))
        if options.ray is None:
            print("Ray Tune                not run: give --ray an interpreter that has ray[tune]")
        elif (why := _cannot_ray(options.ray)) is not None:
            print(f"Ray Tune                not run: {why}")
        else:
            run(f"Ray Tune, 1/{slots} each", RAY, [options.ray], [str(slots)])
    sys.exit(0 if judge(ways, options.trials) else 1)


def judge(ways: dict[str, Way], trials: int) -> bool:
    """Throughput after the first trials, from which sizes are learned, against the others' then."""
    ours = ways["scheduler run"]
    measure.verdict("trials lost", trials - ours.done, "0", ours.done == trials)
    met = ours.done == trials
    for name, least in (("Optuna, n_jobs=1", 2.5), ("Ray Tune", 1.6)):
        for other, way in ways.items():
            if other.startswith(name):
                ratio = ours.late_rate / way.late_rate
                measure.verdict(f"times {other}", ratio, f"at least {least}", ratio >= least)
                met = met and ratio >= least
    return met


def _asked() -> list[str]:
    """Of our run: what is kept free, so that the budget is what is left."""
    memory = psutil.virtual_memory()
    reserve = memory.available - BUDGET_BYTES
    if reserve < 0:
        raise SystemExit("needs 1 GiB of free memory")
    return ["--reserve", str(reserve), "--memory-per-trial", "450MB", "--max-trials", "16"]


def _cannot_ray(python: str) -> str | None:
    done = subprocess.run(
        [python, "-c", "from ray import tune"], text=True, capture_output=True, check=False
    )
    return None if done.returncode == 0 else (done.stderr.strip() or "?").splitlines()[-1]


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--ray", metavar="PYTHON", default=None)
    parser.add_argument("--trials", type=int, default=40)
    return parser.parse_args()


if __name__ == "__main__":
    main()
