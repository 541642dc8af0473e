"""The workloads, each from a seed. What a trial needs only the world and the clairvoyant know."""

from __future__ import annotations

from collections.abc import Callable
from itertools import count

import msgspec
import numpy as np

from bench.packing.case import (
    DESKTOP_BYTES,
    FAST,
    GIB,
    RAMP,
    SLOW,
    SPIKE,
    Case,
    Curve,
    network,
)
from scheduler.simulate.workload import Job

TRIALS = 200
DRIFT = 1.5  #: what the same parameters need in the second half, as if the data had grown
GAME_BYTES = 6 * GIB
GAME_LOADS_S, GAME_S, GAME_EVERY_S = 30, 2400.0, 9000.0


def founding(seed: int) -> Case:
    """The founding user's: 6 GB and 14.7 minutes each, a trial alone using 55 % of the GPU."""
    random = np.random.default_rng(seed)
    jobs = (
        Job(
            params={"lr": float(10 ** random.uniform(-5, -2)), "gamma": random.uniform(0.9, 1)},
            peak_bytes=int(6 * GIB * (1 + 0.02 * random.uniform(-1, 0))),
            curve=((0.0, 0.2), (0.13, 1.0), (1.0, 1.0)),
            duration_s=882.0 * (1 + 0.05 * random.uniform(-1, 1)),
            use=0.55,
        )
        for _ in range(100)
    )
    return Case(name="founding", jobs=tuple(jobs))


def mixed(seed: int, *, curve: Curve = RAMP, cards: int = 1, name: str = "mixed") -> Case:
    """Trials of 1.5 to 9 GB by their parameters; on several cards as many more."""
    random = np.random.default_rng(seed)
    trials = TRIALS * max(1, cards // 2)
    return Case(
        name=name,
        jobs=tuple(network(random, curve=curve) for _ in range(trials)),
        cards=(16 * GIB,) * cards,
    )


def slow(seed: int) -> Case:
    return mixed(seed, curve=SLOW, name="slow ramp")


def fast(seed: int) -> Case:
    return mixed(seed, curve=FAST, name="fast ramp")


def spikes(seed: int) -> Case:
    """Two thirds of the peak all along, and the whole of it near the end."""
    return mixed(seed, curve=SPIKE, name="spikes")


def four(seed: int) -> Case:
    return mixed(seed, cards=4, name="4 cards")


def eight(seed: int) -> Case:
    return mixed(seed, cards=8, name="8 cards")


def heavy(seed: int) -> Case:
    """Most are small and short, few are big or long, and every 25th needs twice what its
    parameters say."""
    random, number, jobs = np.random.default_rng(seed), count(1), []
    for _ in range(TRIALS):
        batch = int(2 ** min(9, random.geometric(0.45) + 2))
        unlucky = 2.0 if next(number) % 25 == 0 else 1.0
        size = (1.2 + 3.3 * batch / 256) * unlucky * (1 + 0.02 * random.uniform(-1, 1))
        jobs.append(
            Job(
                params={"batch": batch, "lr": float(10 ** random.uniform(-5, -1))},
                peak_bytes=int(min(size, 12.5) * GIB),
                curve=RAMP,
                duration_s=float(min(14400, random.lognormal(np.log(600), 1.0))),
                use=float(random.uniform(0.3, 0.7)),
            )
        )
    return Case(name="heavy tail", jobs=tuple(jobs))


def drift(seed: int) -> Case:
    """From the middle on the same parameters need half as much again; nobody is told."""
    base, after = mixed(seed), TRIALS // 2
    jobs = [
        job
        if number < after
        else msgspec.structs.replace(job, peak_bytes=min(int(DRIFT * job.peak_bytes), 13 * GIB))
        for number, job in enumerate(base.jobs)
    ]
    return msgspec.structs.replace(base, name="drift", jobs=tuple(jobs))


def stranger(seed: int) -> Case:
    """A game of 6 GB beside the desktop, forty minutes long, every two and a half hours."""
    random, steps, at_s = np.random.default_rng(seed + 1000), [(0.0, DESKTOP_BYTES)], 0.0
    for _ in range(30):
        at_s += GAME_EVERY_S * random.uniform(0.6, 1.4)
        for second in range(1, GAME_LOADS_S + 1):
            steps.append((at_s + second, DESKTOP_BYTES + GAME_BYTES * second // GAME_LOADS_S))
        at_s += GAME_S * random.uniform(0.6, 1.4)
        steps.append((at_s, DESKTOP_BYTES))
    base = mixed(seed)
    return msgspec.structs.replace(base, name="stranger", strangers=tuple(steps))


def contention(seed: int) -> Case:
    """Small trials that keep the GPU busy: memory bears seven, the GPU two.

    By the extrapolated law: 1.44 times one alone with two, 1.32 with three, 1 with four.
    """
    random = np.random.default_rng(seed)
    jobs = (
        Job(
            params={"hidden": (hidden := int(random.integers(1, 5)) * 32)},
            peak_bytes=int((1.4 + 0.4 * hidden / 128) * GIB * (1 + 0.02 * random.uniform(-1, 1))),
            curve=FAST,
            duration_s=600.0 * (1 + hidden / 64) * (1 + 0.05 * random.uniform(-1, 1)),
            steps=60,
            use=1.0,
        )
        for _ in range(100)
    )
    return Case(name="contention", jobs=tuple(jobs))


WORKLOADS: dict[str, Callable[[int], Case]] = {
    "founding": founding,
    "mixed": mixed,
    "heavy": heavy,
    "slow": slow,
    "fast": fast,
    "spikes": spikes,
    "drift": drift,
    "stranger": stranger,
    "four": four,
    "eight": eight,
    "contention": contention,
}
