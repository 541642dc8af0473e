"""The scripts that ``bench.packing.real`` runs, and how much their trials hold.

A trial writes one line when it ends: its number, when it began and ended (seconds since 1970), and
how long it is alone (seconds); null where it ran out of memory.
"""

from __future__ import annotations

import random

import msgspec

GIB = 1 << 30
HOST_TRAIN = """
import json, sys, time

def train(number, batch, width):
    began = time.time()
    size = int(60e6 + 340e6 * (batch / 128) * (width / 1024))
    blocks, span = [], 1.5 + 2.5 * width / 1024
    try:
        for step in range(20):
            if step < 4:
                blocks.append(b"x" * (size // 4))  # written to, so that it is really held
            time.sleep(span / 20)
    except MemoryError:
        blocks, span = [], None
        raise
    finally:
        with open({log!r}, "a") as file:
            file.write(json.dumps([number, began, time.time(), span]) + "\\n")
    return float(batch)
"""
CARD_TRAIN = """
import json, sys, time
from tests.emulated import gpu

GIB = 1 << 30

def train(number, batch, width):
    began = time.time()
    size = int(GIB * (1.5 + 7.5 * (batch / 128) * (width / 1024)))
    span = 1 + 1.5 * width / 1024
    try:
        for step in range(20):
            if step < 4:
                gpu.hold(size * (step + 1) // 4)
            time.sleep(span / 20)
    except gpu.OutOfMemoryError:
        span = None
        raise
    finally:
        gpu.release()  # the next trial may be in the same process
        with open({log!r}, "a") as file:
            file.write(json.dumps([number, began, time.time(), span]) + "\\n")
    return float(batch)
"""
STUDY = """
import multiprocessing, optuna, resource

SETTINGS = json.load(open({settings!r}))
n_jobs, limit = int(sys.argv[1]), sys.argv[2]

def apart(*asked):
    try:
        return train(*asked)
    except gpu.OutOfMemoryError as error:  # cannot be pickled: its module is not there
        return str(error)

pool = None
if limit == "processes":  # plain Optuna on a card: what a trial holds is told by process
    pool = multiprocessing.get_context("fork").Pool(n_jobs)
elif limit != "none":  # plain Optuna: its one process holds all trials
    now = next(line for line in open("/proc/self/status") if line.startswith("VmData"))
    most = int(now.split()[1]) * 1024 + int(limit)
    resource.setrlimit(resource.RLIMIT_DATA, (most, most))

def objective(trial):
    batch = trial.suggest_categorical("batch", [16, 32, 64, 96, 128])
    width = trial.suggest_int("width", 64, 1024, step=64)
    trial.suggest_float("lr", 1e-5, 1e-1, log=True)
    if pool is None:
        return train(trial.number, batch, width)
    value = pool.apply(apart, (trial.number, batch, width))
    if isinstance(value, str):
        raise MemoryError(value)
    return value

study = optuna.create_study()
for setting in SETTINGS:
    study.enqueue_trial(setting)
study.optimize(objective, n_trials=len(SETTINGS), n_jobs=n_jobs, catch=(MemoryError,))
"""
RAY = """
import os
os.environ["RAY_AIR_NEW_OUTPUT"] = "0"
import ray
from ray import tune

SETTINGS = json.load(open({settings!r}))
slots, cards = int(sys.argv[1]), int(sys.argv[2])
ray.init(num_cpus=slots, num_gpus=cards, include_dashboard=False, log_to_driver=False,
         logging_level="ERROR", object_store_memory=100 * 1024 * 1024)

def objective(config):
    one = SETTINGS[config["number"]]
    train(config["number"], one["batch"], one["width"])
    return {{"done": 1}}

tuner = tune.Tuner(
    tune.with_resources(objective, {{"cpu": 1, "gpu": cards / slots}}),
    param_space={{"number": tune.grid_search(list(range(len(SETTINGS))))}},
    tune_config=tune.TuneConfig(reuse_actors=True),
    run_config=tune.RunConfig(storage_path={storage!r}, verbose=0),
)
tuner.fit()
ray.shutdown()
"""


class World(msgspec.Struct, frozen=True, kw_only=True):
    """Where the trials hold memory, and what each way is told there."""

    train: str  #: source of the trial
    least_bytes: float  #: of a trial
    more_bytes: float  #: at most, by two parameters
    budget_bytes: int  #: for all trials together
    limit: str  #: of plain Optuna, the script's second argument
    cards: int  #: that Ray is told of

    def peak_bytes(self, setting: dict[str, float]) -> float:
        return self.least_bytes + self.more_bytes * setting["batch"] / 128 * setting["width"] / 1024


def host() -> World:
    """1 GiB of the host's RAM."""
    return World(
        train=HOST_TRAIN,
        least_bytes=60e6,
        more_bytes=340e6,
        budget_bytes=GIB,
        limit=str(GIB),
        cards=0,
    )


def card(free_bytes: int) -> World:
    """An emulated card of which so much is free."""
    return World(
        train=CARD_TRAIN,
        least_bytes=1.5 * GIB,
        more_bytes=7.5 * GIB,
        budget_bytes=free_bytes,
        limit="processes",
        cards=1,
    )


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
