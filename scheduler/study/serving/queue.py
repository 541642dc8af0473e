"""Which trials of a call wait to start: those that came back, and one new one at a time.

Only one new trial is offered at a time, and asked for when it starts, so that the sampler knows as
much as can be known. Pure.
"""

from __future__ import annotations

from scheduler.core.model import Trial
from scheduler.study.serving.quota import Quota


class Queue:
    """*back* are the trials that an earlier life of the run put back; *next_number* is the first
    number that no trial of the run has had."""

    def __init__(self, run: str, quota: Quota, back: list[Trial], next_number: int) -> None:
        self._run = run
        self.quota = quota
        self._back = {trial.number: trial for trial in back}
        self._fresh: Trial | None = None
        self._next = next_number

    def offered(self) -> list[Trial]:
        """All that the supervisor should know to wait."""
        return [*self._back.values(), *([self._fresh] if self._fresh else [])]

    def turn(self, now_s: float, *, ending: bool) -> tuple[list[Trial], list[int]]:
        """What is to be offered now, and the numbers that are to be withdrawn.

        Nothing starts any more while *ending*. When the quota is used up, or the study was
        stopped, those that came back still run: they had begun before.
        """
        if not ending and self.quota.may_begin(now_s):
            if self._fresh is not None:
                return [], []
            self._fresh = Trial(run=self._run, number=self._next)
            self._next += 1
            return [self._fresh], []
        gone = [] if self._fresh is None else [self._fresh.number]
        self._fresh = None
        if ending:
            gone += self._back
            self._back = {}
        return [], gone

    def take(self, number: int, now_s: float) -> tuple[Trial, bool] | None:
        """The trial that starts now, and whether it has come back; None: it does not wait here."""
        if self._fresh is not None and self._fresh.number == number:
            trial, self._fresh = self._fresh, None
            self.quota.begin(now_s)
            return trial, False
        returned = self._back.pop(number, None)
        if returned is None:
            return None
        self.quota.started(now_s)
        return returned, True

    def put_back(self, trial: Trial) -> None:
        self._back[trial.number] = trial

    def is_done(self, now_s: float) -> bool:
        return not self._back and not self.quota.may_begin(now_s)

    def patience_s(self, now_s: float, most_s: float) -> float:
        """How long nothing changes here by itself: until the timeout strikes, at most *most_s*."""
        deadline_s = self.quota.deadline_s
        return most_s if deadline_s is None else max(0.0, min(most_s, deadline_s - now_s))
