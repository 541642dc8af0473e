"""``--ranges FILE``: ranges as `scheduler ranges --json` prints them, or written by hand.

By hand: ``{"lr": [1e-4, 1e-2], "optimizer": ["adam"], "batch": {"choices": [16, 64]}}``. Read when
the run is asked for; whether the objective has such parameters is seen when it suggests them.
"""

from __future__ import annotations

import json
import math
import os
from pathlib import Path
from typing import Any

import msgspec

from scheduler.interfaces.errors import BadInput
from scheduler.strategies.ranges import PLAIN, Limits

WANTED = 'wanted: [low, high], a list of choices, {"low": …, "high": …} or {"choices": […]}'


def read_ranges(path: str) -> dict[str, Any]:
    """Limits by parameter, as JSON has them. Raises BadInput."""
    try:
        text = Path(path).read_text(encoding="utf-8")
        found = json.loads(text)
    except FileNotFoundError:
        raise BadInput(f"--ranges: there is no file {path!r} in {os.getcwd()}") from None
    except (OSError, ValueError) as error:
        raise BadInput(f"--ranges: {path} cannot be read as JSON: {error}") from None
    try:
        limits = parse_ranges(found)
    except ValueError as error:
        raise BadInput(f"--ranges: {path}: {error}") from None
    told: dict[str, Any] = msgspec.to_builtins(limits)
    return told


def parse_ranges(found: Any) -> dict[str, Limits]:
    """Raises ValueError with a sentence."""
    if not isinstance(found, dict) or not found:
        raise ValueError('wanted: an object with parameters, as in {"lr": [1e-4, 1e-2]}')
    if isinstance(found.get("parameters"), list):
        limits = _of_table(found["parameters"])
    else:
        limits = {str(name): parse_limits(str(name), it) for name, it in found.items()}
    if not limits:
        raise ValueError("none of its parameters is narrowed")
    return limits


def _of_table(rows: list[Any]) -> dict[str, Limits]:
    if not all(isinstance(row, dict) and "name" in row for row in rows):
        raise ValueError("`parameters` is not what `scheduler ranges --json` prints")
    narrowed = (row for row in rows if row.get("limits"))
    return {str(row["name"]): parse_limits(str(row["name"]), row["limits"]) for row in narrowed}


def parse_limits(name: str, found: Any) -> Limits:
    """Of one parameter. Raises ValueError with a sentence."""
    if isinstance(found, list) and found:
        pair = found if len(found) == 2 and all(map(_is_number, found)) else (None, None)
        return _checked(name, pair[0], pair[1], tuple(found))
    if isinstance(found, dict) and found and set(found) <= {"low", "high", "choices"}:
        choices = found.get("choices") or []
        if isinstance(choices, list):
            return _checked(name, found.get("low"), found.get("high"), tuple(choices))
    raise ValueError(f"{name}: {json.dumps(found)}: {WANTED}")


def _checked(name: str, low: Any, high: Any, choices: tuple[Any, ...]) -> Limits:
    for end in (low, high):
        if end is not None and not _is_number(end):
            raise ValueError(f"{name}: {json.dumps(end)} is no end of a range; {WANTED}")
    if low is None and high is None and not choices:
        raise ValueError(f"{name}: nothing is said of it; {WANTED}")
    if low is not None and high is not None and low > high:
        raise ValueError(
            f"{name}: from {low} to {high} there is nothing; the lower end comes first"
        )
    if not all(isinstance(choice, PLAIN) for choice in choices):
        raise ValueError(f"{name}: a choice is a text, a number, true, false or null")
    return Limits(low=low, high=high, choices=choices)


def _is_number(found: Any) -> bool:
    return isinstance(found, int | float) and not isinstance(found, bool) and math.isfinite(found)
