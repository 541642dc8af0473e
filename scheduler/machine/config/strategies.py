"""Sections of the configuration for the study strategies; see ``settings``. Pure."""

from __future__ import annotations

from typing import Annotated, Any, get_args

import msgspec

from scheduler.machine.config.forms import ARGUMENTS, FLAG, NUMBER, SHARE, choice, count
from scheduler.machine.config.keys import Key
from scheduler.strategies.asked import PruningName


class PruningSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Which trials are ended early, and how that is checked."""

    strategy: Annotated[
        PruningName,
        Key(
            choice(*get_args(PruningName)),
            "Who decides. default: the script's own pruner where it chose one, else auto.",
            '"median"',
        ),
    ] = "default"
    arguments: Annotated[
        dict[str, Any],
        Key(ARGUMENTS, "As Optuna's pruner takes them.", "{n_startup_trials = 10}"),
    ] = {}
    controls: Annotated[
        float,
        Key(
            SHARE,
            "Of the trials that would be pruned, this share runs on to its end, to find out"
            " whether pruning them would have been wrong.",
            "0.08",
        ),
    ] = 0.08
    limit: Annotated[
        float,
        Key(SHARE, "Where more than this share was wrong, pruning is made milder.", "0.05"),
    ] = 0.05


class RangesSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Parameters' ranges narrowed to where the best trials lie."""

    use: Annotated[bool, Key(FLAG, "Narrow them, as --use-best-ranges does.", "true")] = False
    full_share: Annotated[
        float, Key(SHARE, "This share of trials draws from the full ranges all the same.", "0.1")
    ] = 0.1


class BudgetSettings(msgspec.Struct, frozen=True, kw_only=True):
    """When a run ends early or goes on."""

    target: Annotated[
        float | None,
        Key(NUMBER, "A run ends once a trial's value is as good.", "0.95", "all trials run"),
    ] = None
    floor: Annotated[
        float | None,
        Key(
            NUMBER,
            "While no trial's value is as good, a run goes on once beyond its number of trials.",
            "0.15",
            "no run goes on",
        ),
    ] = None
    extend_to: Annotated[
        int | None,
        Key(count(1), "To so many trials.", "600", "half as many again"),
    ] = None
    patience: Annotated[
        int | None,
        Key(
            count(1),
            "A run ends after so many finished trials without a better one.",
            "100",
            "all trials run",
        ),
    ] = None
