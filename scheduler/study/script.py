"""Running the user's script (or ``module:function``) as if Python had been given it.

Not here: what happens at its ``optimize`` calls (``host``, ``role_attempt``).
"""

from __future__ import annotations

import builtins
import importlib
import os
import re
import sys
import traceback
from pathlib import Path
from types import ModuleType
from typing import Any

import optuna

from scheduler.machine.runs import RunSpec, read_whole
from scheduler.study.attempt.role import Again
from scheduler.study.channel import Line
from scheduler.study.takeover import Takeover


class BadTarget(Exception):
    """The target is not there or not what it should be; the text is for the user."""


def execute(spec: RunSpec) -> None:
    """Run the target to its end, in this process. What it raises comes out as it is.

    Raises BadTarget.
    """
    os.chdir(spec.folder)
    if spec.kind == "script":
        _execute_script(Path(spec.target), spec.arguments)
    else:
        _execute_function(spec)


def _execute_script(path: Path, arguments: tuple[str, ...]) -> None:
    """As ``python path arguments``: name, file, argv and the first entry of sys.path."""
    source = path.read_bytes()
    module = ModuleType("__main__")
    module.__dict__.update(
        __file__=str(path), __builtins__=builtins, __spec__=None, __package__=None
    )
    sys.modules["__main__"] = module
    sys.argv = [str(path), *arguments]
    sys.path.insert(0, str(path.resolve().parent))
    exec(compile(source, str(path), "exec"), module.__dict__)


def _execute_function(spec: RunSpec) -> None:
    """The few lines a script around the objective would have."""
    module_name, _, name = spec.target.partition(":")
    sys.path.insert(0, spec.folder)
    sys.argv = [spec.target, *spec.arguments]
    try:
        found: Any = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{module_name}.".startswith(f"{error.name}."):
            raise
        raise BadTarget(
            f"there is no module {module_name} (looked in {spec.folder} and the Python path)"
        ) from None
    for part in name.split("."):
        if not hasattr(found, part):
            raise BadTarget(f"{module_name} has no {name}")
        found = getattr(found, part)
    _study(spec).optimize(found, n_trials=spec.n_trials)


def _study(spec: RunSpec) -> optuna.Study:
    """What the command line asks for. Raises BadTarget where its storage cannot be opened."""
    try:
        return optuna.create_study(
            study_name=spec.study_name,
            storage=spec.storage,
            direction=spec.direction,  # type: ignore[arg-type]  # Optuna says what it takes
            load_if_exists=spec.study_name is not None,
        )
    except Exception as error:
        if spec.storage is None:
            raise
        said = str(error).partition("\n")[0]
        raise BadTarget(
            f"the storage {_without_password(spec.storage)} cannot be opened"
            f" ({type(error).__name__}: {said}). --storage takes a URL as Optuna does, such as"
            " sqlite:///study.db or postgresql://user@host/database"
        ) from None


def _without_password(url: str) -> str:
    """scheme://user:password@host/name, the password left out."""
    return re.sub(r"(?<=://)([^/@]*?):[^/]*@", r"\1:***@", url)


def print_own_traceback(error: BaseException, skip: str) -> None:
    """The user's traceback, without the frames of ours: files below *skip*."""
    report = traceback.TracebackException.from_exception(error)
    link: traceback.TracebackException | None = report
    while link is not None:
        own = [frame for frame in link.stack if not frame.filename.startswith(skip)]
        link.stack = traceback.StackSummary.from_list(own)
        link = link.__cause__ or link.__context__
    print("".join(report.format()), file=sys.stderr, end="", flush=True)


def run_again(folder: Path, target: int, line: Line) -> None:
    """In a process that is to become an attempt: run the script up to its line."""
    spec = read_whole(folder / "run.json", RunSpec)
    assert spec is not None
    protected: frozenset[str] = line.ask("protected")
    role = Again(line, target, protected)
    takeover = role.takeover = Takeover(role)
    takeover.install()
    optuna.logging.disable_default_handler()
    execute(spec)
    print(f"scheduler: the script ended before its optimize call {target}", file=sys.stderr)
