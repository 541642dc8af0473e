"""What ``scheduler run`` makes sure of before anything is changed. Each raises BadInput."""

from __future__ import annotations

import os
import re
import sys
from importlib import metadata, util
from pathlib import Path
from typing import Any, Literal

from scheduler.core.model import Run
from scheduler.interfaces.errors import BadInput
from scheduler.interfaces.known import known_run
from scheduler.machine import budgets, hosts
from scheduler.machine.admittance import misfit
from scheduler.machine.config.loading import Config, ConfigError, here_with, load, load_settings
from scheduler.machine.runs import RunSpec, read_whole
from scheduler.machine.state import StateFolder

OPTUNA = (5, 0)

Kind = Literal["script", "function"]


def check_optuna() -> None:
    """This Python has an Optuna that we can run. Does not import it."""
    wanted = ".".join(map(str, OPTUNA))
    remedy = f"Install it there: {sys.executable} -m pip install 'optuna>={wanted}'"
    try:
        found = metadata.version("optuna") if util.find_spec("optuna") is not None else None
    except metadata.PackageNotFoundError:  # a folder of that name is on the path, and no more
        found = None
    if found is None:
        raise BadInput(f"Optuna is not installed for {sys.executable}. {remedy}")
    if tuple(map(int, re.findall(r"\d+", found)[:2])) < OPTUNA:
        raise BadInput(f"Optuna {found} is too old; {wanted} or later is needed. {remedy}")


def kind_of(target: str) -> Kind:
    """A file is a script, whatever its name; else MODULE:FUNCTION may be meant."""
    if Path(target).is_file():
        return "script"
    if Path(target).is_dir():
        raise BadInput(f"{target} is a folder; name the script in it")
    if names_function(target):
        return "function"
    if ":" not in target:
        raise BadInput(f"there is no script {target!r} in {os.getcwd()}")
    raise BadInput(f"{target!r} is neither a script that is there nor MODULE:FUNCTION")


def names_function(target: str) -> bool:
    """Whether *target* has the form of MODULE:FUNCTION and is not a file all the same."""
    module, colon, function = target.rpartition(":")
    parts = [*module.split("."), *function.split(".")]
    return bool(colon) and all(map(str.isidentifier, parts)) and not Path(target).exists()


def check_study_options(kind: Kind, given: dict[str, Any]) -> None:
    """The options that make a study go with a function only."""
    named = [f"--{name.replace('_', '-')}" for name, value in given.items() if value is not None]
    if kind == "script" and named:
        raise BadInput(
            f"{named[0]} is for MODULE:FUNCTION; a script makes its own study and decides this"
            " itself. Options of the script's own come after its name"
        )


def read_config(settings: Path | None = None) -> Config:
    """The configuration is right, where there is one, and *settings* for one run above it."""
    try:
        loaded = load()
        return loaded.config if settings is None else load_settings(settings, loaded)
    except ConfigError as error:
        raise BadInput(f"the configuration is wrong\n{error}") from None


def check_fits(run: Run, config: Config) -> None:
    """A device can give what a trial of *run* is to be promised."""
    here = here_with(config, budgets.look_here())
    readable = {budget.device.key for budget in here.budgets}
    for one in here.left_out:
        if one.key == run.device and one.key not in readable:
            raise BadInput(f"device {one.key} ({one.name}) is not used here: {one.because}")
    problem = misfit(run, here.budgets)
    if problem is not None:
        raise BadInput(problem)


def resumable(state: StateFolder, run: str) -> RunSpec:
    """What a run that is over, but not done, was started with."""
    folder = known_run(state, run)
    spec = read_whole(folder / "run.json", RunSpec)
    if spec is None:
        raise BadInput(f"run {run} was never begun: {folder} has no run.json")
    status = hosts.read_status(state, run)
    if status is not None and hosts.is_alive(status):
        raise BadInput(f"run {run} is running already (pid {status.host_pid})")
    if status is not None and status.state == "finished":
        raise BadInput(f"run {run} is finished, nothing is left to do; `scheduler status {run}`")
    if not Path(spec.folder).is_dir():
        raise BadInput(f"run {run} was started in {spec.folder}, which is not there any more")
    return spec
