"""``scheduler submit``: puts a run into the supervisor's queue and returns at once."""

from __future__ import annotations

import contextlib
import shutil
from typing import Any

import click
import msgspec

from scheduler.interfaces import checks
from scheduler.interfaces.client import NoAnswer, Refused, order
from scheduler.interfaces.errors import BadInput, Failed
from scheduler.interfaces.run import CONTEXT, RunCommand, make_run, read_spec, run_options
from scheduler.machine.hosts import OUTPUT, write_environment
from scheduler.machine.runs import RunSpec, write_whole
from scheduler.machine.state import StateFolder, find, open_state
from scheduler.machine.summon import NoSupervisor, ensure_supervisor


@click.command(cls=RunCommand, context_settings=CONTEXT)
@click.option(
    "--priority", type=click.IntRange(-1_000_000, 1_000_000), default=0, metavar="P",
    help="Larger goes first. Default: 0.",
)  # fmt: skip
@click.option("--after", multiple=True, metavar="RUN", help="Wait until RUN is finished.")
@run_options
def command(**asked: Any) -> None:
    """Queue the trials of TARGET, a script or MODULE:FUNCTION, and print the run's id.

    The run goes on when this terminal is closed, and after a reboot.
    """
    checks.check_optuna()
    known = find().run_ids()
    for other in asked["after"]:
        if other not in known:
            latest = f"the latest are: {', '.join(known[:10])}" if known else "there are none yet"
            raise BadInput(f"--after {other}: there is no such run; {latest}")
    spec = read_spec(asked)
    run, _ = hand_over(open_state(), spec)
    click.echo(run)


def hand_over(state: StateFolder, spec: RunSpec) -> tuple[str, int]:
    """Has the supervisor keep the run, a new one where *spec* has no id yet.

    Returns the id, and from where on in its output what is printed is new. Raises Failed, and then
    no new run is left behind.
    """
    spec = msgspec.structs.replace(spec, kept=True)
    is_new = not spec.run.id
    ensure_lasting(state)  # before there is a run: one that begins takes up all that it finds
    run = make_run(state, spec) if is_new else _renew(state, spec)
    try:
        _order(state, "/v1/runs", {"run": run})
    except BaseException:
        if is_new:
            shutil.rmtree(state.run(run))
        raise
    from_byte = 0
    if not is_new:
        with contextlib.suppress(FileNotFoundError):
            from_byte = (state.run(run) / OUTPUT).stat().st_size
    return run, from_byte


def _renew(state: StateFolder, spec: RunSpec) -> str:
    folder = state.run(spec.run.id)
    write_environment(folder)
    write_whole(folder / "run.json", spec)
    return spec.run.id


def ensure_lasting(state: StateFolder) -> None:
    """A lasting supervisor runs when this returns. Raises Failed."""
    try:
        ensure_supervisor(state, lasting=True)
    except NoSupervisor as error:
        raise Failed(str(error)) from None
    _order(state, "/v1/supervisor/stay")


def _order(state: StateFolder, path: str, body: dict[str, Any] | None = None) -> None:
    try:
        if not order(state, path, body):
            raise Failed("the supervisor has ended meanwhile; see: scheduler doctor")
    except (Refused, NoAnswer) as error:
        raise Failed(str(error)) from None
