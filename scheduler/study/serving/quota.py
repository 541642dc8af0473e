"""How many trials may still begin in one ``optimize`` call. Pure: times come in as arguments."""

from __future__ import annotations


class Quota:
    """``n_trials`` and ``timeout`` as Optuna means them; None: no limit.

    A trial counts once, however many attempts it takes. *begun* of them began in earlier lives of
    the run. The timeout counts from the first attempt's start, since a worker that imports for a
    second would otherwise make ``timeout=1`` run nothing.
    """

    def __init__(self, n_trials: int | None, timeout_s: float | None, begun: int = 0) -> None:
        self.n_trials = n_trials
        self.timeout_s = timeout_s
        self.begun = begun
        self.stopped: str | None = None  #: why nothing begins any more
        self._first_start_s: float | None = None

    def stop(self, because: str) -> None:
        """Let nothing more begin. The first reason stays."""
        self.stopped = self.stopped or because

    def go_on(self, because: str) -> None:
        """What was stopped for *because* goes on, unless there was another reason first."""
        if self.stopped == because:
            self.stopped = None

    def begin(self, now_s: float) -> None:
        """A trial has begun."""
        self.begun += 1
        self.started(now_s)

    def started(self, now_s: float) -> None:
        """An attempt has started: the timeout counts from the first."""
        if self._first_start_s is None:
            self._first_start_s = now_s

    def may_begin(self, now_s: float) -> bool:
        if self.stopped is not None:
            return False
        if self.n_trials is not None and self.begun >= self.n_trials:
            return False
        if self.timeout_s is not None and self.timeout_s <= 0:
            return False
        deadline_s = self.deadline_s
        return deadline_s is None or now_s < deadline_s

    def left(self, now_s: float) -> int | None:
        """How many more may begin; None: any number."""
        if not self.may_begin(now_s):
            return 0
        return None if self.n_trials is None else self.n_trials - self.begun

    @property
    def deadline_s(self) -> float | None:
        """When the timeout strikes; None before the first start or without a timeout."""
        if self.timeout_s is None or self._first_start_s is None:
            return None
        return self._first_start_s + self.timeout_s
