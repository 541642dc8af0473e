"""What happened, for people and for notifications: one numbered entry a line in ``events.jsonl``.

The supervisor writes it, from any of its threads; what it tells is in ``telling``. It is told
beside the work: a disk that takes nothing loses entries, which are counted, and delays nobody. Not
the journal: nothing is ever decided from it.
"""

from __future__ import annotations

import bisect
import contextlib
import errno
import itertools
import logging
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import msgspec

from scheduler.machine.chronicle.entries import LIMIT, Draft, Entry, Kind

_log = logging.getLogger(__name__)

NAME = "events.jsonl"
MOST_BYTES = 8 << 20
TEXT_CHARACTERS = 2000  #: more is cut: one entry must not push all others out
RECENT = 1000  #: kept in memory too, for those who follow
_STRIDE = 64  #: entries between two places in the file that are known


class _Numbered(msgspec.Struct):
    number: int


#: msgspec lets text that is no UTF-8 through as Python's own error (0.22).
_UNREADABLE = (msgspec.MsgspecError, ValueError, RecursionError)
_encoder = msgspec.json.Encoder()
_decoder: msgspec.json.Decoder[Entry] = msgspec.json.Decoder(Entry)
_number: msgspec.json.Decoder[_Numbered] = msgspec.json.Decoder(_Numbered)


