"""What the trials of a run held at their peak: ``runs/RUN/peaks.jsonl``, one attempt a line.

The run's host adds to it and reads it when the run is resumed; a later run of the same script
starts from it. Only ever added to, until it is shortened at a resume.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import msgspec

from scheduler.core.forecast import Observation
from scheduler.machine.changes import append_line
from scheduler.machine.runs import replace

FILE = "peaks.jsonl"
MOST_LINES = 4000  #: a file that has grown beyond is shortened
KEPT_LINES = 2000  #: to its newest lines; a forecaster looks at 500
_encoder = msgspec.json.Encoder()


class Peak(Observation, frozen=True, kw_only=True):
    """``line``: the run's ``optimize`` call, from 0; each is forecast by itself."""

    line: int
    kind: str  #: of the device that it held the memory of: "amd", "nvidia", "host"
    taken_from: str | None = None  #: the earlier run that it is of; None: this one


_decoder: msgspec.json.Decoder[Peak] = msgspec.json.Decoder(Peak)


def append(folder: Path, peak: Peak) -> None:
    """Adds *peak*. Raises OSError; then nothing was added."""
    append_line(folder / FILE, _encoder.encode(peak))


def read(folder: Path) -> list[Peak]:
    """Oldest first; a line that makes no sense is passed over. Raises OSError."""
    try:
        lines = (folder / FILE).read_bytes().split(b"\n")
    except FileNotFoundError:
        return []
    return [peak for line in lines if (peak := _parse(line)) is not None]


def shorten(folder: Path, peaks: list[Peak]) -> list[Peak]:
    """*peaks*, just read; the newest only, in the file too, where there are too many.

    Raises OSError.
    """
    if len(peaks) <= MOST_LINES:
        return peaks
    kept = peaks[-KEPT_LINES:]
    write(folder, kept)
    return kept


def write(folder: Path, peaks: Iterable[Peak]) -> None:
    """In the place of what was there, by rename. Raises OSError."""
    replace(folder / FILE, b"".join(_encoder.encode(peak) + b"\n" for peak in peaks))


def _parse(line: bytes) -> Peak | None:
    try:
        return _decoder.decode(line)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return None
