"""The pruners that are compared: Optuna's own, and ours around a study."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import optuna
from optuna.pruners import BasePruner, NopPruner

from bench.strategies.simulate import Judge, Ran
from bench.strategies.tables import Table
from scheduler.strategies.audit import SHARE, audit, is_control
from scheduler.strategies.auto import Auto, Prune, notches
from scheduler.strategies.curves import Curve
from scheduler.strategies.notches import Step, next_notch

Word = Literal["keep", "prune", "control"]
Make = Callable[[Table, int], tuple[Judge, BasePruner]]


class Never:
    """No pruning."""

    reports = False

    def verdict(self, ran: Ran, step: int) -> Word:
        return "keep"

    def finished(self, ran: Ran) -> None: ...


class Optunas:
    """Whatever the study's own pruner says."""

    reports = True

    def verdict(self, ran: Ran, step: int) -> Word:
        return "prune" if ran.trial.should_prune() else "keep"

    def finished(self, ran: Ran) -> None: ...


class Ours:
    """``auto`` as a run has it: controls, the audit, and a milder notch when they say so."""

    reports = False

    def __init__(self, table: Table, seed: int, *, share: float = SHARE) -> None:
        self.table, self.seed, self.share = table, seed, share
        self.settings = notches(table.direction)
        self.history: list[Curve] = []
        self.verdicts = 0
        self.steps: list[tuple[int, Step]] = []  #: of the ladder; trials finished by then
        self.notch = self.falls = self.since = self.newest = 0
        self.auto = self.made()

    def made(self) -> Auto | None:
        """None: off."""
        if self.notch == len(self.settings):
            return None
        return Auto(self.history, self.settings[self.notch])

    def verdict(self, ran: Ran, step: int) -> Word:
        self.newest = max(self.newest, ran.number)
        if self.auto is None or not isinstance(self.auto.verdict(seen(ran), step), Prune):
            return "keep"
        self.verdicts += 1
        chosen = is_control(self.seed, ran.number, self.share, before=self.verdicts - 1)
        return "control" if chosen else "prune"

    def finished(self, ran: Ran) -> None:
        self.history.append(seen(ran))
        if ran.state == "control":
            self.judge()
        self.auto = self.made()

    def notch_after(self, count: int) -> int:
        """When the first *count* trials had finished."""
        return next((step.notch for at, step in reversed(self.steps) if at <= count), 0)

    def judge(self) -> None:
        now = audit(self.history, self.table.direction, since=self.since)
        last = len(self.settings)
        step = next_notch(now, self.notch, last=last, falls=self.falls, limit=0.05)
        if step is not None:
            self.steps.append((len(self.history), step))
            self.notch, self.falls, self.since = step.notch, step.falls, self.newest + 1


def seen(ran: Ran) -> Curve:
    count = ran.steps_done
    return Curve(
        trial=ran.number,
        steps=tuple(range(count)),
        values=tuple(ran.curve[:count].tolist()),
        final=float(ran.curve[-1]) if ran.state in ("complete", "control") else None,
        state=ran.state,
        verdict_at=ran.verdict_at,
    )


def optunas(make: Callable[[Table], BasePruner]) -> Make:
    return lambda table, seed: (Optunas(), make(table))


METHODS: dict[str, Make] = {
    "none": lambda table, seed: (Never(), NopPruner()),
    "median": optunas(lambda table: optuna.pruners.MedianPruner()),
    "median-10-20%": optunas(
        lambda table: optuna.pruners.MedianPruner(10, round(0.2 * table.steps))
    ),
    "hyperband": optunas(lambda table: optuna.pruners.HyperbandPruner()),
    "halving": optunas(lambda table: optuna.pruners.SuccessiveHalvingPruner()),
    "auto": lambda table, seed: (Ours(table, seed), NopPruner()),
}
