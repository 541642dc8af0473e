"""Options of `scheduler run` and `scheduler submit` for what trials are promised by forecast."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

from scheduler.interfaces.known import known_run
from scheduler.machine.config.written import parse_percent
from scheduler.machine.state import find

AUTO, NONE = "auto", "none"


class Percent(click.ParamType[float]):
    name = "percent"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        try:
            return parse_percent(str(value))
        except ValueError as error:
            self.fail(str(error), param, ctx)


OPTIONS: tuple[Callable[..., Any], ...] = (
    click.option(
        "--overrun",
        type=Percent(),
        metavar="SHARE",
        help="So many trials may need more than they are promised. Default: 2%.",
    ),
    click.option(
        "--memory-from",
        metavar="RUN",
        help="Whose peaks the first forecasts go by, or `none`. Default: the newest earlier run of"
        " the same target.",
    ),
)


def read_memory_from(asked: str | None) -> str:
    """As RunSpec has it. Raises BadInput where there is no such run."""
    if asked is None or asked in (AUTO, NONE):
        return asked or AUTO
    known_run(find(), asked)
    return asked
