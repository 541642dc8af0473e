"""What one would use instead. Each knows what its user could know before, generously counted."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
import numpy as np

from bench.packing.brains import Brain, Rival
from bench.packing.case import Case
from bench.packing.clairvoyant import ORDERS, Clairvoyant
from scheduler.core.model import Attempt, Trial

GROWTH = 1.25  #: gpusched's, after an attempt ran out of memory


class Slots(Rival):
    """So many at once on each card, whatever they hold: Optuna's ``n_jobs``, or a fraction of a
    card that Ray Tune is told each trial takes. What runs out of memory is lost, as it is there.
    """

    def __init__(self, slots: int) -> None:
        super().__init__()
        self.slots = slots

    def place(self, trial: Trial) -> Attempt | None:
        device = min(self.cards, key=lambda key: len(self.on(key)))
        if len(self.on(device)) >= self.slots:
            return None
        return self.attempt(trial, device, self.cards[device] // self.slots)


class Declared(Rival):
    """A size for each trial, the same for all; what runs out of memory comes back with more.

    *budget_bytes* of a card may be declared. *capped*: an attempt may hold no more than it has
    declared, and otherwise more as long as the card has it. The largest come alone in the end; a
    trial that ran out alone is lost.
    """

    def __init__(self, declared_bytes: int, budget_bytes: int, *, capped: bool) -> None:
        super().__init__()
        self.declared_bytes, self.budget_bytes = declared_bytes, budget_bytes
        self.capped = capped

    def place(self, trial: Trial) -> Attempt | None:
        want = min(trial.want_bytes or self.declared_bytes, self.budget_bytes)
        device = min(self.cards, key=self._declared)
        if self._declared(device) + want > self.budget_bytes:
            return None
        return self.attempt(trial, device, want, want if self.capped else None)

    def after_oom(self, attempt: Attempt) -> Trial | None:
        if attempt.promise_bytes >= self.budget_bytes:
            return None
        want = int(GROWTH * attempt.promise_bytes)
        return msgspec.structs.replace(attempt.trial, want_bytes=want)

    def stops_at_first(self) -> bool:
        return False

    def _declared(self, device: str) -> int:
        return sum(one.promise_bytes for one in self.on(device))


def peaks_of(case: Case) -> np.ndarray:
    return np.array([job.peak_bytes for job in case.jobs], dtype=float)


def fraction(case: Case, quantile: float) -> Slots:
    """As many as fit of those that are as big as that *quantile* of all."""
    return Slots(max(1, int(case.room_bytes // np.quantile(peaks_of(case), quantile))))


def one_promise(case: Case, reserve_bytes: int) -> Declared:
    size = int(np.quantile(peaks_of(case), 0.95))
    return Declared(size, case.room_bytes - reserve_bytes, capped=True)


def declared(case: Case) -> Declared:
    """As gpusched does: what a typical trial was measured to need, no cap."""
    return Declared(int(np.median(peaks_of(case))), case.room_bytes, capped=False)


Make = Callable[[Case, int], Brain]

#: By name; from a workload and the reserve that we keep.
RIVALS: dict[str, Make] = {
    "n_jobs=1": lambda case, reserve: Slots(1),
    "n_jobs=2": lambda case, reserve: Slots(2),
    "n_jobs=3": lambda case, reserve: Slots(3),
    "Ray, safe fraction": lambda case, reserve: fraction(case, 1.0),
    "Ray, median fraction": lambda case, reserve: fraction(case, 0.5),
    "one p95 promise": one_promise,
    "declared, x1.25": lambda case, reserve: declared(case),
}
#: All numbers at once that one could choose; the best of them is known afterwards only.
FIXED: dict[str, Make] = {
    f"{slots} at once": lambda case, reserve, slots=slots: Slots(slots)  # type: ignore[misc]
    for slots in range(1, 8)
}
CLAIRVOYANT: dict[str, Make] = {
    f"clairvoyant, {name}": lambda case, reserve, order=order: Clairvoyant(case, reserve, order)  # type: ignore[misc]
    for name, order in ORDERS.items()
}
