"""A number in a small file of /sys, /proc or a cgroup: its value, or what was seen instead.

Covers one decimal number per file, and short texts. Knows no time limit: a file whose open blocks
(a wedged driver, a FIFO) blocks the caller, who gives such reads a thread of their own.
"""

from __future__ import annotations

import errno
import os

#: A 64-bit number has 20 digits; what is longer is something else.
MOST_CHARACTERS = 32

#: ESRCH: /proc of a process without memory (a zombie); ENODEV: sysfs file removed while open.
_GONE = frozenset({errno.ENOENT, errno.ESRCH, errno.ENODEV})

_PART_BYTES = 1 << 14
_FLAGS = os.O_RDONLY | os.O_CLOEXEC


class Unread(Exception):
    """A file of the machine did not say what it should. Never our own fault."""

    def __init__(self, path: str, seen: str) -> None:
        super().__init__(path, seen)
        self.path = path
        self.seen = seen

    def __str__(self) -> str:
        return f"{self.path}: {self.seen}"

    @property
    def gone(self) -> bool:
        """The file, or the process it told about, is not there (any more)."""
        cause = self.__cause__
        return isinstance(cause, OSError) and cause.errno in _GONE

    @property
    def forbidden(self) -> bool:
        return isinstance(self.__cause__, PermissionError)


def parse_number(text: bytes) -> int:
    """The number in *text*: decimal digits, blanks around them. Raises ValueError otherwise.

    A minus sign is refused: no file read here has negative values, so one is a broken counter.
    """
    digits = text.strip()
    if not digits.isdigit() or len(digits) > MOST_CHARACTERS:
        raise ValueError("is empty" if not digits else f"{_quoted(digits)} is not a number")
    return int(digits)


def parse_digits(text: str) -> int | None:
    """A whole number in ASCII digits; None for anything else ("²" is a digit to Python)."""
    if not (text.isascii() and text.isdigit()) or len(text) > MOST_CHARACTERS:
        return None
    return int(text)


def parse_pairs(text: str) -> dict[str, int]:
    """The ``name 123`` lines of a text; other lines are left out."""
    pairs = (line.split() for line in text.splitlines())
    numbers = {pair[0]: parse_digits(pair[1]) for pair in pairs if len(pair) == 2}
    return {name: number for name, number in numbers.items() if number is not None}


def read_number(path: str, folder: int | None = None) -> int:
    """The number in the file at *path*. Raises Unread if the file is gone, unreadable or odd.

    *folder*: an open one that *path* starts from; saves the way there where many are read.
    """
    # os.open and os.read: 2.2 us a file, open() with its text layer 7.6 us.
    try:
        file = os.open(path, _FLAGS, dir_fd=folder)
        try:
            text = os.read(file, _PART_BYTES)
        finally:
            os.close(file)
    except OSError as error:
        raise _unread(path, error) from error
    try:
        return parse_number(text)
    except ValueError as error:
        raise Unread(path, str(error)) from None


def read_text(path: str) -> str:
    """A whole file, bytes that are not UTF-8 escaped. Raises Unread."""
    text = b""
    try:
        file = os.open(path, _FLAGS)
        try:
            while part := os.read(file, _PART_BYTES):  # vmstat and the like give a page at a time
                text += part
        finally:
            os.close(file)
    except OSError as error:
        raise _unread(path, error) from error
    return text.decode(errors="backslashreplace")


def read_text_or_none(path: str) -> str | None:
    """As read_text; None where the file cannot be read, for files that some kernels do not have."""
    try:
        return read_text(path)
    except Unread:
        return None


def _unread(path: str, error: OSError) -> Unread:
    return Unread(path, (error.strerror or str(error)).lower())


def _quoted(text: bytes) -> str:
    shown = text[:MOST_CHARACTERS].decode(errors="backslashreplace")
    return repr(shown) if len(text) <= MOST_CHARACTERS else repr(shown + "...")
