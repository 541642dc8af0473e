"""The machine's RAM as /proc/meminfo tells it (proc_meminfo(5)). Limits of a cgroup: ``cgroup``."""

from __future__ import annotations

from pathlib import Path

import msgspec

from probes.number import Unread, parse_digits, read_text


class Ram(msgspec.Struct, frozen=True, kw_only=True):
    total_bytes: int
    #: What new work can have without swapping: free memory and what the page cache can give back.
    available_bytes: int


def read_meminfo(proc: Path) -> Ram:
    """Raises Unread where the file or one of the two lines is missing or odd."""
    path = f"{proc}/meminfo"
    try:
        return parse_meminfo(read_text(path))
    except ValueError as error:
        raise Unread(path, str(error)) from None


def parse_meminfo(text: str) -> Ram:
    """Raises ValueError where MemTotal or MemAvailable is not there in kB."""
    sizes = parse_sizes(text)
    for wanted in ("MemTotal", "MemAvailable"):
        if wanted not in sizes:
            raise ValueError(f"has no readable {wanted} line")
    return Ram(total_bytes=sizes["MemTotal"], available_bytes=sizes["MemAvailable"])


def parse_sizes(text: str) -> dict[str, int]:
    """The ``Name:  123 kB`` lines of meminfo, smaps_rollup or status, in bytes."""
    sizes: dict[str, int] = {}
    for line in text.splitlines():
        name, _, rest = line.partition(":")
        value = rest.split()
        number = parse_digits(value[0]) if len(value) == 2 and value[1] == "kB" else None
        if number is not None:
            sizes[name] = number * 1024
    return sizes
