"""Forms of the configuration's values: what a key takes, and how it is read and written again.

A form reads what TOML or an environment variable holds, and writes a value again so that it could
be typed. Pure.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from scheduler.machine.config.written import (
    DAY_MIN,
    DURATIONS,
    MASK,
    PERCENTS,
    Address,
    mask_url,
    parse_clock,
    parse_days,
    parse_duration,
    parse_hours,
    parse_percent,
    write_clock,
    write_days,
    write_duration,
    write_hours,
    write_percent,
    write_size,
)
from scheduler.machine.sizes import parse_size


class Form(NamedTuple):
    """How a value is written. ``read`` raises ValueError or TypeError on what it does not take.

    ``from_text`` makes of an environment variable's text what TOML would hold, or leaves it as it
    is. ``write`` makes of a value what TOML would hold, without what is secret.
    """

    wanted: str
    read: Callable[[Any], Any]
    from_text: Callable[[str], Any] = str
    write: Callable[[Any], Any] = lambda value: value
    secret: bool = False  #: what was seen is shown through ``mask_url`` only


def _whole_number(text: str) -> Any:
    return int(text) if re.fullmatch(r"-?\d{1,18}", text, re.ASCII) else text


def _yes_or_no(text: str) -> Any:
    return {"true": True, "1": True, "false": False, "0": False}.get(text.lower(), text)


def _number(least: int, most: int | None) -> Callable[[Any], int]:
    def read(value: Any) -> int:
        if type(value) is not int:
            raise TypeError
        if value < least or (most is not None and value > most):
            raise ValueError
        return value

    return read


def _real(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError
    if not math.isfinite(value):
        raise ValueError
    return float(value)


def _share(value: Any) -> float:
    if not 0 <= _real(value) <= 1:
        raise ValueError
    return float(value)


def _as_number(text: str) -> Any:
    try:
        return float(text)
    except ValueError:
        return text


def _arguments(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise TypeError
    if not all(isinstance(one, bool | int | float | str) for one in value.values()):
        raise ValueError
    return dict(value)


def _named(text: str) -> Any:
    """`a=1,b=0.5`"""
    parts = [part.partition("=") for part in _split(text, ",")]
    if not all(name.strip() and sign for name, sign, _ in parts):
        return text
    return {name.strip(): _word(value.strip()) for name, _, value in parts}


def _word(text: str) -> Any:
    """As TOML would hold it: a whole number, a number, true or false, else text."""
    for read in (_whole_number, _as_number):
        if not isinstance(value := read(text), str):
            return value
    return {"true": True, "false": False}.get(text, text)


def _flag(value: Any) -> bool:
    if not isinstance(value, bool):
        raise TypeError
    return value


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError
    if not value.strip() or not value.isprintable():
        raise ValueError
    return value


def _of_text(parse: Callable[[str], Any]) -> Callable[[Any], Any]:
    return lambda value: parse(_text(value))


def _of_text_or_number(parse: Callable[[str], Any]) -> Callable[[Any], Any]:
    """A bare number is in the smallest unit, as on the command line."""

    def read(value: Any) -> Any:
        if isinstance(value, int | float) and not isinstance(value, bool):
            return parse(str(value))
        return parse(_text(value))

    return read


def _one_of(choices: Sequence[str | bool]) -> Callable[[Any], Any]:
    def read(value: Any) -> Any:
        # 1 == True: the type has to be the same as well.
        if not any(type(value) is type(choice) and value == choice for choice in choices):
            raise ValueError if isinstance(value, str | bool) else TypeError
        return value

    return read


def _each(read_one: Callable[[Any], Any]) -> Callable[[Any], Any]:
    def read(value: Any) -> tuple[Any, ...]:
        if not isinstance(value, list):
            raise TypeError
        return tuple(read_one(one) for one in value)

    return read


def _program(value: Any) -> str:
    name = _text(value)
    if "/" in name and not name.startswith("/"):
        raise ValueError
    return name


def _url(value: Any) -> str:
    url = _text(value).strip()
    if mask_url(url) == MASK:
        raise ValueError
    return Address(url)


def _digest(value: Any) -> int | None:
    if value == "off":
        return None
    minutes = parse_clock(_text(value))
    if minutes == DAY_MIN:
        raise ValueError
    return minutes


def count(least: int, most: int | None = None) -> Form:
    """A whole number."""
    bounds = f"of at least {least}" if most is None else f"from {least} to {most}"
    return Form(f"a whole number {bounds}", _number(least, most), _whole_number)


def choice(*choices: str | bool) -> Form:
    """One of these; true and false are TOML's own."""
    has_flags = any(isinstance(one, bool) for one in choices)
    wanted = " or ".join(json.dumps(one) for one in choices)
    return Form(wanted, _one_of(choices), _yes_or_no if has_flags else str)


def words(*known: str) -> Form:
    """A list of some of these."""
    wanted = "a list of " + ", ".join(json.dumps(one) for one in known)
    return Form(wanted, _each(_one_of(known)), lambda text: _split(text, ","), list)


def _split(text: str, separator: str | None) -> list[str]:
    return [part.strip() for part in text.split(separator) if part.strip()]


SIZE = Form(
    'a size: "6GiB", "6GB", "512MiB" or a number of bytes',
    _of_text_or_number(parse_size),
    write=write_size,
)
DURATION = Form(
    f"a duration: {DURATIONS}", _of_text_or_number(parse_duration), write=write_duration
)
NUMBER = Form("a number", _real, _as_number)
SHARE = Form("a share from 0 to 1, such as 0.1", _share, _as_number)
PERCENT = Form(f"a share: {PERCENTS}", _of_text_or_number(parse_percent), _as_number, write_percent)
ARGUMENTS = Form("a table of names and values, such as {n_startup_trials = 10}", _arguments, _named)
FLAG = Form("true or false", _flag, _yes_or_no)
KEY = Form("a device's key, as `scheduler devices` shows it", _of_text(str.lower))
DAYS_FORM = Form('days: "mon-fri", "sat,sun" or "daily"', _of_text(parse_days), write=write_days)
HOURS = Form(
    'hours: "09:00-18:00"; "22:00-06:00" goes over midnight',
    _of_text(parse_hours),
    write=write_hours,
)
CLOCK = Form(
    'a time of day, "08:00", or "off"',
    _digest,
    write=lambda minutes: "off" if minutes is None else write_clock(minutes),
)
PROGRAMS = Form(
    "a list of programs' names, or of whole paths that begin with a slash",
    _each(_program),
    lambda text: _split(text, ","),
    list,
)
URLS = Form(
    'a list of apprise URLs, such as "discord://ID/TOKEN"',
    _each(_url),
    lambda text: _split(text, None),
    lambda urls: [mask_url(url) for url in urls],
    secret=True,
)
