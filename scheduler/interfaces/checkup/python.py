"""Python, this package and Optuna: versions, and where they come from. Imports none of them."""

from __future__ import annotations

import platform
import re
from importlib import metadata, util

import msgspec

from scheduler.interfaces.checks import OPTUNA
from scheduler.interfaces.checkup.findings import Check, Where, ok, problem, warning

NAME = "optuna"
BEFORE = (6, 0)  #: pyproject.toml: the first that was not tried


class Facts(msgspec.Struct, frozen=True, kw_only=True):
    """Versions None: not installed here."""

    python: str
    python_version: str
    optuna: str | None
    folder: str | None = None  #: where Optuna is
    ours: str | None = None


def check(where: Where) -> tuple[Check, ...]:
    return judge(read(where))


def read(where: Where) -> Facts:
    spec = util.find_spec("optuna")
    return Facts(
        python=where.python,
        python_version=platform.python_version(),
        optuna=_version("optuna") if spec is not None else None,
        folder=next(iter(spec.submodule_search_locations or ()), None) if spec else None,
        ours=_version("optuna-gpu-trial-scheduler"),
    )


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def judge(facts: Facts) -> tuple[Check, ...]:
    least, before = (".".join(map(str, version)) for version in (OPTUNA, BEFORE))
    where = f"Python {facts.python_version} ({facts.python})"
    todo = f"{facts.python} -m pip install 'optuna>={least},<{before[0]}'"
    if facts.optuna is None:
        return (problem(NAME, f"not installed for {where}", todo),)
    found = tuple(map(int, re.findall(r"\d+", facts.optuna)[:2]))
    seen = f"Optuna {facts.optuna} in {facts.folder}, {where}"
    if found < OPTUNA:
        return (problem(NAME, f"{seen}: too old, {least} or later is needed", todo),)
    if found >= BEFORE:
        return (warning(NAME, f"{seen}: newer than what was tried", todo),)
    return (ok(NAME, f"{seen}, scheduler {facts.ours or 'not installed'}"),)
