"""``scheduler set RUN NAME=VALUE``: settings of a run that are changed while it goes on.

Left in a file of the run's folder, which its host looks at: it works without a supervisor too.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import click
import msgspec

from scheduler.interfaces.errors import BadInput, Failed
from scheduler.interfaces.known import known_run
from scheduler.machine import hosts
from scheduler.machine.runs import RunSpec, read_whole, write_whole
from scheduler.machine.state import find
from scheduler.strategies import wishes
from scheduler.strategies.wishes import ANSWERS, FILE, Answers, Key, Wishes

PATIENCE_S = 3.0
_POLL_S = 0.05


@click.command()
@click.argument("run")
@click.argument("settings", nargs=-1, required=True, metavar="NAME=VALUE...")
def command(run: str, settings: tuple[str, ...]) -> None:
    """Change settings of RUN while it goes on, or before it does.

    \b
    pruning=none       who ends hopeless trials, as --pruning
    ranges=off         parameters' ranges as narrowed ones, on or off
    target=0.9         end once a trial is as good
    floor=0.15         go on once while no trial is as good
    extend_to=600      to so many trials
    patience=50        end after so many without a better one
    n_trials=600       how many there are to be
    max_trials=2       at most so many at once
    fixed=pruning,ranges   what is not to change by itself

    Nothing after the = takes a setting away.
    """
    try:
        values = wishes.parse(settings)
    except ValueError as error:
        raise BadInput(str(error)) from None
    known_run(find(), run)
    put(run, values, "set by you")


def fixed_of(run: str) -> tuple[str, ...]:
    """What is not to change by itself, as things stand. Raises Failed."""
    folder = known_run(find(), run)
    try:
        wish = (read_whole(folder / FILE, Wishes) or Wishes()).of.get("fixed")
        spec = read_whole(folder / "run.json", RunSpec)
    except (OSError, msgspec.MsgspecError, ValueError) as error:
        raise Failed(f"the folder {folder} cannot be read: {error}") from None
    if wish is not None:
        return wishes.subjects_of(wish.value)
    return spec.asked.fixed if spec is not None else ()


def put(run: str, values: Mapping[Key, str], because: str) -> None:
    """Leave *values* for the run's host, and print what it says to them.

    Raises BadInput where the run is over, Failed where nothing can be written.
    """
    state = find()
    folder, status = state.run(run), hosts.read_status(state, run)
    if status is not None and status.state == "finished":
        raise BadInput(f"run {run} is finished, nothing of it changes any more")
    try:
        wished = _merge(folder, values, because)
    except (OSError, msgspec.MsgspecError, ValueError) as error:
        raise Failed(f"{folder / FILE} cannot be changed: {error}") from None
    numbers = {key: wished.of[key].number for key in values}
    deadline_s = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline_s and hosts.is_host_alive(state, run):
        said = _said(folder, numbers)
        if said is not None:
            click.echo("\n".join(said))
            return
        time.sleep(_POLL_S)
    shown = " ".join(f"{key}={value}" for key, value in values.items())
    click.echo(f"run {run} will take it up when it goes on: {shown}")


def _merge(folder: Path, values: Mapping[Key, str], because: str) -> Wishes:
    with _alone(folder):
        before = read_whole(folder / FILE, Wishes) or Wishes()
        wished = before.merged(values, because)
        write_whole(folder / FILE, wished)
    return wished


@contextlib.contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Two who set something at once must both be heard."""
    lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
    finally:
        os.close(lock)


def _said(folder: Path, numbers: Mapping[Key, int]) -> list[str] | None:
    """What the host says to each; None while it has not said it to all."""
    try:
        answers = read_whole(folder / ANSWERS, Answers) or Answers()
    except (OSError, msgspec.MsgspecError, ValueError):
        return None
    found = [answers.of.get(key) for key in numbers]
    told = [
        one.said
        for one, number in zip(found, numbers.values(), strict=True)
        if one is not None and one.number >= number
    ]
    return told if len(told) == len(numbers) else None
