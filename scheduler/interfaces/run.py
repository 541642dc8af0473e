"""``scheduler run``: makes the run's folder and becomes the run's host.

Where a lasting supervisor runs, the run is handed over to it and followed instead (``submit``,
``follow``). What is asked is checked first (``checks``); what a run does is in ``scheduler.study``.
"""

from __future__ import annotations

import os
import shutil
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn

import click
import msgspec

from scheduler.core.model import Run
from scheduler.interfaces import checks, memory_options, strategy_options
from scheduler.interfaces.errors import BadInput, Failed
from scheduler.machine.config.defaults import run_defaults
from scheduler.machine.hosts import write_environment
from scheduler.machine.runs import ASKED, RunSpec, write_whole
from scheduler.machine.sizes import parse_size
from scheduler.machine.state import StateFolder, find, new_run, open_state
from scheduler.machine.summon import NoSupervisor, ensure_supervisor, is_lasting


class Size(click.ParamType[int]):
    name = "size"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        try:
            return parse_size(str(value))
        except ValueError as error:
            self.fail(str(error), param, ctx)


_AT_LEAST_ONE = click.IntRange(min=1)
CONTEXT = {"allow_interspersed_args": False}
_TYPED = click.core.ParameterSource.COMMANDLINE


class RunCommand(click.Command):
    """Options of ours may follow MODULE:FUNCTION too: it has no arguments of its own."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        target, after = self._words(ctx, args)
        if after and target and checks.names_function(target):
            unknown, more = self._words(ctx, after)
            if unknown:
                seen = " ".join([unknown, *more])
                raise click.UsageError(f"{target} takes no arguments; seen: {seen}")
            args = [*args[: len(args) - 1 - len(after)], *after, target]
        return super().parse_args(ctx, args)

    def _words(self, ctx: click.Context, args: Sequence[str]) -> tuple[str | None, Sequence[str]]:
        """The first that is no option, and all behind it."""
        found, _, _ = self.make_parser(ctx).parse_args(list(args))
        target, after = found.get("target"), found.get("arguments")
        # What is not there is None or a mark of click's own, by its version.
        return (
            target if isinstance(target, str) else None,
            after if isinstance(after, tuple | list) else (),
        )


#: What `scheduler submit` takes as well.
_OPTIONS = (
    click.option("--device", metavar="KEY", help="Only this device; see `scheduler devices`."),
    click.option(
        "--memory-per-trial",
        type=Size(),
        help="What a trial is promised until its peak is known."
        " Default: 6GiB on a GPU, 1GiB on RAM.",
    ),
    click.option(
        "--max-trials",
        type=_AT_LEAST_ONE,
        metavar="N",
        help="At most so many at once. Default: memory decides; on host RAM one a core too.",
    ),
    click.option("--n-trials", type=_AT_LEAST_ONE, metavar="N", help="Overrides the script's own."),
    click.option(
        "--reserve", type=Size(), help="Kept free. Default: 10 %, on a GPU at least 512MiB."
    ),
    click.option("--no-containment", is_flag=True, help="Do not cap what a trial may hold."),
    click.option(
        "--start",
        type=click.Choice(["auto", "fork", "re-run"]),
        help="How a trial's process comes to be. Default: forked where that is safe.",
    ),
    click.option(
        "--direction",
        type=click.Choice(["minimize", "maximize"]),
        help="For MODULE:FUNCTION: what to do with its value. Default: minimize.",
    ),
    click.option("--storage", metavar="URL", help="For MODULE:FUNCTION: the study's storage."),
    click.option("--study-name", metavar="NAME", help="For MODULE:FUNCTION: the study's name."),
    click.option("--name", metavar="NAME", help="The run's name. Default: the script's."),
    click.option(
        "--settings",
        type=click.Path(path_type=Path),
        metavar="FILE",
        help="Settings for this run, as `scheduler init` writes them.",
    ),
)


def run_options(function: Callable[..., None]) -> Callable[..., None]:
    """The options and arguments that say what is to run, and how."""
    function = click.argument("arguments", nargs=-1, type=click.UNPROCESSED)(function)
    function = click.argument("target", required=False)(function)
    for option in reversed((*_OPTIONS, *memory_options.OPTIONS, *strategy_options.OPTIONS)):
        function = option(function)
    return function


@click.command(cls=RunCommand, context_settings=CONTEXT)
@click.option("--resume", metavar="RUN", help="Go on with a run that was interrupted.")
@run_options
@click.pass_context
def command(ctx: click.Context, /, resume: str | None, **asked: Any) -> None:
    """Run the trials of TARGET, a script or MODULE:FUNCTION, side by side.

    What follows a script is the script's own.
    """
    checks.check_optuna()
    if resume is not None:
        _resume(ctx, resume)
    spec = read_spec(asked)
    state = open_state()
    if is_lasting(state):
        _hand_over(state, spec)
    run = make_run(state, spec)
    try:
        _reach_supervisor(state)
    except BaseException:
        shutil.rmtree(state.run(run))
        raise
    _become_host(state, run)


def make_run(state: StateFolder, spec: RunSpec) -> str:
    """The run's folder with what was asked for in it; returns the run's id."""
    run = new_run(state, _stem(spec))
    try:
        named = msgspec.structs.replace(spec.run, id=run)
        if spec.kept:
            write_environment(state.run(run))
        write_whole(state.run(run) / "run.json", msgspec.structs.replace(spec, run=named))
    except BaseException:
        shutil.rmtree(state.run(run))
        raise
    return run


def read_spec(asked: dict[str, Any]) -> RunSpec:
    """What is asked for, its run still without an id. Raises BadInput."""
    if asked["target"] is None:
        raise BadInput("say what to run: a script, or MODULE:FUNCTION; or --resume RUN")
    kind = checks.kind_of(asked["target"])
    study = {name: asked[name] for name in ("direction", "storage", "study_name")}
    checks.check_study_options(kind, study)
    config = checks.read_config(asked["settings"])
    run = Run(
        id="",
        name=asked["name"] or "",
        device=asked["device"],
        promise_bytes=asked["memory_per_trial"],
        reserve_bytes=asked["reserve"],
        max_attempts=asked["max_trials"],
        contain=not asked["no_containment"],
        priority=asked.get("priority", 0),
        overrun_share=config.run.overrun_share if asked["overrun"] is None else asked["overrun"],
    )
    run = run_defaults(config, run)
    checks.check_fits(run, config)
    strategies = strategy_options.read_asked(asked, config)
    return RunSpec(
        run=run,
        kind=kind,
        target=asked["target"],
        arguments=asked["arguments"],
        folder=os.getcwd(),
        created_at_s=time.time(),
        n_trials=asked["n_trials"],
        start=asked["start"] or config.run.start,
        python=sys.executable,
        umask=_umask(),
        priority=run.priority,
        after=asked.get("after", ()),
        stop_grace_s=config.attempts.stop_grace_s,
        nice=config.attempts.nice,
        io=config.attempts.io,
        threads=config.attempts.threads,
        asked=strategies,
        memory_from=memory_options.read_memory_from(asked["memory_from"]),
        **study,
    )


def _umask() -> int:
    """It can be read only by setting it."""
    now = os.umask(0o077)
    os.umask(now)
    return now


def _stem(spec: RunSpec) -> str:
    if spec.run.name:
        return spec.run.name
    if spec.kind == "script":
        return Path(spec.target).stem
    return spec.target.partition(":")[0].rpartition(".")[2]


def _resume(ctx: click.Context, run: str) -> NoReturn:
    given = [
        name for name in ctx.params if name != "resume" and ctx.get_parameter_source(name) is _TYPED
    ]
    if given:
        names = ", ".join(given)
        raise BadInput(f"--resume goes on with what the run was started with; leave out: {names}")
    state = find()
    spec = checks.resumable(state, run)
    if is_lasting(open_state()):
        _hand_over(state, spec)
    # Nobody keeps it now but this terminal.
    mine = msgspec.structs.replace(spec, kept=False)
    write_whole(state.run(run) / "run.json", mine)
    (state.run(run) / ASKED).unlink(missing_ok=True)
    _reach_supervisor(open_state())
    os.chdir(spec.folder)
    _become_host(state, run)


def _hand_over(state: StateFolder, spec: RunSpec) -> NoReturn:
    """The lasting supervisor keeps the run; here it is shown."""
    from scheduler.interfaces import follow, submit

    run, from_byte = submit.hand_over(state, spec)
    sys.exit(follow.follow(state, run, from_byte))


def _reach_supervisor(state: StateFolder) -> None:
    try:
        ensure_supervisor(state)
    except NoSupervisor as error:
        raise Failed(str(error)) from None


def _become_host(state: StateFolder, run: str) -> NoReturn:
    """The same process goes on as the host, so that a terminal's signals and exit code are its."""
    sys.stdout.flush()
    sys.stderr.flush()
    arguments = [sys.executable, "-P", "-m", "scheduler.study.host", str(state.run(run))]
    os.execv(sys.executable, arguments)
