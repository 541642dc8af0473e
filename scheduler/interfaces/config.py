"""``scheduler config check``: every key, its value and where it came from; or what is wrong."""

from __future__ import annotations

import sys
import textwrap
from collections.abc import Iterator

import click
import msgspec

from scheduler.interfaces.config_reference import as_toml
from scheduler.machine.config.defaults import not_here
from scheduler.machine.config.loading import ConfigError, Problem, find, load
from scheduler.machine.config.settings import Config
from scheduler.machine.config.shown import Value, values_of
from scheduler.machine.notify.notifier import problem_of

_NAME_WIDTH, _VALUE_WIDTH = 17, 42


class Checked(msgspec.Struct, frozen=True, kw_only=True):
    """What `scheduler config check --json` says."""

    right: bool
    path: str  #: the file that is read, there or not
    found: bool  #: it is there
    values: tuple[Value, ...] = ()  #: none where something is wrong
    problems: tuple[Problem, ...] = ()
    warnings: tuple[str, ...] = ()


@click.group()
def command() -> None:
    """The configuration file; docs/config.md describes every key."""


@command.command("check")
@click.option("--json", "as_json", is_flag=True, help="One JSON object; secrets are left out.")
def check(as_json: bool) -> None:
    """Show every key with its value and where it came from. Ends with 2 where one is wrong."""
    checked = examine()
    if as_json:
        click.echo(msgspec.json.encode(checked))
    else:
        click.echo("\n".join(lines(checked)), err=not checked.right)
    sys.exit(0 if checked.right else 2)


def examine() -> Checked:
    path = find()
    try:
        loaded = load()
    except ConfigError as error:
        found = path.is_file()
        return Checked(right=False, path=str(path), found=found, problems=error.problems)
    return Checked(
        right=True,
        path=str(path),
        found=loaded.path is not None,
        values=tuple(values_of(loaded)),
        warnings=(*loaded.warnings, *_doubts(loaded.config)),
    )


def _doubts(config: Config) -> Iterator[str]:
    """What is written rightly and will not work on this machine."""
    for number, url in enumerate(config.notify.urls, 1):
        problem = problem_of(url)
        if problem is not None:
            yield f"notify.urls, URL {number}: {problem}"
    if not_here(config, ()):
        from scheduler.machine.budgets import look_here

        keys = [budget.device.key for budget in look_here().budgets]
        for key in not_here(config, keys):
            yield f"there is no device {key} here; there are: {', '.join(keys) or 'none'}"


def lines(checked: Checked) -> Iterator[str]:
    """For people. Pure."""
    if checked.problems:
        counted = "1 mistake" if len(checked.problems) == 1 else f"{len(checked.problems)} mistakes"
        yield f"{counted} in the configuration:"
        yield from (f"  {problem}" for problem in checked.problems)
        return
    yield checked.path if checked.found else f"there is no {checked.path}: the defaults hold"
    section = ""
    for value in checked.values:
        table, _, name = value.key.rpartition(".")
        if table != section:
            section = table
            yield ""
            yield f"[{table}]"
        yield from _rows(name, value, f"the file {checked.path}")
    if checked.warnings:
        yield ""
        yield from (f"warning: {warning}" for warning in checked.warnings)


def _rows(name: str, value: Value, file: str) -> Iterator[str]:
    origin = "the file" if value.origin == file else value.origin
    shown = f"- ({value.unset})" if value.value is None else as_toml(value.value)
    first, *rest = textwrap.wrap(shown, _VALUE_WIDTH, break_on_hyphens=False)
    yield f"  {name:<{_NAME_WIDTH}} {first:<{_VALUE_WIDTH}} {origin}"
    for more in rest:
        yield f"  {'':<{_NAME_WIDTH}} {more}"
