"""The pruners that are compared: Optuna's own, and ours around a study."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import optuna
from optuna.pruners import BasePruner, NopPruner

from bench.strategies.simulate import Judge, Ran
from bench.strategies.tables import Table
from scheduler.strategies.audit import is_control
from scheduler.strategies.auto import Auto, Prune, Setting
from scheduler.strategies.curves import Curve

import os as _os
FRONT = float(_os.environ.get("FRONT", "0"))
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
    """``auto`` with controls, as a study has it."""

    reports = False

    def __init__(self, table: Table, seed: int, **setting: object) -> None:
        self.table, self.seed = table, seed
        self.setting = Setting(direction=table.direction, **setting)  # type: ignore[arg-type]
        self.history: list[Curve] = []
        self.auto = Auto((), self.setting)

    def verdict(self, ran: Ran, step: int) -> Word:
        if not isinstance(self.auto.verdict(seen(ran), step), Prune):
            return "keep"
        self.verdicts = getattr(self, "verdicts", 0) + 1
        share = max(0.08, FRONT / (1 + self.verdicts))
        return "control" if is_control(self.seed, ran.number, share) else "prune"

    def finished(self, ran: Ran) -> None:
        self.history.append(seen(ran))
        self.auto = Auto(self.history, self.setting)


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
import os as _os
if _os.environ.get("AUTO_X"):
    import ast as _ast
    _kw = _ast.literal_eval(_os.environ["AUTO_X"])
    METHODS["autox"] = lambda table, seed: (Ours(table, seed, **_kw), NopPruner())
