"""Settings to try first, read from text: JSON, or CSV with a header. Pure.

A setting is a dict of values by parameter name. JSON is an object of that kind, a list of such, or
what people have at hand anyway: ``study.best_params`` dumped, an object with ``params`` (Optuna's
command line with ``-f json``; ``scheduler trials --json``), CSV of ``study.trials_dataframe()``,
whose ``params_`` columns count. Where a record tells its state, only finished ones count. How a
value suits a parameter is in ``fitting``.
"""

from __future__ import annotations

import csv
import json
import math
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import msgspec

_PARAMS = ("params", "best_params")  #: where an object that tells more keeps them
_COLUMN = "params_"  #: of Optuna's data frames and flattened tables
_WANTED = "a JSON object with a value for each parameter, or a list of such objects"
_INDEX = "#"  #: the index of a data frame, whose column has no name
_WHOLE = re.compile(r"[+-]?\d+")
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")
_SAME = 1e-5  #: relative; numbers as near as this are one (as in ``enqueue_trial``)


class WrongText(ValueError):
    """What is wrong with a text of settings: where, what was seen, what is wanted."""

    def __init__(self, name: str, where: str, problem: str) -> None:
        super().__init__(name, where, problem)
        self.name, self.where, self.problem = name, where, problem

    def __str__(self) -> str:
        return f"{', '.join(part for part in (self.name, self.where) if part)}: {self.problem}"


class Setting(msgspec.Struct, frozen=True, kw_only=True):
    """``source`` says for people where it comes from: `best.json, setting 2`."""

    params: dict[str, Any]
    source: str
    #: It was not written down for this objective: what does not suit it is fitted or left out.
    is_loose: bool = False


def parse_settings(text: str, name: str) -> tuple[Setting, ...]:
    """The settings in *text*, at least one; *name* is for people. Raises WrongText."""
    is_json = text.lstrip()[:1] in ("{", "[") or name.endswith(".json")
    found = list(_parse_json(text, name) if is_json else _parse_csv(text, name))
    if not found:
        raise WrongText(name, "", f"there is no setting in it; wanted: {_WANTED}, or CSV")
    return tuple(found)


# -- JSON ------------------------------------------------------------------------------------------


def _parse_json(text: str, name: str) -> Iterator[Setting]:
    try:
        found = json.loads(text, object_pairs_hook=_object, parse_constant=_no_number)
    except json.JSONDecodeError as error:
        where = f"line {error.lineno}, column {error.colno}"
        raise WrongText(name, where, f"this is no JSON: {error.msg}; wanted: {_WANTED}") from None
    except ValueError as error:
        raise WrongText(name, "", str(error)) from None
    except RecursionError:
        raise WrongText(name, "", f"too deeply nested; wanted: {_WANTED}") from None
    if isinstance(found, dict) and isinstance(found.get("trials"), list):
        found = found["trials"]
    records = found if isinstance(found, list) else [found]
    for number, record in enumerate(records, 1):
        where = f"setting {number}" if isinstance(found, list) else ""
        if not isinstance(record, dict):
            raise WrongText(name, where, f"{_kind(record)} where {_WANTED} was wanted")
        if _is_finished(record):
            yield _setting(_params_of(record), name, where)


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [key for key, _ in pairs]
        twice = next(key for key in names if names.count(key) > 1)
        raise ValueError(f"{twice!r} is there twice in one object")
    return found


def _no_number(text: str) -> Any:
    raise ValueError(f"{text} is no value of a parameter; a finite number was wanted")


def _params_of(record: dict[str, Any]) -> dict[str, Any]:
    for key in _PARAMS:
        if isinstance(record.get(key), dict):
            found: dict[str, Any] = record[key]
            return found
    return _columns_of(record)


def _columns_of(record: dict[str, Any]) -> dict[str, Any]:
    """Those of a table of Optuna's, else all of them."""
    named = {key.removeprefix(_COLUMN): v for key, v in record.items() if key.startswith(_COLUMN)}
    return named if named and "number" in record else record


def _is_finished(record: Mapping[str, Any]) -> bool:
    """A record of Optuna's or of ours tells its trial's state."""
    tells = "number" in record and "state" in record
    return not tells or str(record["state"]).lower() == "complete"


