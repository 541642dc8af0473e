"""What a user asks of a run's study strategies: flags, configuration, defaults put together.

Part of a run's ``run.json``. What each of them does is in a module of its own. Pure.
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec

#: What may be changed by itself while a run goes on, and forbidden: see ``Asked.fixed``.
Subject = Literal["pruning", "ranges", "budget", "concurrency", "promise"]
SUBJECTS: tuple[Subject, ...] = ("pruning", "ranges", "budget", "concurrency", "promise")

#: "default": the script's own pruner where it chose one, else "auto".
PruningName = Literal[
    "default", "auto", "median", "percentile", "hyperband", "halving", "patient", "wilcoxon", "none"
]


PresetName = Literal["fast"]


class PruningAsked(msgspec.Struct, frozen=True, kw_only=True):
    """``arguments`` are those of Optuna's pruner of that name."""

    strategy: PruningName = "default"
    arguments: dict[str, Any] = {}
    controls: float = 0.08  #: share of prune verdicts that are not carried out
    limit: float = 0.05  #: of the false-prune rate; above it pruning is rolled back


class WarmStartAsked(msgspec.Struct, frozen=True, kw_only=True):
    """Settings to try first, and results that are known already."""

    params: tuple[dict[str, Any], ...] = ()  #: tried first, in this order
    sources: tuple[str, ...] = ()  #: of these, for people: `best.json, setting 2`
    allow_extra: bool = False  #: names that the objective does not suggest are dropped
    storage: str | None = None  #: of the study to start from, as its name
    study_name: str | None = None
    top: int = 5  #: how many of that study's best are tried first
    known_results: bool = False  #: its finished trials are added, values and all


class RangesAsked(msgspec.Struct, frozen=True, kw_only=True):
    """Where the best trials lie: ``table`` by parameter name, as ``strategies.ranges`` makes it."""

    use: bool = False
    table: dict[str, Any] = {}  #: from a file; {}: from the study that the run starts from
    full_share: float = 0.1  #: of trials that draw from the full range all the same


class BudgetAsked(msgspec.Struct, frozen=True, kw_only=True):
    """When to stop early, and when to go on. None: not asked for."""

    target: float | None = None  #: stop once a trial is at least as good
    floor: float | None = None  #: go on once, up to ``extend_to``, while no trial is as good
    patience: int | None = None  #: stop after so many trials without an improvement
    extend_to: int | None = None  #: trials; None: half as many again


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """All of it. ``fixed``: what is not to be changed by itself."""

    pruning: PruningAsked = PruningAsked()
    warm_start: WarmStartAsked = WarmStartAsked()
    ranges: RangesAsked = RangesAsked()
    budget: BudgetAsked = BudgetAsked()
    fixed: tuple[Subject, ...] = ()
    preset: PresetName | None = None  #: what it began with
    sampler: Literal["script", "tpe"] = "script"  #: "tpe": where the script chose none


class Preset(msgspec.Struct, frozen=True, kw_only=True):
    """Several settings under one name; what is said beside it goes first."""

    n_trials: int
    extend_to: int
    sampler: Literal["script", "tpe"]


#: "fast": 400 trials, TPE from the eleventh on, pruning; with a floor it goes on to 600.
PRESETS: dict[PresetName, Preset] = {"fast": Preset(n_trials=400, extend_to=600, sampler="tpe")}
