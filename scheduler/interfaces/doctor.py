"""``scheduler doctor``: what a new user needs, whether it is there, and what to do if not."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import click
import msgspec

from scheduler.interfaces.checkup.findings import Check

NAME_WIDTH = 12  #: the longest name of a check; lines are told before all names are known


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """All checks, in the order in which they are told."""

    can_run: bool  #: no check found a problem
    verdict: str
    checks: tuple[Check, ...]


@click.command()
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
def command(as_json: bool) -> None:
    """Check what trials need on this machine, and say what to do. Changes nothing.

    Ends with 0 when trials can run, with 1 when something stops them; warnings stop nothing.
    """
    from scheduler.interfaces.checkup.examine import examine, parts
    from scheduler.interfaces.checkup.findings import this_machine

    where = this_machine()
    checks = []
    for check in examine(where, parts(where)):
        checks.append(check)
        if not as_json:
            click.echo("\n".join(check_lines(check)))
    report = judge(tuple(checks))
    click.echo(msgspec.json.encode(report) if as_json else f"\n{report.verdict}")
    sys.exit(0 if report.can_run else 1)


def judge(checks: tuple[Check, ...]) -> Report:
    """Pure."""
    problems = sum(check.state == "problem" for check in checks)
    warnings = sum(check.state == "warning" for check in checks)
    beside = f", with {_counted(warnings, 'warning')}" if warnings else ""
    verdict = f"trials can run{beside}"
    if problems:
        verdict = f"{_counted(problems, 'problem')} to solve before trials can run{beside}"
    return Report(can_run=not problems, verdict=verdict, checks=checks)


def _counted(count: int, word: str) -> str:
    return f"{count} {word}" if count == 1 else f"{count} {word}s"


def check_lines(check: Check) -> Iterator[str]:
    yield f"{check.state:<8} {check.name:<{NAME_WIDTH}} {check.seen}"
    if check.todo is not None:
        yield f"         do: {check.todo}"