def _setting(params: dict[str, Any], name: str, where: str) -> Setting:
    if not params:
        raise WrongText(name, where, "it names no parameter")
    for key, value in params.items():
        if isinstance(value, dict) or (isinstance(value, float) and not math.isfinite(value)):
            wanted = "a number, text, true, false, null or a list was wanted"
            raise WrongText(name, where, f"{key} is {_kind(value)}; {wanted}")
    return Setting(params=params, source=", ".join(part for part in (name, where) if part))


def _kind(value: object) -> str:
    match value:
        case None:
            return "null"
        case bool():
            return json.dumps(value)
        case int() | float():
            return f"the number {value}"
        case str():
            return f"the text {value!r}"
        case dict():
            return "an object"
    return "a list"


# -- CSV -------------------------------------------------------------------------------------------


def _parse_csv(text: str, name: str) -> Iterator[Setting]:
    """One setting a line, below a header of names. An empty cell: not set there."""
    lines = csv.reader(text.splitlines(), delimiter=_delimiter(text), skipinitialspace=True)
    header: list[str] | None = None
    try:
        for cells in lines:
            if not any(cell.strip() for cell in cells):
                continue
            if header is None:
                header = _header(cells, name, lines.line_num)
                continue
            record = _record(header, cells, name, f"line {lines.line_num}")
            if _is_finished(record):
                yield _setting(_columns_of(record), name, f"line {lines.line_num}")
    except csv.Error as error:
        raise WrongText(name, f"line {lines.line_num}", f"this is no CSV: {error}") from None


def _delimiter(text: str) -> str:
    """The comma, unless the header has none and another one (spreadsheets write these)."""
    header = text.lstrip().partition("\n")[0]
    return next((one for one in ",;\t" if one in header), ",")


def _header(cells: list[str], name: str, line: int) -> list[str]:
    names = [cell.strip() for cell in cells]
    if len(names) > 1 and not names[0]:
        names[0] = _INDEX
    wrong = [one for one in names if not one or _NUMBER.fullmatch(one)]
    if wrong:
        seen = f"seen {wrong[0]!r}" if wrong[0] else "one is empty"
        raise WrongText(name, f"line {line}", f"a header of parameters' names was wanted; {seen}")
    if twice := [one for one in names[1:] if names.count(one) > 1]:
        raise WrongText(name, f"line {line}", f"the column {twice[0]} is there twice")
    return names


def _record(header: list[str], cells: list[str], name: str, where: str) -> dict[str, Any]:
    if len(cells) != len(header):
        counted = f"{len(cells)} cells below {len(header)} names"
        raise WrongText(name, where, f"{counted} ({', '.join(header)})")
    found = zip(header, cells, strict=True)
    return {key: parse_value(cell) for key, cell in found if cell.strip() and key != _INDEX}


def parse_value(text: str) -> bool | int | float | str:
    """What a cell looks like: a number or a boolean, else it is text."""
    seen = text.strip()
    if seen.lower() in ("true", "false"):
        return seen.lower() == "true"
    if _WHOLE.fullmatch(seen):
        return int(seen)
    if _NUMBER.fullmatch(seen) and math.isfinite(float(seen)):
        return float(seen)
    return seen


# -- which are the same ----------------------------------------------------------------------------


def same(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """The same names with the same values; what a number was rounded to in a table is no matter."""
    return one.keys() == other.keys() and all(same_value(one[key], other[key]) for key in one)


def same_value(one: Any, other: Any) -> bool:
    """``1`` and ``1.0`` are the same, ``1`` and ``True`` are not, a list is as good as a tuple."""
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    if isinstance(one, int | float) and isinstance(other, int | float):
        return math.isclose(one, other, rel_tol=_SAME, abs_tol=0.0)
    if isinstance(one, list | tuple) and isinstance(other, list | tuple):
        return len(one) == len(other) and all(map(same_value, one, other))
    return type(one) is type(other) and bool(one == other)


def distinct(settings: Iterable[Setting]) -> list[Setting]:
    """The first of each, in their order."""
    kept: list[Setting] = []
    for one in settings:
        if not any(same(one.params, other.params) for other in kept):
            kept.append(one)
    return kept
