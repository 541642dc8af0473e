"""What an Optuna script says of itself, read from its text; nothing of it is run. Pure.

Optuna's calls are known by their names and by what they are called on, not by what these are: a
script may hide them (a loop over names, a helper of its own), and then they are not found.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from typing import Any

import msgspec

_CREATES = {"create_study", "load_study"}
_SUGGESTS = {
    "suggest_float": "float",
    "suggest_int": "int",
    "suggest_categorical": "categorical",
    # Deprecated, and still in many scripts (Optuna 3.0).
    "suggest_uniform": "float",
    "suggest_loguniform": "float",
    "suggest_discrete_uniform": "float",
}
_ORDER = {
    "float": ("name", "low", "high"),
    "int": ("name", "low", "high"),
    "categorical": ("name", "choices"),
}


class Written(msgspec.Struct, frozen=True):
    """An argument as it stands in the script. ``value`` is None where it is no literal."""

    text: str
    value: Any = None


class Suggestion(msgspec.Struct, frozen=True, kw_only=True):
    """A ``suggest_*`` call."""

    line: int
    kind: str  #: float, int or categorical
    name: Written
    arguments: dict[str, Written]  #: by name, without the name's own


class Call(msgspec.Struct, frozen=True, kw_only=True):
    """``create_study``, ``load_study`` or ``optimize``, with its arguments by name."""

    line: int
    arguments: dict[str, Written]


class Source(msgspec.Struct, frozen=True, kw_only=True):
    """What was found, in the script's order."""

    suggestions: tuple[Suggestion, ...] = ()
    studies: tuple[Call, ...] = ()
    optimizes: tuple[Call, ...] = ()
    reports: bool = False  #: it reports intermediate values
    asks: bool = False  #: it asks whether it should be pruned
    saves: bool = False  #: it asks for a folder for checkpoints
    uses_torch: bool = False


def read_source(text: str) -> Source:
    """Raises SyntaxError, also for what no parser takes (zero bytes, 10,000 brackets)."""
    try:
        tree = ast.parse(text)
    except (ValueError, RecursionError, MemoryError) as error:
        raise SyntaxError(str(error)) from None
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
    calls.sort(key=lambda node: (node.lineno, node.col_offset))
    named = [(_name(node), node) for node in calls]
    names = {name for name, _ in named}
    return Source(
        suggestions=tuple(
            _suggestion(_SUGGESTS[name], at) for name, at in named if name in _SUGGESTS
        ),
        studies=tuple(_call(at, ()) for name, at in named if name in _CREATES),
        optimizes=tuple(
            _call(at, ("func", "n_trials", "timeout", "n_jobs"))
            for name, at in named
            if name == "optimize" and isinstance(at.func, ast.Attribute) and _has_objective(at)
        ),
        reports="report" in names,
        asks="should_prune" in names,
        saves="checkpoint_dir" in names,
        uses_torch="torch" in set(_imported(tree)),
    )


def _name(call: ast.Call) -> str:
    match call.func:
        case ast.Attribute(attr=name) | ast.Name(id=name):
            return name
    return ""


def _has_objective(call: ast.Call) -> bool:
    """Others have an ``optimize`` too, but not of a function first."""
    first = call.args[0] if call.args else None
    kinds = ast.Name | ast.Attribute | ast.Lambda | ast.Call  # the last: functools.partial(...)
    return isinstance(first, kinds) or any(one.arg == "func" for one in call.keywords)


def _suggestion(kind: str, call: ast.Call) -> Suggestion:
    arguments = _arguments(call, _ORDER[kind])
    if _name(call) == "suggest_loguniform":
        arguments["log"] = Written("True", True)
    if _name(call) == "suggest_discrete_uniform" and "q" in arguments:
        arguments["step"] = arguments.pop("q")
    name = arguments.pop("name", Written("?"))
    return Suggestion(line=call.lineno, kind=kind, name=name, arguments=arguments)


def _call(call: ast.Call, order: tuple[str, ...]) -> Call:
    return Call(line=call.lineno, arguments=_arguments(call, order))


def _arguments(call: ast.Call, order: tuple[str, ...]) -> dict[str, Written]:
    found = dict(zip(order, map(_written, call.args), strict=False))
    return found | {one.arg: _written(one.value) for one in call.keywords if one.arg is not None}


def _written(node: ast.expr) -> Written:
    try:
        value = ast.literal_eval(node)
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
        value = None
    return Written(ast.unparse(node), value)


def _imported(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            yield node.module.partition(".")[0]
