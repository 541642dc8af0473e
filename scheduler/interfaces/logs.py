"""``scheduler logs RUN TRIAL``: what an attempt printed."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import click

from scheduler.interfaces.errors import BadInput
from scheduler.interfaces.known import known_run
from scheduler.machine.hosts import is_host_alive
from scheduler.machine.state import StateFolder, find

_POLL_S = 0.2


@click.command()
@click.argument("run")
@click.argument("trial", type=click.IntRange(min=0))
@click.option("-f", "--follow", is_flag=True, help="Go on printing until the run ends or Ctrl-C.")
def command(run: str, trial: int, follow: bool) -> None:
    """Print what the attempt with Optuna's trial number TRIAL of RUN wrote to its output."""
    state = find()
    path = known_run(state, run) / "logs" / f"{trial}.log"
    if not path.is_file():
        raise BadInput(f"run {run} has no log of trial {trial}; {_existing_logs(path.parent)}")
    try:
        _print(path, state, run, follow)
    except KeyboardInterrupt:
        click.echo()


def _existing_logs(folder: Path) -> str:
    try:
        names = [name.removesuffix(".log") for name in os.listdir(folder)]
    except FileNotFoundError:
        names = []
    numbers = sorted(int(name) for name in names if name.isdigit())
    return (
        f"there are: {format_ranges(numbers)}" if numbers else "no trial has printed anything yet"
    )


def format_ranges(numbers: list[int]) -> str:
    """ "0-3, 5" for 0, 1, 2, 3, 5."""
    ranges: list[list[int]] = []
    for number in numbers:
        if ranges and number == ranges[-1][1] + 1:
            ranges[-1][1] = number
        else:
            ranges.append([number, number])
    return ", ".join(f"{low}-{high}" if high > low else str(low) for low, high in ranges)


def _print(path: Path, state: StateFolder, run: str, follow: bool) -> None:
    with open(path, "rb") as log:
        while True:
            is_live = follow and is_host_alive(state, run) is not False
            while part := log.read(1 << 16):  # read after asking: nothing printed last is missed
                sys.stdout.buffer.write(part)
            sys.stdout.buffer.flush()
            if not is_live:
                return
            time.sleep(_POLL_S)
