"""Who knows everything before: peaks, durations, when strangers come. And what nobody can beat."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable

import msgspec

from bench.packing.brains import Rival
from bench.packing.case import Case
from scheduler.core.model import Attempt, Trial
from scheduler.simulate.workload import Job

Order = Callable[[Job], float]

#: List schedules; the best of them stands for the clairvoyant.
ORDERS: dict[str, Order] = {
    "longest first": lambda job: -job.duration_s,
    "largest first": lambda job: -job.peak_bytes,
    "most byte seconds first": lambda job: -job.peak_bytes * job.duration_s,
}


class Clairvoyant(Rival):
    """A list schedule by peaks: whatever of the list fits starts, on the card where it fits best.

    It keeps the same reserve as we do, and takes no byte that a stranger will want before the end
    of what it starts.
    """

    def __init__(self, case: Case, reserve_bytes: int, order: Order) -> None:
        super().__init__()
        self.jobs = case.jobs
        self.order = order
        self._budgets = [size - reserve_bytes for size in case.cards]
        self._guests_at = [at_s for at_s, _ in case.strangers]
        self._step = 0  #: the strangers' next one
        self._guests = [size for _, size in case.strangers]

    def ordered(self) -> list[Trial]:
        return sorted(self.queue, key=lambda trial: self.order(self.jobs[trial.number]))

    def stops_at_first(self) -> bool:
        return False

    def looks_again(self) -> bool:
        """Strangers have left, or come and so will not be there when what starts now ends."""
        step = bisect_right(self._guests_at, self.now_s)
        moved, self._step = step != self._step, step
        return moved and bool(self.queue)

    def place(self, trial: Trial) -> Attempt | None:
        peak, best = self.jobs[trial.number].peak_bytes, None
        for number, device in enumerate(self.cards):
            left = self._left(number, device, trial)
            if left >= peak and (best is None or left < best[0]):
                best = (left, device)
        return None if best is None else self.attempt(trial, best[1], peak)

    def after_oom(self, attempt: Attempt) -> Trial | None:
        """Only where the others slowed its neighbours down into a stranger's time."""
        return msgspec.structs.replace(attempt.trial)

    def _left(self, number: int, device: str, trial: Trial) -> int:
        """The least until the trial's end."""
        others = [(self._ends_s(one), one.promise_bytes) for one in self.on(device)]
        until_s = self.now_s + self.jobs[trial.number].duration_s
        first = max(0, bisect_right(self._guests_at, self.now_s) - 1)
        last = bisect_left(self._guests_at, until_s)
        least = self._budgets[number]
        for step in range(first, last):
            from_s = max(self.now_s, self._guests_at[step])
            ours = sum(size for end_s, size in others if end_s > from_s)
            least = min(least, self._budgets[number] - self._guests[step] - ours)
        return least

    def _ends_s(self, attempt: Attempt) -> float:
        """At the earliest, so that a late one is still counted."""
        end_s = attempt.started_at_s + self.jobs[attempt.trial.number].duration_s
        return max(end_s, self.now_s + 1)


def lower_bound_s(case: Case, total: Callable[[int, float], float], reserve_bytes: int) -> float:
    """Seconds below which no schedule gets, by memory, by computing, by the longest trial, and by
    those of which no two fit together."""
    room, cards = case.room_bytes - reserve_bytes, len(case.cards)
    spans = [job.duration_s for job in case.jobs]
    use = min(job.use for job in case.jobs)
    most = max(total(count, count * use) for count in range(1, 65))
    big = sum(job.duration_s for job in case.jobs if job.peak_bytes > room / 2)
    area = sum(job.peak_bytes * job.duration_s for job in case.jobs)
    return max(area / room / cards, sum(spans) / most / cards, max(spans), big / cards)
