"""What the workloads are made of: trials with a memory curve, cards with strangers. Frozen values.

Bytes are of 1 GiB = 2^30; a card of "16 GB" has 16 GiB.
"""

from __future__ import annotations

import math

import msgspec
import numpy as np

from scheduler.simulate.workload import Job

GIB = 1 << 30
DESKTOP_BYTES = int(1.2 * GIB)  #: held all along, as on the founding user's machine
CARD_BYTES = 16 * GIB

Curve = tuple[tuple[float, float], ...]  #: (share of the work done, share of the peak), rising


class Case(msgspec.Struct, frozen=True, kw_only=True):
    """A study's trials in the order in which they are asked for, and where they run."""

    name: str
    jobs: tuple[Job, ...]
    cards: tuple[int, ...] = (CARD_BYTES,)  #: the size of each
    #: What others hold on each card, from each moment on.
    strangers: tuple[tuple[float, int], ...] = ((0.0, DESKTOP_BYTES),)
    note: str = ""

    @property
    def room_bytes(self) -> int:
        """What a card has beside the strangers that are always there."""
        return min(self.cards) - min(size for _, size in self.strangers)


RAMP: Curve = ((0.0, 0.15), (0.1, 1.0), (1.0, 1.0))
FAST: Curve = ((0.0, 0.3), (0.01, 1.0), (1.0, 1.0))
SLOW: Curve = ((0.0, 0.15), (0.5, 1.0), (1.0, 1.0))
#: Two thirds all along, but for a validation at the very end.
SPIKE: Curve = (
    (0.0, 0.1),
    (0.08, 0.65),
    (0.9, 0.65),
    (0.905, 1.0),
    (0.93, 1.0),
    (0.935, 0.65),
    (1.0, 0.65),
)


def network(random: np.random.Generator, *, curve: Curve = RAMP, scale: float = 1.0) -> Job:
    """A network's training: 1.5 to 9 GiB by four of its parameters, 4 to 30 minutes by three.

    Weights, gradients and the optimizer's state grow with layers and the square of the width,
    activations with batch, layers and width. The learning rate and dropout change neither.
    """
    batch = int(2 ** random.integers(4, 9))
    width = int(random.choice((128, 256, 512, 768, 1024)))
    layers = int(random.choice((2, 4, 8, 12)))
    optimizer = ("sgd", "momentum", "adam")[int(random.integers(3))]
    copies = {"sgd": 2, "momentum": 3, "adam": 4}[optimizer] / 4
    weights = copies * layers * width**2 / (12 * 1024**2)
    activations = batch * layers * width / (256 * 12 * 1024)
    gib = 1.0 + 4.0 * weights**0.4 + 4.0 * activations**0.4
    size = scale * gib * GIB * (1 + 0.02 * random.uniform(-1, 1))
    work = 240 + 1500 * (0.6 * layers / 12 + 0.4 * width / 1024) * (32 / batch) ** 0.25
    busy = min(0.8, 0.25 + 0.35 * math.sqrt(batch / 256) + 0.2 * width / 1024)
    return Job(
        params={
            "batch": batch,
            "width": width,
            "layers": layers,
            "optimizer": optimizer,
            "lr": float(10 ** random.uniform(-5, -1)),
            "dropout": float(random.uniform(0, 0.5)),
        },
        peak_bytes=int(size),
        curve=curve,
        steps=50,
        duration_s=float(work * (1 + 0.05 * random.uniform(-1, 1))),
        use=float(busy),
    )
