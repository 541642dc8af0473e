"""Options of `scheduler run` and `scheduler submit` for the study strategies, and what they say."""

from __future__ import annotations

import contextlib
import math
import sys
from collections.abc import Callable, Mapping
from importlib import util
from typing import Any, get_args

import click

from scheduler.interfaces import ranges_input, warm_start_input
from scheduler.interfaces.errors import BadInput
from scheduler.machine.config.settings import Config
from scheduler.strategies import pruners
from scheduler.strategies.asked import (
    PRESETS,
    SUBJECTS,
    Asked,
    BudgetAsked,
    PresetName,
    PruningAsked,
    PruningName,
    RangesAsked,
    WarmStartAsked,
)

_AT_LEAST_ONE = click.IntRange(min=1)

OPTIONS: tuple[Callable[..., Any], ...] = (
    click.option(
        "--preset",
        type=click.Choice(get_args(PresetName)),
        help="fast: 400 trials, TPE and pruning unless the script chose, a floor extends to 600.",
    ),
    click.option(
        "--pruning",
        type=click.Choice(get_args(PruningName)),
        help="Who ends hopeless trials. Default: the script's own pruner, else auto.",
    ),
    click.option(
        "--pruning-argument",
        metavar="NAME=VALUE",
        multiple=True,
        help="An argument of Optuna's pruner of that name.",
    ),
    click.option(
        "--best-params",
        metavar="FILE|JSON",
        multiple=True,
        help="Settings to try first: JSON, or a file with JSON or CSV.",
    ),
    click.option(
        "--allow-extra", is_flag=True, help="Of these, drop names that the objective has not."
    ),
    click.option(
        "--from-study",
        nargs=2,
        metavar="URL NAME",
        help="Start from an earlier study: its best settings are tried first. `RUN -`: a run's.",
    ),
    click.option("--top", type=_AT_LEAST_ONE, metavar="N", help="So many of its best. Default: 5."),
    click.option(
        "--known-results", is_flag=True, help="Take over that study's finished trials too."
    ),
    click.option(
        "--use-best-ranges", is_flag=True, help="Narrow the ranges to where its best trials lie."
    ),
    click.option(
        "--ranges", metavar="FILE", help="Narrow the ranges to those in a file; see `ranges`."
    ),
    click.option(
        "--target", "wanted", type=float, metavar="VALUE", help="End once a trial is as good."
    ),
    click.option(
        "--floor",
        type=float,
        metavar="VALUE",
        help="While no trial is as good, go on once beyond the number of trials.",
    ),
    click.option(
        "--extend-to", type=_AT_LEAST_ONE, metavar="N", help="To so many. Default: half more."
    ),
    click.option(
        "--patience",
        type=_AT_LEAST_ONE,
        metavar="N",
        help="End after so many trials without a better one.",
    ),
    click.option(
        "--no-rollback",
        type=click.Choice(SUBJECTS),
        multiple=True,
        help="Never change this by itself.",
    ),
)


def read_asked(asked: dict[str, Any], config: Config) -> Asked:
    """What the options say, then the preset, then the configuration. Raises BadInput."""
    preset = PRESETS.get(asked["preset"])
    if preset is not None:
        asked["n_trials"] = asked["n_trials"] or preset.n_trials
        has_floor = asked["floor"] is not None or config.budget.floor is not None
        if has_floor and preset.extend_to > asked["n_trials"]:
            asked["extend_to"] = asked["extend_to"] or preset.extend_to
    return Asked(
        preset=asked["preset"],
        sampler="script" if preset is None else preset.sampler,
        pruning=_pruning(asked, config),
        warm_start=_warm_start(asked),
        ranges=_ranges(asked, config),
        budget=_budget(asked, config),
        fixed=asked["no_rollback"] or config.run.fixed,
    )


def _pruning(asked: dict[str, Any], config: Config) -> PruningAsked:
    named = asked["pruning"]
    # The file's arguments are those of the file's strategy.
    keeps = named is None or named == config.pruning.strategy
    strategy = named or config.pruning.strategy
    arguments = {
        **(config.pruning.arguments if keeps else {}),
        **dict(map(_read_argument, asked["pruning_argument"])),
    }
    check_pruning(strategy, arguments)
    return PruningAsked(
        strategy=strategy,
        arguments=arguments,
        controls=config.pruning.controls,
        limit=config.pruning.limit,
    )


def _read_argument(word: str) -> tuple[str, int | float | str]:
    """``NAME=VALUE``: a number where it is one."""
    name, sign, text = word.partition("=")
    if not sign:
        raise BadInput(f"--pruning-argument {word}: say NAME=VALUE, as in n_warmup_steps=20")
    for kind in (int, float):
        with contextlib.suppress(ValueError):
            return name, kind(text)
    return name, text


def check_pruning(strategy: PruningName, arguments: Mapping[str, Any]) -> None:
    """The pruner *strategy* can be made with *arguments* here. Raises BadInput."""
    wrong = pruners.problem(strategy, arguments)
    if wrong is not None:
        raise BadInput(f"{wrong}; see [pruning] in the configuration")
    if strategy == "wilcoxon" and util.find_spec("scipy") is None:
        raise BadInput(
            f"pruning wilcoxon needs scipy. Install it: {sys.executable} -m pip install scipy"
        )


def _warm_start(asked: dict[str, Any]) -> WarmStartAsked:
    storage, name = asked["from_study"] or (None, None)
    if storage is None and (asked["known_results"] or asked["top"] is not None):
        raise BadInput("--top and --known-results go with --from-study URL NAME")
    if asked["from_study"] is not None:
        storage, name = warm_start_input.find_study(*asked["from_study"])
    settings = warm_start_input.read_settings(asked["best_params"])
    if asked["allow_extra"] and not settings:
        raise BadInput("--allow-extra goes with --best-params")
    return WarmStartAsked(
        params=tuple(one.params for one in settings),
        sources=tuple(one.source for one in settings),
        allow_extra=asked["allow_extra"],
        storage=storage,
        study_name=name,
        top=asked["top"] or WarmStartAsked().top,
        known_results=asked["known_results"],
    )


def _ranges(asked: dict[str, Any], config: Config) -> RangesAsked:
    return RangesAsked(
        use=asked["use_best_ranges"] or asked["ranges"] is not None or config.ranges.use,
        table={} if asked["ranges"] is None else ranges_input.read_ranges(asked["ranges"]),
        full_share=config.ranges.full_share,
    )


def _budget(asked: dict[str, Any], config: Config) -> BudgetAsked:
    def first(name: str) -> Any:
        return getattr(config.budget, name) if asked[name] is None else asked[name]

    budget = BudgetAsked(
        target=config.budget.target if asked["wanted"] is None else asked["wanted"],
        floor=first("floor"),
        patience=first("patience"),
        extend_to=first("extend_to"),
    )
    _check_budget(budget, asked["extend_to"], asked.get("n_trials"))
    return budget


def _check_budget(budget: BudgetAsked, extend_to: int | None, n_trials: int | None) -> None:
    """*extend_to* as it was asked for; the configuration's is for runs that it suits."""
    for name, value in (("--target", budget.target), ("--floor", budget.floor)):
        if value is not None and not math.isfinite(value):
            raise BadInput(f"{name} {value}: no trial's value can be compared with that")
    if extend_to is None:
        return
    if budget.floor is None:
        raise BadInput("--extend-to goes with --floor VALUE: while no trial is as good")
    if n_trials is not None and extend_to <= n_trials:
        raise BadInput(
            f"--extend-to {extend_to} is not beyond --n-trials {n_trials}, where the run ends"
        )
