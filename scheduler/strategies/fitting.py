"""Whether a value suits a parameter, and what is to be said where it does not. Pure."""

from __future__ import annotations

import difflib
from collections.abc import Collection
from typing import Any

import msgspec

from scheduler.strategies.ranges import Range
from scheduler.strategies.warm_start import same_value

_ROUNDING = 1e-9  #: relative; a bound that was printed and read again is still that bound
_ON_STEP = 1e-6  #: of a step; likewise
_NAMED = 8  #: choices or names in a sentence


class Unfit(msgspec.Struct, frozen=True, kw_only=True):
    """``is_kind``: no range of this parameter would take it; else another range might.

    ``nearest``: the value that would do in its place; None: there is none.
    """

    problem: str
    is_kind: bool
    nearest: Any = None


class Fit(msgspec.Struct, frozen=True):
    """The value as the parameter takes it: a choice, a whole number, a float."""

    value: Any


def fit(name: str, value: Any, full: Range) -> Fit | Unfit:
    """*value* for parameter *name*, which may be what *full* says."""
    if full.low is None or full.high is None:
        return _choose(name, value, full)
    if isinstance(value, bool) or not isinstance(value, int | float):
        wanted = "a whole number" if full.kind == "int" else "a number"
        return Unfit(
            problem=f"{name} is {value!r}, {wanted} is wanted: {shown(full)}", is_kind=True
        )
    return _place(name, value, full, full.low, full.high)


def shown(full: Range) -> str:
    """`1e-05 to 0.1`, `1 to 9, step 2`, `'adam', 'sgd'`."""
    if full.low is None or full.high is None:
        return _listed([repr(one) for one in full.choices])
    is_dense = full.step is None or (full.kind == "int" and full.step == 1)
    step = "" if is_dense else f", step {full.step:g}"
    return f"{_number(full.low)} to {_number(full.high)}{step}"


def _number(value: float) -> str:
    return str(value) if isinstance(value, int) else f"{value:g}"


def _choose(name: str, value: Any, full: Range) -> Fit | Unfit:
    """By value; else by how it is written, where that is one choice only: a table's cells have no
    types, so `1` may be the text "1", and `None` none."""
    for choice in full.choices:
        if same_value(choice, value):
            return Fit(choice)
    written = [choice for choice in full.choices if str(choice).lower() == str(value).lower()]
    if len(written) == 1:
        return Fit(written[0])
    problem = f"{name} is {value!r}, which is none of its choices: {shown(full)}"
    return Unfit(problem=problem, is_kind=True)


def _place(name: str, value: float, full: Range, low: float, high: float) -> Fit | Unfit:
    inside = min(max(value, low), high)
    near = _on_step(inside, full, low, high)
    if abs(value - inside) > _ROUNDING * max(abs(low), abs(high)):
        problem = f"{name} is {_number(value)}, outside of its range: {shown(full)}"
        return Unfit(problem=problem, is_kind=False, nearest=near)
    if full.step is not None and abs(near - inside) > _ON_STEP * full.step:
        is_kind = full.kind == "int" and value != round(value)
        wanted = "a whole number is wanted" if is_kind else "which is between its steps"
        problem = f"{name} is {_number(value)}, {wanted}: {shown(full)}"
        return Unfit(problem=problem, is_kind=is_kind, nearest=near)
    return Fit(near)


def _on_step(value: float, full: Range, low: float, high: float) -> float:
    """The nearest value that there is."""
    if full.step is None:
        return float(value)
    most = int((high - low) / full.step + _ON_STEP)
    found = low + min(round((value - low) / full.step), most) * full.step
    return round(found) if full.kind == "int" else float(min(found, high))


def unknown_names(names: Collection[str], known: Collection[str]) -> str | None:
    """A sentence about those of *names* that the objective does not suggest; None: there are none.

    *known*: those that it does.
    """
    unknown = [name for name in names if name not in known]
    if not unknown:
        return None
    said = []
    for name in unknown:
        near = difflib.get_close_matches(name, known, 1)
        said.append(f"{name} (did you mean {near[0]}?)" if near else name)
    there = f"it suggests {_listed(sorted(known))}" if known else "it suggests nothing"
    return f"the objective does not suggest {', '.join(said)}; {there}"


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(names[:_NAMED]) + more
