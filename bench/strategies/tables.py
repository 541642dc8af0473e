"""Tables of recorded learning curves, read from a file or generated.

A file is a numpy archive of one of two kinds:

- ``curves`` (configurations x steps), to maximise; ``cfg`` (configurations x parameters);
- ``valid_loss`` (tasks x configurations x steps), to minimise; ``hp`` (configurations x
  parameters); ``hp_names`` and ``tasks`` where they are known. One table a task.

NaN and inf are runs that diverged.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np


@dataclass(frozen=True, kw_only=True)
class Table:
    """``curves`` and ``cfg`` have a row for each configuration; the last column is the end."""

    name: str
    direction: Literal["maximize", "minimize"]
    curves: np.ndarray  #: configurations x steps; a run that diverged is the worst infinity there
    cfg: np.ndarray  #: configurations x parameters, each scaled to 0..1
    is_trap: bool = False  #: made so that early values mislead: compute is no aim there

    @property
    def steps(self) -> int:
        return int(self.curves.shape[1])

    @property
    def ends(self) -> np.ndarray:
        """The value at the end of each configuration, larger is better."""
        end = self.curves[:, -1]
        return end if self.direction == "maximize" else -end

    def top(self, share: float) -> np.ndarray:
        """Which configurations end in the best *share*, ties with the last of them included."""
        count = max(1, round(share * len(self.curves)))
        return self.ends >= np.sort(self.ends)[-count]


def table(
    name: str,
    direction: Literal["maximize", "minimize"],
    curves: np.ndarray,
    cfg: np.ndarray,
    *,
    is_trap: bool = False,
) -> Table:
    worst = -np.inf if direction == "maximize" else np.inf
    clean = np.where(np.isfinite(curves), curves, worst).astype(float)
    columns = [spread_evenly(column) for column in np.asarray(cfg, float).T]
    return Table(
        name=name, direction=direction, curves=clean, cfg=np.stack(columns, axis=1), is_trap=is_trap
    )


def spread_evenly(column: np.ndarray) -> np.ndarray:
    """*column* on 0..1, on the scale (plain, logarithm, or of 1 - x) that spreads it most evenly.

    A table does not say how its parameters were drawn. Evenly: the largest distance of the
    distribution from the uniform one (Kolmogorov and Smirnov's) is least.
    """
    scales = [column]
    if column.min() > 0:
        scales.append(np.log(column))
    if column.max() < 1:
        scales.append(-np.log1p(-column))
    return min((scaled(one) for one in scales), key=unevenness)


def scaled(column: np.ndarray) -> np.ndarray:
    low, high = column.min(), column.max()
    return (column - low) / (high - low) if high > low else np.zeros_like(column)


def unevenness(column: np.ndarray) -> float:
    return float(np.abs(np.sort(column) - np.linspace(0, 1, len(column))).max())


def read(path: Path) -> list[Table]:
    """The tables in the file. Raises KeyError where it is of neither kind."""
    with np.load(path, allow_pickle=False) as file:
        if "curves" in file:
            return [table(path.stem, "maximize", file["curves"], file["cfg"])]
        losses, hp = file["valid_loss"], file["hp"]
        return [
            table(f"{path.stem}.{task}", "minimize", losses[task], hp)
            for task in range(len(losses))
        ]


def slow_starters(configs: int = 500, steps: int = 50, seed: int = 1) -> Table:
    """A trap: the best decile learns nothing visible for the first 60 % of the steps.

    A quick half rises at once and stays mediocre; the slow ones lie below all of it until late.
    How good a configuration ends is a smooth function of two parameters of four.
    """
    rng = np.random.default_rng(seed)
    cfg = rng.random((configs, 4))
    quality = 1 - np.hypot(cfg[:, 0] - 0.3, cfg[:, 1] - 0.6)
    ranked = quality.argsort().argsort() / configs
    slow = ranked >= 0.85
    at = np.linspace(0, 1, steps)
    quick_curve = (0.3 + 0.3 * ranked[:, None]) * (1 - np.exp(-8 * at))
    slow_curve = (0.5 + 0.5 * ranked[:, None]) / (1 + np.exp(-(at - 0.7) * 25))
    curves = np.where(slow[:, None], slow_curve, quick_curve)
    return table(
        "slow starters", "maximize", curves + noise(rng, curves.shape, 0.01), cfg, is_trap=True
    )


def too_good_first(configs: int = 500, steps: int = 50, seed: int = 2) -> Table:
    """The first report is a partial one, better than any that follows; the rest is ordinary."""
    rng = np.random.default_rng(seed)
    cfg = rng.random((configs, 4))
    quality = np.exp(-3 * np.hypot(cfg[:, 0] - 0.7, cfg[:, 1] - 0.4)) + 0.05 * cfg[:, 2]
    at = np.linspace(0, 1, steps)
    rate = 3 + 6 * cfg[:, 3:]
    curves = quality[:, None] * (1 - np.exp(-rate * at)) + noise(rng, (configs, steps), 0.01)
    curves[:, 0] = 2 + rng.random(configs)
    return table("too good first report", "maximize", curves, cfg, is_trap=True)


def crossing(configs: int = 500, steps: int = 50, seed: int = 3) -> Table:
    """Low learning rates start late and end best, by degrees: every pair may cross."""
    rng = np.random.default_rng(seed)
    cfg = rng.random((configs, 4))
    pace = 1.5 + 10 * cfg[:, 0]
    height = 1 - 0.6 * cfg[:, 0] - 0.5 * np.abs(cfg[:, 1] - 0.5)
    at = np.linspace(0, 1, steps)
    curves = height[:, None] * (1 - np.exp(-pace[:, None] * at))
    return table("crossing", "maximize", curves + noise(rng, curves.shape, 0.01), cfg, is_trap=True)


def noise(rng: np.random.Generator, shape: tuple[int, int], size: float) -> np.ndarray:
    """What evaluations differ by: half of it new at each step, half of it slow."""
    fresh = rng.normal(size=shape)
    slow = np.cumsum(rng.normal(size=shape), axis=1) / np.sqrt(np.arange(1, shape[1] + 1))
    return size * (fresh + slow) / 2


def generated() -> list[Table]:
    return [slow_starters(), too_good_first(), crossing()]
