"""Options of `scheduler run` and `scheduler submit` for the study strategies, and what they say."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, get_args

import click

from scheduler.interfaces.errors import BadInput
from scheduler.machine.config.settings import Config
from scheduler.strategies.asked import (
    PRESETS,
    SUBJECTS,
    Asked,
    Budget,
    Pruning,
    PresetName,
    PruningName,
    Ranges,
    WarmStart,
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
        help="Start from an earlier study: its best settings are tried first.",
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
        if asked["floor"] is not None or config.budget.floor is not None:
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


def _pruning(asked: dict[str, Any], config: Config) -> Pruning:
    named = asked["pruning"]
    # The file's arguments are those of the file's strategy.
    keeps = named is None or named == config.pruning.strategy
    strategy = named or config.pruning.strategy
    arguments = config.pruning.arguments if keeps else {}
    check_pruning(strategy, arguments)
    return Pruning(
        strategy=strategy,
        arguments=arguments,
        controls=config.pruning.controls,
        limit=config.pruning.limit,
    )


def _warm_start(asked: dict[str, Any]) -> WarmStart:
    storage, name = asked["from_study"] or (None, None)
    if storage is None and (asked["known_results"] or asked["top"] is not None):
        raise BadInput("--top and --known-results go with --from-study URL NAME")
    return WarmStart(
        allow_extra=asked["allow_extra"],
        storage=storage,
        study_name=name,
        top=asked["top"] or WarmStart().top,
        known_results=asked["known_results"],
    )


def _ranges(asked: dict[str, Any], config: Config) -> Ranges:
    return Ranges(
        use=asked["use_best_ranges"] or asked["ranges"] is not None or config.ranges.use,
        full_share=config.ranges.full_share,
    )


def _budget(asked: dict[str, Any], config: Config) -> Budget:
    def first(name: str) -> Any:
        return getattr(config.budget, name) if asked[name] is None else asked[name]

    return Budget(
        target=config.budget.target if asked["wanted"] is None else asked["wanted"],
        floor=first("floor"),
        patience=first("patience"),
        extend_to=first("extend_to"),
    )