class Chronicle:
    """Entries in the file at *path*. One writer at a time: the holder of the supervisor's lock."""

    def __init__(
        self,
        path: Path,
        *,
        most_bytes: int = MOST_BYTES,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._path = path
        self._most_bytes = most_bytes
        self._clock = clock
        self._changed = threading.Condition()
        self._listeners: list[Callable[[], None]] = []
        self._recent: deque[Entry] = deque(maxlen=RECENT)
        self._file: int | None = None
        self._places: list[tuple[int, int]] = []  #: number and first byte of every 64th entry
        self._size_bytes = 0  #: of whole lines
        self._since_place = 0
        self._is_closed = False
        self._unwritten = 0  #: lost since the last one that was written
        self.last = 0  #: the newest entry's number; 0: there is none
        self.lost = 0  #: entries of this life that could not be written down
        with self._changed:
            self._reopen()

    def tell(
        self,
        kind: Kind,
        what: str,
        text: str,
        *,
        run: str | None = None,
        trial: int | None = None,
        device: str | None = None,
    ) -> None:
        """Takes one entry, from any thread. Never raises for the disk."""
        self.tell_all([Draft(kind=kind, what=what, text=text, run=run, trial=trial, device=device)])

    def tell_all(self, drafts: Iterable[Draft]) -> None:
        """Takes entries that belong together, from any thread. Never raises for the disk."""
        with self._changed:
            before = self.last
            for draft in drafts:
                self._take(draft)
            if self.last == before:
                return
            self._changed.notify_all()
            listeners = tuple(self._listeners)
        for heard in listeners:
            heard()

    def since(self, number: int, limit: int = LIMIT) -> tuple[Entry, ...]:
        """The entries after *number*, oldest first, *limit* of them at most.

        What has been dropped is left out: the first one may have a number far beyond *number*.
        """
        with self._changed:
            first = self._recent[0].number if self._recent else self.last + 1
            recent = list(itertools.islice(self._recent, max(0, number + 1 - first), None))
            whole = first <= number + 1
            file = None if whole or self._file is None else os.dup(self._file)
            begin, end = self._place_before(number), self._size_bytes
        if file is None:
            return tuple(recent[:limit])
        try:
            older = list(_read_entries(file, begin, end, number, limit))
        except OSError as error:
            _log.warning("%s cannot be read: %s", self._path, error)
            older = []
        finally:
            os.close(file)
        # What the disk did not take is known in memory only.
        known = {one.number: one for one in (*older, *recent)}
        return tuple(known[found] for found in sorted(known))[:limit]

    def wait(self, number: int, timeout_s: float) -> bool:
        """Waits until there is an entry after *number*; whether there is."""
        with self._changed:
            return self._changed.wait_for(lambda: self.last > number, timeout_s)

    @contextlib.contextmanager
    def listening(self, heard: Callable[[], None]) -> Iterator[None]:
        """Calls *heard* after each entry, on the thread that told it; it must be quick."""
        with self._changed:
            self._listeners.append(heard)
        try:
            yield
        finally:
            with self._changed:
                self._listeners.remove(heard)

    def close(self) -> None:
        """What is told from here on is not written down."""
        with self._changed:
            if self._file is not None:
                os.close(self._file)
            self._file, self._is_closed = None, True

    def _take(self, draft: Draft) -> None:
        if self._unwritten and self._fits(self._loss()):
            self._unwritten = 0
        entry = self._numbered(draft)
        self._recent.append(entry)
        if not self._fits(entry):
            self._unwritten += 1
            self.lost += 1

    def _numbered(self, draft: Draft) -> Entry:
        self.last += 1
        return Entry(
            number=self.last,
            at_s=self._clock(),
            kind=draft.kind,
            what=draft.what,
            text=draft.text[:TEXT_CHARACTERS],
            run=draft.run,
            trial=draft.trial,
            device=draft.device,
        )

    def _loss(self) -> Entry:
        """In the number of the last one that was lost, so that it takes no other's."""
        what = "entry" if self._unwritten == 1 else "entries"
        text = f"{self._unwritten} {what} before this could not be written down: the disk was full"
        return Entry(
            number=self.last, at_s=self._clock(), kind="supervisor", what="lost", text=text
        )

    def _fits(self, entry: Entry) -> bool:
        """Whether *entry* is in the file now."""
        line = _encoder.encode(entry) + b"\n"
        try:
            if self._file is None:
                self._reopen()
            if self._file is None:
                return False
            if self._size_bytes + len(line) > self._most_bytes:
                self._drop_older_half()
            self._write(line)
        except OSError:
            return False
        self._count(entry.number, len(line))
        return True

    def _write(self, line: bytes) -> None:
        """A part of a line, where no more went in, is cut off again."""
        assert self._file is not None
        written = os.pwrite(self._file, line, self._size_bytes)
        if written < len(line):
            with contextlib.suppress(OSError):
                os.ftruncate(self._file, self._size_bytes)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def _count(self, number: int, line_bytes: int) -> None:
        if self._since_place % _STRIDE == 0:
            self._places.append((number, self._size_bytes))
        self._since_place += 1
        self._size_bytes += line_bytes

    def _place_before(self, number: int) -> int:
        """A byte where a line begins, before which nothing is newer than *number*."""
        at = bisect.bisect_right(self._places, (number + 1, -1))
        return self._places[at - 1][1] if at else 0

    def _reopen(self) -> None:
        """Opens the file and finds what it holds; without one, all is kept in memory only."""
        if self._is_closed:
            return
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        try:
            file = os.open(self._path, flags, 0o600)
        except OSError as error:
            if not self.lost:
                _log.warning("what happens is not written down: %s", error)
            return
        self._file, self._places, self._size_bytes, self._since_place = file, [], 0, 0
        try:
            for number, line_bytes in _lines(file):
                self._count(number or self.last, line_bytes)
                self.last = max(self.last, number)
            os.ftruncate(file, self._size_bytes)
        except OSError as error:
            _log.warning("%s cannot be read whole: %s", self._path, error)

    def _drop_older_half(self) -> None:
        """By rename: who reads the file has the old one or the new one, each whole.

        Raises OSError where the new one cannot be written; then all is as it was.
        """
        middle = self._size_bytes - self._most_bytes // 2
        cut = next((byte for _, byte in self._places if byte >= middle), self._size_bytes)
        partial = self._path.with_name(f".{self._path.name}.new")
        partial.unlink(missing_ok=True)
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        file = os.open(partial, flags, 0o600)
        try:
            assert self._file is not None
            _copy(self._file, cut, self._size_bytes, file)
            os.replace(partial, self._path)
        except OSError:
            os.close(file)
            partial.unlink(missing_ok=True)
            raise
        os.close(self._file)
        self._file = file
        self._places = [(number, byte - cut) for number, byte in self._places if byte >= cut]
        self._size_bytes -= cut


def read_entries(path: Path) -> tuple[Entry, ...]:
    """All entries of a file that a supervisor writes or has written. Empty where there is none."""
    try:
        file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return ()
    try:
        return tuple(_read_entries(file, 0, os.fstat(file).st_size, 0, None))
    finally:
        os.close(file)


def _read_entries(
    file: int, begin: int, end: int, number: int, limit: int | None
) -> Iterator[Entry]:
    """Whole entries after *number* between two bytes. A line that makes no sense is passed over."""
    given = 0
    for line in _split(file, begin, end):
        with contextlib.suppress(*_UNREADABLE):
            entry = _decoder.decode(line)
            if entry.number > number and given != limit:
                given += 1
                yield entry
        if given == limit:
            return


def _lines(file: int) -> Iterator[tuple[int, int]]:
    """Of each whole line its entry's number, 0 where it has none, and its length."""
    for line in _split(file, 0, os.fstat(file).st_size):
        try:
            yield _number.decode(line).number, len(line)
        except _UNREADABLE:
            yield 0, len(line)


def _split(file: int, begin: int, end: int) -> Iterator[bytes]:
    """Whole lines, each with its end. What follows the last end of line is left out."""
    rest = b""
    while begin < end and (part := os.pread(file, min(1 << 16, end - begin), begin)):
        begin += len(part)
        *lines, rest = (rest + part).split(b"\n")
        yield from (line + b"\n" for line in lines)


def _copy(source: int, begin: int, end: int, target: int) -> None:
    while begin < end and (part := os.pread(source, min(1 << 20, end - begin), begin)):
        begin += len(part)
        while part:
            part = part[os.write(target, part) :]
