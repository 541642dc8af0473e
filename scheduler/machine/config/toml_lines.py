"""On which line of a TOML file a key stands: tomllib does not say. Pure."""

from __future__ import annotations

import re
import tomllib
from typing import Any

Path = tuple[str | int, ...]  #: names from the top; of a table in an array its number from 0

_HEADER = re.compile(r"\s*(\[\[?)\s*(.+?)\s*\]\]?\s*(#.*)?$")
_KEY = re.compile(r"\s*([^=#\[]+?)\s*=")


def line_of(text: str, path: Path) -> int | None:
    """The line, counted from 1, on which the key or table at *path* begins; None: not found.

    Knows tables and plain keys, not what is inside of inline tables.
    """
    here: Path = ()
    arrays: dict[Path, int] = {}
    for number, line in enumerate(text.splitlines(), 1):
        header, key = _HEADER.match(line), _KEY.match(line)
        if header is not None and (names := _names(f"[{header[2]}]")):
            here = names
            if header[1] == "[[":
                arrays[names] = arrays.get(names, -1) + 1
                here = (*names, arrays[names])
            at = here
        elif key is not None and (names := _names(f"{key[1]}=0")):
            at = (*here, *names)
        else:
            continue
        if at[: len(path)] == path:
            return number
    return None


def _names(toml: str) -> tuple[str, ...]:
    """The names in a header or in front of "=", quoted ones too; empty where it is neither."""
    names: list[str] = []
    try:
        inner: Any = tomllib.loads(toml)
    except tomllib.TOMLDecodeError:
        return ()
    while isinstance(inner, dict) and inner:
        name, inner = next(iter(inner.items()))
        names.append(name)
    return tuple(names)
