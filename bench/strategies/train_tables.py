"""Makes tables of learning curves by really training, all configurations side by side in numpy.

Two tasks, of the two kinds that ``tables`` reads: small networks on scikit-learn's digits
(validation loss, early values tell much), and Q-learning with tile coding on the mountain car (mean
return of the last episodes, early values tell little). A few minutes on one core.

    python -m bench.strategies.train_tables build/tables
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

CONFIGS = 400
REPORTS = 50


def log_uniform(rng: np.random.Generator, low: float, high: float, count: int) -> np.ndarray:
    return np.exp(rng.uniform(np.log(low), np.log(high), count))


def digits(seed: int, configs: int = CONFIGS, hidden: int = 24) -> dict[str, np.ndarray]:
    """``valid_loss`` (1, configs, reports) of a one-layer network; SGD with momentum."""
    from sklearn.datasets import load_digits

    rng = np.random.default_rng(seed)
    data = load_digits()
    order = rng.permutation(len(data.target))
    inputs = (data.data[order] / 16).astype(np.float32)
    wanted = np.eye(10, dtype=np.float32)[data.target[order]]
    hp = np.stack(
        [
            log_uniform(rng, 1e-3, 3, configs),  # learning rate
            1 - log_uniform(rng, 0.005, 1, configs),  # momentum
            log_uniform(rng, 1e-6, 1e-1, configs),  # weight decay
            log_uniform(rng, 0.01, 5, configs),  # scale of the first weights
            rng.uniform(0, 0.7, configs),  # share of inputs dropped
            log_uniform(rng, 0.02, 1, configs),  # learning rate at the end, as a share
        ],
        axis=1,
    )
    losses = train(rng, inputs, wanted, hp, hidden)
    names = np.array(["lr", "momentum", "decay", "scale", "drop", "lr_end"])
    return {"valid_loss": losses[None], "hp": hp, "hp_names": names, "tasks": np.array(["digits"])}


def train(
    rng: np.random.Generator, inputs: np.ndarray, wanted: np.ndarray, hp: np.ndarray, hidden: int
) -> np.ndarray:
    """Validation loss, configurations x reports."""
    rate, momentum, decay, scale, drop, end = (c[:, None, None].astype(np.float32) for c in hp.T)
    count, cut = len(hp), 1200
    weights = [
        rng.normal(size=(count, 64, hidden)).astype(np.float32) * scale / 8,
        rng.normal(size=(count, hidden, 10)).astype(np.float32) * scale / np.sqrt(hidden),
    ]
    speed = [np.zeros_like(one) for one in weights]
    losses = np.empty((count, REPORTS))
    for report in range(REPORTS):
        now = rate * end ** (report / (REPORTS - 1))
        for batch in np.array_split(rng.permutation(cut), cut // 100):
            kept = rng.random((count, len(batch), 64), dtype=np.float32) >= drop
            seen = inputs[batch] * kept
            grown = np.maximum(seen @ weights[0], 0)
            gap = (softmax(grown @ weights[1]) - wanted[batch]) / len(batch)
            back = (gap @ weights[1].transpose(0, 2, 1)) * (grown > 0)
            slopes = (seen.transpose(0, 2, 1) @ back, grown.transpose(0, 2, 1) @ gap)
            for k in range(2):
                speed[k] = momentum * speed[k] - now * (slopes[k] + decay * weights[k])
                weights[k] = weights[k] + speed[k]
        chance = softmax(np.maximum(inputs[cut:] @ weights[0] * (1 - drop), 0) @ weights[1])
        losses[:, report] = -np.log((chance * wanted[cut:]).sum(axis=2) + 1e-9).mean(axis=1)
    return losses


def softmax(scores: np.ndarray) -> np.ndarray:
    raised = np.exp(scores - scores.max(axis=-1, keepdims=True))
    return raised / raised.sum(axis=-1, keepdims=True)


class MountainCar:
    """Sutton and Barto's (2nd edition, example 10.1), one car a configuration, episodes of 400."""

    LIMIT = 400

    def __init__(self, rng: np.random.Generator, count: int) -> None:
        self.rng = rng
        self.place = rng.uniform(-0.6, -0.4, count)
        self.speed = np.zeros(count)
        self.age = np.zeros(count, int)

    def tiles(self, tilings: int = 8, wide: int = 8) -> np.ndarray:
        """Indices of the active tiles, configurations x tilings; below 8 x 81."""
        shift = np.arange(tilings) / tilings
        x = ((self.place[:, None] + 1.2) / 1.7 * wide + shift).astype(int)
        y = ((self.speed[:, None] + 0.07) / 0.14 * wide + (3 * shift) % 1).astype(int)
        tile = np.minimum(x, wide) * (wide + 1) + np.minimum(y, wide)
        return tile + np.arange(tilings) * (wide + 1) ** 2

    def step(self, action: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Whose episode ended at the goal, and whose ended at all."""
        pull = 0.001 * (action - 1) - 0.0025 * np.cos(3 * self.place)
        self.speed = np.clip(self.speed + pull, -0.07, 0.07)
        self.place = np.clip(self.place + self.speed, -1.2, 0.5)
        self.speed[self.place <= -1.2] = 0
        self.age += 1
        home = self.place >= 0.5
        return home, home | (self.age >= self.LIMIT)

    def restart(self, ended: np.ndarray) -> None:
        self.place[ended] = self.rng.uniform(-0.6, -0.4, ended.sum())
        self.speed[ended] = 0
        self.age[ended] = 0


def mountain_car(seed: int, configs: int = CONFIGS, period: int = 1200) -> dict[str, np.ndarray]:
    """``curves`` (configs, reports): mean return of the last 10 episodes."""
    rng = np.random.default_rng(seed)
    cfg = np.stack(
        [
            rng.uniform(-4, 0.3, configs),  # log10 of the learning rate
            rng.uniform(-3, -0.5, configs),  # log10 of 1 - discount
            rng.uniform(-3, 0, configs),  # log10 of the first exploration rate
            rng.uniform(-2, 1, configs),  # log10 of its half-life, as a share of the run
            rng.uniform(-60, 0, configs),  # value of what has not been seen
        ],
        axis=1,
    )
    rate, discount = 10 ** cfg[:, 0] / 8, 1 - 10 ** cfg[:, 1]
    first, half_life = 10 ** cfg[:, 2], 10 ** cfg[:, 3]
    values = np.repeat(cfg[:, 4, None] / 8, 3 * 8 * 81, axis=1).reshape(configs, 3, 8 * 81)
    car, every = MountainCar(rng, configs), np.arange(configs)
    last = np.full((configs, 10), -float(car.LIMIT))
    curves = np.empty((configs, REPORTS))
    tiles = car.tiles()
    for now in range(REPORTS * period):
        scores = values[every[:, None, None], np.arange(3)[None, :, None], tiles[:, None]].sum(2)
        wild = rng.random(configs) < first * 0.5 ** (now / (REPORTS * period) / half_life)
        action = np.where(wild, rng.integers(0, 3, configs), scores.argmax(1))
        home, ended = car.step(action)
        last[ended] = np.c_[last[ended, 1:], -car.age[ended]]
        after = car.tiles()
        ahead = values[every[:, None, None], np.arange(3)[None, :, None], after[:, None]].sum(2)
        gap = -1 + np.where(home, 0, discount * ahead.max(1)) - scores[every, action]
        values[every[:, None], action[:, None], tiles] += (rate * gap)[:, None]
        car.restart(ended)
        tiles = car.tiles() if ended.any() else after
        if (now + 1) % period == 0:
            curves[:, now // period] = last.mean(axis=1)
    names = np.array(["log10_lr", "log10_1mgamma", "log10_eps", "log10_half_life", "first_value"])
    return {"curves": curves, "cfg": cfg, "names": names}


def main(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for seed in range(2):
        np.savez_compressed(folder / f"digits_s{seed}.npz", **digits(seed))
        np.savez_compressed(folder / f"mountain_car_s{seed}.npz", **mountain_car(seed))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
