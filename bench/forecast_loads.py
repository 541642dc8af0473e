"""Trials to forecast: parameters and the peaks that follow from them. Made up, not recorded.

Memory of a training is what is there anyway, activations (batch x width x depth) and weights with
what the optimizer keeps for each. A search draws evenly at first, or comes to like a place as it
goes on, as TPE does.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterator
from typing import Any

GB = 1e9
Params = dict[str, Any]
Draw = Callable[[str, float, float], float]  #: name, from, to: a place between
Load = Callable[[random.Random, "Place", int], tuple[Params, float]]

STATES = {"sgd": 2.0, "momentum": 3.0, "adam": 4.0}  #: copies of the weights


class Place:
    """Where in the unit cube the next trial is drawn: all over it, or more and more around a point.

    Not TPE itself: four in five are drawn around the point with a spread of 0.15, after 10 trials.
    """

    def __init__(self, chance: random.Random, *, narrows: bool) -> None:
        self.chance = chance
        self.narrows = narrows
        self.near = False
        self.liked: dict[str, float] = {}

    def begin(self, number: int) -> None:
        self.near = self.narrows and number >= 10 and self.chance.random() < 0.8
        for name in self.liked:  # it wanders, to large values in the end
            step = self.chance.gauss(0.01, 0.03)
            self.liked[name] = min(1.0, max(0.0, self.liked[name] + step))

    def unit(self, name: str) -> float:
        liked = self.liked.setdefault(name, self.chance.uniform(0.2, 0.8))
        if not self.near:
            return self.chance.random()
        return min(1.0, max(0.0, self.chance.gauss(liked, 0.15)))

    def number(self, name: str, low: float, high: float) -> float:
        return low + self.unit(name) * (high - low)

    def log(self, name: str, low: float, high: float) -> float:
        return low * math.exp(self.unit(name) * math.log(high / low))

    def whole(self, name: str, low: int, high: int) -> int:
        return min(high, int(self.number(name, low, high + 1)))

    def log_whole(self, name: str, low: int, high: int) -> int:
        return max(low, min(high, round(self.log(name, low, high))))

    def one_of(self, name: str, *choices: Any) -> Any:
        return choices[min(len(choices) - 1, int(self.unit(name) * len(choices)))]


def mixed(chance: random.Random, at: Place, number: int) -> tuple[Params, float]:
    """1.5 to 9 GB, noise 2 %; what the rest is compared with."""
    batch, width = at.log_whole("batch_size", 16, 256), at.log_whole("width", 64, 1024)
    layers, optimizer = at.whole("layers", 1, 6), at.one_of("optimizer", *STATES)
    params = {"batch_size": batch, "width": width, "layers": layers, "optimizer": optimizer}
    params |= {"lr": at.log("lr", 1e-5, 1e-1), "dropout": at.number("dropout", 0, 0.5)}
    activations = 5.0 * (batch / 256) * (width / 1024) ** 0.5 * (0.2 + 0.8 * layers / 6)
    weights = 2.6 * (width / 1024) * layers / 6 * STATES[optimizer] / 4
    return params, (1.4 + activations + weights) * noise(chance, 0.02)


def mlp(chance: random.Random, at: Place, number: int) -> tuple[Params, float]:
    """All of it as it is in a network of linear layers: products over a range of 1 to 1,000."""
    batch, width = at.log_whole("batch", 32, 1024), at.log_whole("hidden", 128, 4096)
    layers = at.whole("n_layers", 1, 8)
    params = {"batch": batch, "hidden": width, "n_layers": layers, "lr": at.log("lr", 1e-4, 1e-1)}
    params |= {"wd": at.log("wd", 1e-6, 1e-2), "norm": at.one_of("norm", True, False)}
    activations = batch * width * layers * (3 if params["norm"] else 2) * 4 * 40 / GB
    return params, (0.9 + activations + 16 * width**2 * layers / GB) * noise(chance, 0.01)


def cnn(chance: random.Random, at: Place, number: int) -> tuple[Params, float]:
    batch, side = at.whole("batch", 1, 16) * 8, at.whole("resolution", 4, 12) * 32
    channels = at.one_of("channels", 32, 48, 64, 96)
    params = {"batch": batch, "resolution": side, "channels": channels, "lr": at.log("lr", 1e-4, 1)}
    params |= {"flip": at.one_of("flip", True, False), "mixup": at.number("mixup", 0, 1)}
    return params, (1.1 + batch * side**2 * channels * 12 / GB) * noise(chance, 0.03)


def transformer(chance: random.Random, at: Place, number: int) -> tuple[Params, float]:
    """Some parameters are there only where others have a certain value."""
    batch, length = at.log_whole("batch", 4, 64), at.one_of("length", 128, 256, 512)
    width, layers = at.one_of("d_model", 256, 384, 512, 768), at.whole("layers", 2, 12)
    tune, plain = at.one_of("tune", "all", "lora"), at.one_of("attention", "flash", "plain")
    params: Params = {"batch": batch, "length": length, "d_model": width, "layers": layers}
    params |= {"tune": tune, "attention": plain, "lr": at.log("lr", 1e-5, 1e-2)}
    weights = 12 * width**2 * layers * 4 * (4 if tune == "all" else 1)
    activations = batch * length * width * layers * 34.0
    if plain == "plain":
        params["heads"] = at.one_of("heads", 4, 8, 16)
        activations += batch * length**2 * params["heads"] * layers * 5
    if tune == "lora":
        params["rank"] = at.log_whole("rank", 4, 64)
        weights += params["rank"] * width * layers * 8 * 16
    return params, (0.8 + (weights + activations) / GB) * noise(chance, 0.02)


def optimizers(chance: random.Random, at: Place, number: int) -> tuple[Params, float]:
    """Little but the category matters."""
    kind = at.one_of("optimizer", "sgd", "momentum", "adam", "shampoo", "lion")
    params = {"optimizer": kind, "lr": at.log("lr", 1e-5, 1), "beta": at.number("beta", 0.8, 0.999)}
    params |= {"batch": at.log_whole("batch", 16, 128), "seed": chance.randrange(10**6)}
    copies = {"sgd": 2, "momentum": 3, "adam": 4, "shampoo": 7, "lion": 3}[kind]
    return params, (1.0 + 0.9 * copies + 0.01 * params["batch"]) * noise(chance, 0.04)


def heavy(chance: random.Random, at: Place, number: int) -> tuple[Params, float]:
    """One in twelve needs up to twice as much, for no reason that can be known."""
    params, peak = mixed(chance, at, number)
    return params, peak * (1 + min(1.0, chance.expovariate(3)) * (chance.random() < 1 / 12))


def same(chance: random.Random, at: Place, number: int) -> tuple[Params, float]:
    """No parameter does anything."""
    params = {"lr": at.log("lr", 1e-5, 1e-1), "dropout": at.number("dropout", 0, 0.5)}
    params |= {"depth": at.whole("depth", 1, 8), "act": at.one_of("act", "relu", "gelu", "silu")}
    return params, 6.0 * noise(chance, 0.02)


def blocks(chance: random.Random, at: Place, number: int) -> tuple[Params, float]:
    """An allocator that takes large pieces, and a faster kernel above a certain batch size."""
    params, peak = mixed(chance, at, number)
    kernel = 0.8 if params["batch_size"] >= 96 else 0.0
    return params, math.ceil((peak + kernel) / 0.25) * 0.25 * noise(chance, 0.005)


def drift(chance: random.Random, at: Place, number: int) -> tuple[Params, float]:
    """Twice as much data from trial 75 on, and nobody says so."""
    params, peak = mixed(chance, at, number)
    return params, peak * (1.35 if number >= 75 else 1.0)


LOADS: dict[str, Load] = {
    "mixed": mixed,
    "mlp": mlp,
    "cnn": cnn,
    "transformer": transformer,
    "optimizers": optimizers,
    "blocks": blocks,
    "same": same,
    "heavy": heavy,
    "drift": drift,
}


def noise(chance: random.Random, share: float) -> float:
    return max(0.5, chance.gauss(1.0, share))


def trials(load: Load, seed: int, *, narrows: bool) -> Iterator[tuple[Params, int]]:
    """Without end."""
    chance = random.Random(seed)
    place = Place(chance, narrows=narrows)
    number = 0
    while True:
        place.begin(number)
        params, peak = load(chance, place, number)
        yield params, int(peak * GB)
        number += 1
