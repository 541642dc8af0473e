"""The journal: every event, one JSON object a line, written before it is acted on.

Replaying it gives the core its state back. It is not synced to the disk: it has to survive our
death, not the machine's, after which nothing of what it tells of is left running. What the core
makes of the events is not written. A journal ends with its supervisor's work (``retire``); one that
grows long goes on as a short one (``begin_anew``; ``core.memory`` makes that of all it knows).
"""

from __future__ import annotations

import errno
import logging
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

import msgspec

from scheduler.core.events import Event

_log = logging.getLogger(__name__)

OLD = "journal.old.jsonl"
_encoder = msgspec.json.Encoder()
_decoder: msgspec.json.Decoder[Event] = msgspec.json.Decoder(Event)


class Unwritten(Exception):
    """An event could not be written, and the ones after it are kept in memory until writing works.

    Raised once, when that begins, so that the caller can see to it that nothing new is started on
    the strength of events that a replay would not know.
    """

    def __init__(self, event: Event, problem: str) -> None:
        super().__init__(event, problem)
        self.event = event
        self.problem = problem


class Journal:
    """Appends events. One writer at a time: the holder of the supervisor's lock."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._pending: list[bytes] = []
        self.problem: str | None = None  #: why nothing can be written; None: all is written
        self._open()

    def _open(self) -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
        self._file = os.open(self._path, flags, 0o600)
        self.size_bytes = os.fstat(self._file).st_size

    def append(self, event: Event) -> None:
        """Writes *event*; while writing does not work, keeps it. Raises Unwritten when that begins.

        The event that Unwritten carries has not been kept: the caller hands it in again.
        """
        line = _encoder.encode(event) + b"\n"
        if self.problem is not None:
            self._pending.append(line)
            return
        try:
            self._write(line)
        except OSError as error:
            self.problem = f"the journal cannot be written: {error.strerror}"
            raise Unwritten(event, self.problem) from error

    def retry(self) -> bool:
        """Tries again to write what is kept. Whether all is written."""
        if self.problem is None:
            return True
        try:
            os.ftruncate(self._file, self.size_bytes)
            while self._pending:
                self._write(self._pending[0])
                self._pending.pop(0)
        except OSError as error:
            self.problem = f"the journal cannot be written: {error.strerror}"
            return False
        self.problem = None
        return True

    def _write(self, line: bytes) -> None:
        """A part of a line, where no more went in, is cut off before the next is written.

        In a folder that has become read-only an open file may still be written to; but no run can
        write down its own any more, so none of what would follow is to begin.
        """
        if not os.access(self._path.parent, os.W_OK):
            raise OSError(errno.EROFS, os.strerror(errno.EROFS))
        written = os.write(self._file, line)
        if written < len(line):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        self.size_bytes += written

    def begin_anew(self, events: Iterable[Event]) -> None:
        """Goes on in a new file that begins with *events*. The old one is kept aside.

        Raises OSError where that cannot be written; then all is as it was.
        """
        partial = self._path.with_suffix(".new")
        partial.unlink(missing_ok=True)
        partial.write_bytes(b"".join(_encoder.encode(event) + b"\n" for event in events))
        old = self._path.with_name(OLD)
        old.unlink(missing_ok=True)
        os.link(self._path, old)
        os.replace(partial, self._path)  # one or the other: killed here, there is a journal
        os.close(self._file)
        self._open()

    def close(self) -> None:
        os.close(self._file)

    def retire(self) -> None:
        """Closes it for good, nothing being left that it tells of. The last one is kept aside."""
        self.close()
        os.replace(self._path, self._path.with_name(OLD))


def replay(path: Path) -> Iterator[Event]:
    """The events written so far. Leaves the file such that it can be appended to.

    A torn last line is cut: its event was not acted on. What follows a line that cannot be read in
    the middle is not believed either; it is moved to a file beside it, and that is logged.
    """
    try:
        file = open(path, "rb")  # noqa: SIM115 - closed below, the suppressed case has none
    except FileNotFoundError:
        return
    good_bytes = 0
    with file:
        for line in file:
            try:
                event = _decoder.decode(line)
            except (msgspec.MsgspecError, UnicodeDecodeError) as error:
                _cut(path, good_bytes, len(line), str(error))
                return
            if not line.endswith(b"\n"):
                _cut(path, good_bytes, len(line), "it has no end")
                return
            good_bytes += len(line)
            yield event


def _cut(path: Path, good_bytes: int, line_bytes: int, because: str) -> None:
    """Ends the file after *good_bytes*; more than one last line is set aside first."""
    size_bytes = path.stat().st_size
    if good_bytes + line_bytes < size_bytes:
        aside = set_aside(path, good_bytes)
        _log.error("%s: unreadable from byte %d on (%s)", path, good_bytes, because)
        _log.error("%s: what follows it was moved to %s", path, aside)
    else:
        _log.warning("%s: cut a torn last line of %d bytes", path, line_bytes)
    os.truncate(path, good_bytes)


def set_aside(path: Path, from_byte: int = 0) -> Path:
    """Copies the journal from a byte on into a new file beside it, and returns that file's path."""
    number = 1
    while (aside := path.with_name(f"journal.damaged-{number}.jsonl")).exists():
        number += 1
    with open(path, "rb") as source, open(aside, "xb") as copy:
        source.seek(from_byte)
        while chunk := source.read(1 << 20):
            copy.write(chunk)
    return aside
