"""How much time tasks lose waiting for memory: the kernel's pressure stall information (PSI).

Covers the memory files of the machine and of our own cgroups. Format: kernel,
Documentation/accounting/psi.rst. Waiting is for pages to come back from swap or disk and for the
kernel to find free ones; it begins long before something is killed.
"""

from __future__ import annotations

import re
from pathlib import Path

import msgspec

from probes.cgroup import Level
from probes.number import read_text_or_none

_LINE = re.compile(r"(some|full) avg10=([0-9]{1,3}(?:\.[0-9]{1,9})?) ")


class Pressure(msgspec.Struct, frozen=True, kw_only=True):
    """Shares of the last 10 s, from 0 to 1."""

    some_share: float  #: at least one task waited
    full_share: float  #: all tasks that had work waited


def parse(text: str) -> Pressure:
    """Raises ValueError where one of the two lines is missing or odd."""
    shares: dict[str, float] = {}
    for line in text.splitlines():
        found = _LINE.match(line)
        if found is not None:
            shares[found[1]] = float(found[2]) / 100
    if len(shares) != 2 or max(shares.values()) > 1:
        raise ValueError(f"{text[:80]!r} does not say some and full as percent")
    return Pressure(some_share=shares["some"], full_share=shares["full"])


def read_waiting_share(proc: Path, levels: tuple[Level, ...]) -> float | None:
    """The largest share of the last 10 s in which some task waited, of the machine's and our own
    cgroups' (*levels*). None: the kernel does not say.

    Built without PSI there is no such file, switched off (``psi=0``) reading one fails. Version 1
    of cgroups has none. Measured: 0.03 ms for the machine and one cgroup.
    """
    paths = [f"{proc}/pressure/memory", *(f"{level.folder}/memory.pressure" for level in levels)]
    shares = [share for path in paths if (share := _read_share(path)) is not None]
    return max(shares, default=None)


def _read_share(path: str) -> float | None:
    text = read_text_or_none(path)
    if text is None:
        return None
    try:
        return parse(text).some_share
    except ValueError:
        return None
