"""The record of what was changed in a run, by itself or by its user: ``runs/RUN/changes.jsonl``.

One change a line, only ever added to; a change's number is its line's, from 1. The run's host
writes it, so that it is there without a supervisor too; everyone reads it.
"""

from __future__ import annotations

import os
from pathlib import Path

import msgspec

from scheduler.core.model import Change

FILE = "changes.jsonl"
_encoder = msgspec.json.Encoder()
_decoder: msgspec.json.Decoder[Change] = msgspec.json.Decoder(Change)


class Rollback(Change, frozen=True, kw_only=True):
    """A change with its number in the run's record."""

    number: int


def append(folder: Path, change: Change) -> None:
    """Adds *change*. Raises OSError; then nothing was added."""
    append_line(folder / FILE, _encoder.encode(change))


def append_line(path: Path, text: bytes) -> None:
    """Adds *text* as a line of a file for this user only. Raises OSError; then nothing was added.

    A line that a full disk had cut off gets its end first, so that it takes no other along.
    """
    flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW
    file = os.open(path, flags, 0o600)
    try:
        size = os.fstat(file).st_size
        torn = size > 0 and os.pread(file, 1, size - 1) != b"\n"
        line = b"\n" * torn + text + b"\n"
        if os.write(file, line) < len(line):
            os.ftruncate(file, size)
            raise OSError(28, "no space left on the device")
    finally:
        os.close(file)


def read(folder: Path, from_byte: int = 0) -> tuple[list[Rollback], int]:
    """The changes whose lines begin at *from_byte* or after, and where the next one will begin.

    A line that makes no sense is passed over and keeps its number; numbers count from *from_byte*.
    Empty where there is no record yet. Raises OSError where it cannot be read.
    """
    try:
        with open(folder / FILE, "rb") as file:
            file.seek(from_byte)
            whole, _, _ = file.read().rpartition(b"\n")
    except FileNotFoundError:
        return [], 0
    if not whole:
        return [], from_byte
    found = []
    for number, line in enumerate(whole.split(b"\n"), 1):
        change = _parse(line)
        if change is not None:
            found.append(Rollback(**msgspec.structs.asdict(change), number=number))
    return found, from_byte + len(whole) + 1


def latest(folder: Path, most: int) -> tuple[Change, ...]:
    """The last *most* changes, oldest first; () where the record cannot be read."""
    try:
        found, _ = read(folder)
    except OSError:
        return ()
    fields = Change.__struct_fields__
    return tuple(Change(**{name: getattr(one, name) for name in fields}) for one in found[-most:])


def _parse(line: bytes) -> Change | None:
    try:
        return _decoder.decode(line)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return None
