"""Sizes and durations as people write and read them. Inside are bytes and seconds. Pure."""

from __future__ import annotations

import re

FORMS = '"6GiB", "6GB", "6G", "512MiB" or a number of bytes'

_POWERS = {"": 0, "K": 1, "M": 2, "G": 3, "T": 4}
_SIZE = re.compile(r"(\d+(?:\.\d+)?)(?:([KMGT]?)(i?)(B?))", re.IGNORECASE | re.ASCII)


def parse_size(text: str) -> int:
    """Bytes. "6GiB" and "6G" are 6 x 1024^3, "6GB" is 6 x 1000^3 (IEC 80000-13).

    Raises ValueError, with the forms that are taken, on anything else.
    """
    found = _SIZE.fullmatch(text)
    if found is None or (found[3] and not found[2]):
        raise ValueError(f"{text!r} is not a size; write it as {FORMS}, without a space")
    number, letter, binary, unit = found.groups()
    base = 1000 if letter and unit and not binary else 1024
    size_bytes = float(number) * base ** _POWERS[letter.upper()]
    if not size_bytes.is_integer() and not letter:
        raise ValueError(f"{text!r} is not a whole number of bytes; write it as {FORMS}")
    return int(size_bytes)


def format_size(size_bytes: int | None) -> str:
    """For people, in GiB or MiB; "unknown" for None."""
    if size_bytes is None:
        return "unknown"
    mib = size_bytes / (1 << 20)
    if abs(mib) < 0.95:
        return f"{size_bytes} B" if size_bytes else "0"
    return f"{mib:.0f} MiB" if abs(mib) < 999.5 else f"{mib / 1024:.1f} GiB"


def format_duration(seconds: float) -> str:
    """Two units at most: `45 s`, `12 min`, `2 h 10 min`, `3 d 4 h`."""
    minutes, hours, days = seconds / 60, seconds / 3600, seconds / 86400
    if minutes < 1:
        return f"{max(0, seconds):.0f} s"
    if hours < 1:
        return f"{int(minutes)} min"
    if days < 1:
        return f"{int(hours)} h {int(minutes) % 60} min"
    return f"{int(days)} d {int(hours) % 24} h"
