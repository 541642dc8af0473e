"""Text for a terminal: colours where there is one, lines no wider than it is, columns. Pure but for
``for_stdout``.

Colours repeat what the words say: without them nothing is lost.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterable, Iterator, Sequence

import msgspec

#: Select Graphic Rendition (ECMA-48, 8.3.117), of which only single numbers are used here.
_SGR = {"bold": 1, "dim": 2, "red": 31, "green": 32, "yellow": 33, "cyan": 36}
_PAINTED = re.compile(r"\x1b\[[0-9]*m")


class Paint(msgspec.Struct, frozen=True):
    """Puts colours around text, or leaves it as it is."""

    on: bool = False

    def __call__(self, style: str, text: str) -> str:
        return f"\x1b[{_SGR[style]}m{text}\x1b[0m" if self.on and text else text


PLAIN = Paint()


def for_stdout() -> Paint:
    """Colours for a terminal that has some, unless NO_COLOR is set to anything (no-color.org)."""
    has = sys.stdout.isatty() and os.environ.get("TERM") != "dumb"
    return Paint(has and not os.environ.get("NO_COLOR"))


def length(text: str) -> int:
    """How many cells *text* takes, whatever its colours."""
    return len(_PAINTED.sub("", text)) if "\x1b" in text else len(text)


def printable(text: str) -> str:
    """In one line and without what would steer a terminal: scripts choose names and messages."""
    return "".join(sign if sign.isprintable() else " " for sign in text).strip()


def flow(parts: Iterable[str], width: int, gap: str = "   ", indent: str = "  ") -> Iterator[str]:
    """*parts* side by side, in as many lines as they need. A part is never broken."""
    line = ""
    for part in parts:
        if line and length(line) + len(gap) + length(part) > width:
            yield line
            line = ""
        line += (gap if line else indent) + part
    if line:
        yield line


def words(text: str, width: int, first: str, indent: str, most: int | None = None) -> Iterator[str]:
    """*text* behind *first*, broken at spaces; further lines begin with *indent*.

    At most *most* lines, the last of which ends with "…" then. A word that is too long for a line
    has one of its own.
    """
    lines, line = [], first
    for word in printable(text).split():
        space = "" if line in (first, indent) else " "
        if space and length(line) + len(word) + 1 > width:
            lines.append(line)
            line, space = indent, ""
        line += space + word
    lines.append(line)
    if most is not None and len(lines) > most:
        lines = [*lines[: most - 1], cut(f"{lines[most - 1]} …", width)]
    yield from lines


def cut(text: str, width: int) -> str:
    """Plain *text* in at most *width* cells, with "…" for what is not shown."""
    return text if len(text) <= width else text[: max(0, width - 1)] + "…"


class Column(msgspec.Struct, frozen=True, kw_only=True):
    """``keep``: a column below 9 is left out where it has only "-", and where the width is short:
    those of the lowest first.
    """

    name: str
    cells: tuple[str, ...]
    left: bool = False  #: aligned at its left
    keep: int = 9

    @property
    def width(self) -> int:
        return max(map(len, (self.name, *self.cells)))


def columns(shown: Sequence[Column], width: int, indent: str = "  ") -> Iterator[str]:
    """A heading and the rows. A last column that is aligned left may be cut to what is there."""
    kept = [one for one in shown if one.keep == 9 or any(cell != "-" for cell in one.cells)]
    while kept and _least(kept) > width - len(indent) and any(one.keep < 9 for one in kept):
        kept.remove(min(kept, key=lambda one: one.keep))
    for row in range(-1, len(kept[0].cells) if kept else 0):
        cells = [one.name if row < 0 else one.cells[row] for one in kept]
        aligned = [
            cell.ljust(one.width) if one.left else cell.rjust(one.width)
            for cell, one in zip(cells, kept, strict=True)
        ]
        yield cut(indent + "  ".join(aligned).rstrip(), width)


def _least(kept: Sequence[Column]) -> int:
    last = kept[-1]
    shortest = min(last.width, 20) if last.left else last.width
    return sum(one.width + 2 for one in kept[:-1]) + shortest
