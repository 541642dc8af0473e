"""Forms of the configuration's values: as people write them, and as they are inside.

A form reads what TOML or an environment variable holds, and writes a value again so that it could
be typed. Inside are bytes, seconds and minutes of a day. Pure.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from scheduler.machine.sizes import parse_size

DURATIONS = '"90s", "5min", "2h" or a number of seconds'

_DURATION = re.compile(r"(\d+(?:\.\d+)?) ?(s|min|m|h|d|)", re.ASCII)
_SECONDS = {"": 1, "s": 1, "m": 60, "min": 60, "h": 3600, "d": 86400}
_CLOCK = re.compile(r"(\d{1,2}):(\d{2})", re.ASCII)
_DAY_MIN = 24 * 60

_FULL = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_EVERY_DAY = {"daily": range(7), "weekdays": range(5), "weekend": (5, 6)}

#: Schemes whose host is a machine's name; in the others it is often half of the secret.
_WITH_HOST = {"http", "https", "json", "jsons", "xml", "xmls", "form", "forms"}
_MASK = "***"


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


class Hours(NamedTuple):
    """Minutes since midnight. An end that is not after the beginning is on the next day."""

    begins_min: int
    ends_min: int


class Address(str):
    """A URL that is a secret: where it is shown by accident, in a repr or a log, it is masked."""

    __slots__ = ()

    def __repr__(self) -> str:
        return repr(mask_url(self))


def parse_duration(text: str) -> float:
    """Seconds. Raises ValueError, with the forms that are taken, on anything else."""
    found = _DURATION.fullmatch(text)
    if found is None:
        raise ValueError(f"{text!r} is not a duration; write it as {DURATIONS}")
    return float(found[1]) * _SECONDS[found[2]]


def parse_clock(text: str) -> int:
    """Minutes since midnight, from "08:00"; "24:00" is the day's end. Raises ValueError."""
    found = _CLOCK.fullmatch(text)
    minutes = int(found[1]) * 60 + int(found[2]) if found else _DAY_MIN + 1
    if found is None or int(found[2]) > 59 or minutes > _DAY_MIN:
        raise ValueError(f"{text!r} is not a time of day; write it as 08:00")
    return minutes


def parse_hours(text: str) -> Hours:
    """Raises ValueError."""
    begin, dash, end = (part.strip() for part in text.partition("-"))
    if not dash:
        raise ValueError(f"{text!r} is not a span of hours")
    hours = Hours(parse_clock(begin), parse_clock(end))
    if hours.begins_min == _DAY_MIN or hours.begins_min == hours.ends_min:
        raise ValueError(f"{text!r} has no length; the whole day is 00:00-24:00")
    return hours


def parse_days(text: str) -> tuple[int, ...]:
    """Weekdays, Monday is 0, in order. "fri-mon" goes over the weekend. Raises ValueError."""
    found = set[int]()
    for part in text.lower().split(","):
        part = part.strip()
        first, dash, last = (name.strip() for name in part.partition("-"))
        if part in _EVERY_DAY:
            found.update(_EVERY_DAY[part])
        elif dash:
            begin, end = _day(first), _day(last)
            found.update((begin + n) % 7 for n in range((end - begin) % 7 + 1))
        else:
            found.add(_day(first))
    return tuple(sorted(found))


def _day(name: str) -> int:
    if name[:3] in DAYS and name in (name[:3], _FULL[DAYS.index(name[:3])]):
        return DAYS.index(name[:3])
    raise ValueError(f"{name!r} is not a day")


def write_size(size_bytes: int) -> str:
    """The largest unit that says it exactly: ``6GiB``."""
    for power, unit in ((40, "TiB"), (30, "GiB"), (20, "MiB"), (10, "KiB")):
        if size_bytes and size_bytes % (1 << power) == 0:
            return f"{size_bytes >> power}{unit}"
    return str(size_bytes)


def write_duration(seconds: float) -> str:
    for unit in ("h", "min"):
        if seconds and seconds % _SECONDS[unit] == 0:
            return f"{seconds / _SECONDS[unit]:.0f}{unit}"
    return f"{seconds:.3f}".rstrip("0").rstrip(".") + "s"


def write_clock(minutes: int) -> str:
    return f"{minutes // 60:02d}:{minutes % 60:02d}"


def write_hours(hours: Hours) -> str:
    return f"{write_clock(hours.begins_min)}-{write_clock(hours.ends_min)}"


def write_days(days: Sequence[int]) -> str:
    """The names, runs of three and more as a span: ``mon-fri``, ``sat,sun``, ``daily``."""
    if len(days) == 7:
        return "daily"
    spans: list[list[int]] = []
    for day in days:
        if spans and spans[-1][-1] == day - 1:
            spans[-1].append(day)
        else:
            spans.append([day])
    return ",".join(
        f"{DAYS[span[0]]}-{DAYS[span[-1]]}" if len(span) > 2 else ",".join(DAYS[n] for n in span)
        for span in spans
    )


def mask_url(url: str) -> str:
    """What may be shown of a notification's URL: its scheme, and the host where it is no secret.

    Never raises, whatever *url* is.
    """
    scheme, found, _ = url.partition("://")
    if not found or not re.fullmatch(r"[A-Za-z][A-Za-z0-9+.-]{0,30}", scheme):
        return _MASK
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        return f"{scheme}://{_MASK}"
    if scheme.lower() not in _WITH_HOST or not host:
        return f"{scheme}://{_MASK}"
    return f"{scheme}://{host}{f':{port}' if port else ''}/{_MASK}"


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
    if mask_url(url) == _MASK:
        raise ValueError
    return Address(url)


def _digest(value: Any) -> int | None:
    if value == "off":
        return None
    minutes = parse_clock(_text(value))
    if minutes == _DAY_MIN:
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
