"""The command line: the group, its commands loaded when they are called, errors and exit codes.

0: done. 1: it failed. 2: bad input, and nothing was changed. Each command has a module of its own.
"""

from __future__ import annotations

import importlib
import sys
from typing import Any

import click

#: name, module and help: --help must not import them all
COMMANDS = {
    "run": "Run a script's trials side by side.",
    "submit": "Put a run into the supervisor's queue and return at once.",
    "start": "Start the supervisor, to stay.",
    "stop": "Stop the supervisor; what was submitted goes on when it starts again.",
    "restart": "Put a new supervisor in the old one's place; trials go on.",
    "service": "Have systemd start the supervisor when you log in, or at boot.",
    "status": "What runs, what waits and why.",
    "runs": "One line a run.",
    "trials": "One line a trial of a run.",
    "forecast": "What a run's trials are believed to need of memory, and why.",
    "ranges": "Where a study's best trials lie, parameter by parameter.",
    "events": "What happened, and what happens.",
    "rollbacks": "What was changed in a run, and why; takes it back.",
    "set": "Change settings of a run while it goes on.",
    "pause": "Start no more trials of a run for now.",
    "resume": "End a run's pause.",
    "cancel": "Stop a run for good.",
    "pause-device": "Start no more trials on a device for now.",
    "resume-device": "Use a device again.",
    "devices": "What was found on this machine, and what it says.",
    "logs": "What an attempt printed.",
    "simulate": "Plays a workload or a run on a virtual clock: how long, and what if.",
    "report": "Writes one page of HTML with all of a run.",
    "doctor": "Checks what a new user needs, and says what to do.",
    "init": "Reads a script and writes settings for its runs.",
    "config": "Checks the configuration file and shows what holds.",
}


class _Lazy(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        if name not in COMMANDS:
            return None
        module = importlib.import_module(f"scheduler.interfaces.{name.replace('-', '_')}")
        command: click.Command = module.command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


def _show_version(ctx: click.Context, param: click.Parameter, wanted: bool) -> None:
    if wanted and not ctx.resilient_parsing:
        from importlib.metadata import version

        click.echo(f"scheduler {version('optuna-gpu-trial-scheduler')}")
        ctx.exit()


@click.command(cls=_Lazy, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--version", is_flag=True, is_eager=True, expose_value=False, callback=_show_version,
    help="Show the version and exit.",
)  # fmt: skip
def group() -> None:
    """Runs the trials of an Optuna script side by side, as many as measured memory allows."""


def main(arguments: list[str] | None = None) -> Any:
    """The ``scheduler`` command."""
    from scheduler.machine.state import StateError

    try:
        group.main(arguments, prog_name="scheduler")
    except StateError as error:
        click.echo(f"Error: {error}", err=True)
        sys.exit(2)
    except BrokenPipeError:  # the reader (head, less) has seen enough
        sys.stdout = None  # nothing is left to flush to
        sys.exit(1)
