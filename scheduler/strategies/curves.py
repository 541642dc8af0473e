"""Learning curves as values: what a trial reported, and how it ended.

Whoever calls has the reports; nothing here knows Optuna, a clock or a file. Inside the package
larger is better: ``better`` turns a value that is to be minimised round, once, at the door.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Literal

import msgspec

Direction = Literal["maximize", "minimize"]
State = Literal[
    "running",  #: reports so far; the end is not known
    "complete",  #: ran to its end, no verdict fell
    "pruned",  #: a verdict fell and was carried out
    "control",  #: a verdict fell and was not carried out: it ran on to its end
    "failed",  #: ended without a value, so it says nothing
]


class Curve(msgspec.Struct, frozen=True, kw_only=True):
    """What one trial reported, in the user's own direction.

    ``steps`` rise strictly and ``values`` has one for each. A list of curves is in the order in
    which the trials finished.
    """

    trial: int  #: the trial's number
    steps: tuple[int, ...]
    values: tuple[float, ...]  #: NaN and inf as reported
    final: float | None = None  #: the trial's value at its end; None: it was not run to its end
    state: State = "running"
    verdict_at: int | None = None  #: step at which a prune verdict fell; None: none did
    took_s: float | None = None  #: seconds it ran; None: not known

    @property
    def is_known_to_the_end(self) -> bool:
        return self.final is not None and self.state in ("complete", "control")


def curve(
    trial: int,
    reports: Iterable[tuple[int, float]],
    *,
    final: float | None = None,
    state: State = "running",
    verdict_at: int | None = None,
    took_s: float | None = None,
) -> Curve:
    """A curve of reports in any order; of two at one step the later in *reports* counts."""
    by_step = dict(reports)
    steps = tuple(sorted(by_step))
    return Curve(
        trial=trial,
        steps=steps,
        values=tuple(float(by_step[step]) for step in steps),
        final=final,
        state=state,
        verdict_at=verdict_at,
        took_s=took_s,
    )


def better(value: float, direction: Direction) -> float:
    """*value* as larger is better. A diverged one is the worst there is.

    NaN is divergence in either direction; so is infinity on the good side, as no real training
    gets there and a single one would be the best for ever.
    """
    turned = value if direction == "maximize" else -value
    return turned if math.isfinite(turned) else -math.inf
