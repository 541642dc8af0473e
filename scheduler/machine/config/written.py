"""Durations, times of day, days, sizes and addresses as people write them: read and written again.

Inside are bytes, seconds and minutes of a day. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple
from urllib.parse import urlsplit

PERCENTS = '"2%" or 0.02, more than 0 and at most half'
DURATIONS = '"90s", "5min", "2h" or a number of seconds'

_DURATION = re.compile(r"(\d+(?:\.\d+)?) ?(s|min|m|h|d|)", re.ASCII)
_PERCENT = re.compile(r"(\d+(?:\.\d+)?|\.\d+) ?(%|)", re.ASCII)
_SECONDS = {"": 1, "s": 1, "m": 60, "min": 60, "h": 3600, "d": 86400}
_CLOCK = re.compile(r"(\d{1,2}):(\d{2})", re.ASCII)
DAY_MIN = 24 * 60

_FULL = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_EVERY_DAY = {"daily": range(7), "weekdays": range(5), "weekend": (5, 6)}

#: Schemes whose host is a machine's name; in the others it is often half of the secret.
_WITH_HOST = {"http", "https", "json", "jsons", "xml", "xmls", "form", "forms"}
MASK = "***"


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


def parse_percent(text: str) -> float:
    """A share. Raises ValueError, with the forms that are taken, on anything else."""
    found = _PERCENT.fullmatch(text)
    share = 0.0 if found is None else float(found[1]) / (100 if found[2] else 1)
    if not 0 < share <= 0.5:
        raise ValueError(f"{text!r} is not a share as is meant here; write it as {PERCENTS}")
    return share


def write_percent(share: float) -> str:
    return f"{100 * share:.12g}%"


def parse_clock(text: str) -> int:
    """Minutes since midnight, from "08:00"; "24:00" is the day's end. Raises ValueError."""
    found = _CLOCK.fullmatch(text)
    minutes = int(found[1]) * 60 + int(found[2]) if found else DAY_MIN + 1
    if found is None or int(found[2]) > 59 or minutes > DAY_MIN:
        raise ValueError(f"{text!r} is not a time of day; write it as 08:00")
    return minutes


def parse_hours(text: str) -> Hours:
    """Raises ValueError."""
    begin, dash, end = (part.strip() for part in text.partition("-"))
    if not dash:
        raise ValueError(f"{text!r} is not a span of hours")
    hours = Hours(parse_clock(begin), parse_clock(end))
    if hours.begins_min == DAY_MIN or hours.begins_min == hours.ends_min:
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
        return MASK
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        return f"{scheme}://{MASK}"
    if scheme.lower() not in _WITH_HOST or not host:
        return f"{scheme}://{MASK}"
    return f"{scheme}://{host}{f':{port}' if port else ''}/{MASK}"
