"""Made-up trainings for the tests of forecasts: parameters, and the peak that follows from them."""

from __future__ import annotations

import random
from collections.abc import Iterator

from scheduler.core.forecast import Forecaster, Observation

GB = 10**9
COPIES = {"sgd": 2, "adam": 4}


def params(chance: random.Random) -> dict[str, float | int | str | bool | None]:
    return {
        "batch": chance.choice((16, 32, 64, 128, 256)),
        "width": round(2 ** chance.uniform(6, 10)),
        "optimizer": chance.choice(tuple(COPIES)),
        "lr": 10 ** chance.uniform(-5, -1),
    }


def peak(of: dict[str, float | int | str | bool | None], chance: random.Random) -> int:
    """1.3 to 9 GB, with a noise of 2 %."""
    batch, width = float(of["batch"] or 0), float(of["width"] or 0)
    held = 1.3 + 5 * batch / 256 * width / 1024 + 0.6 * COPIES[str(of["optimizer"])] * width / 1024
    return int(held * GB * chance.gauss(1, 0.02))


def trials(seed: int, count: int, times: float = 1.0, version: str = "") -> Iterator[Observation]:
    """*times*: as much memory as usual."""
    chance = random.Random(seed)
    for _ in range(count):
        drawn = params(chance)
        yield Observation(params=drawn, bytes=int(times * peak(drawn, chance)), version=version)


def told(*seen: Observation, promise_bytes: int | None = None, share: float = 0.02) -> Forecaster:
    forecaster = Forecaster(promise_bytes=promise_bytes, overrun_share=share)
    for one in seen:
        forecaster.add(one)
    return forecaster
