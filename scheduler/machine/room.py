"""A disk that takes nothing: full, over its quota, or mounted read-only. What has to be written
waits for it, so that days of training do not end by it: checkpoints grow.
"""

from __future__ import annotations

import contextlib
import errno
import io
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, TextIO, TypeVar

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer as Buffer

T = TypeVar("T")

LOOK_EVERY_S = 1.0
TRIES = 3  #: of writing, with room in the folder: then it is another disk's affair, or a bug
#: Room for less is none: a transaction of SQLite's writes dozens of pages.
LEAST_BYTES = 1 << 20
_ERRORS = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS})
#: READONLY, IOERR, FULL, CANTOPEN (sqlite.org/rescode.html): on a disk that takes nothing any of
#: these is said, by what was to be written.
_SQLITE = frozenset({8, 10, 13, 14})


def is_disks(error: BaseException) -> bool:
    """Whether *error*, or one that it came of, can be that of such a disk."""
    link: BaseException | None = error
    while link is not None:
        code = getattr(link, "sqlite_errorcode", None)
        if code is not None and code & 0xFF in _SQLITE:
            return True
        if isinstance(link, OSError) and link.errno in _ERRORS:
            return True
        link = link.__cause__ or link.__context__
    return False


def obstacle(folder: Path) -> str | None:
    """Why nothing can be written into *folder*, in the system's words; None: it can be."""
    probe = folder / f".room.{os.getpid()}"
    try:
        file = os.open(probe, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            os.posix_fallocate(file, 0, LEAST_BYTES)
        finally:
            os.close(file)
            with contextlib.suppress(OSError):
                os.unlink(probe)
    except OSError as error:
        return os.strerror(error.errno) if error.errno in _ERRORS else None
    return None


def insist(write: Callable[[], T], folder: Path) -> T:
    """What *write* returns, once *folder*'s disk takes it. *write* changes all or nothing.

    Raises what *write* raises for any other reason.
    """
    tries = 0
    while True:
        try:
            return write()
        except Exception as error:
            if not is_disks(error):
                raise
            tries = tries + 1 if obstacle(folder) is None else 0
            if tries > TRIES:
                raise
        time.sleep(LOOK_EVERY_S)


def wait_for_room(folder: Path) -> None:
    while obstacle(folder) is not None:
        time.sleep(LOOK_EVERY_S)


@contextlib.contextmanager
def disk_allowing() -> Iterator[None]:
    """For what is written if the disk takes it, and else is not."""
    try:
        yield
    except OSError as error:
        if not is_disks(error):
            raise


class _Forgiving(io.FileIO):
    """What such a disk does not take is lost."""

    def write(self, data: Buffer) -> int:
        with disk_allowing():
            return super().write(data)
        return memoryview(data).nbytes


def forgiving(stream: TextIO) -> TextIO:
    """*stream* by lines, for output that nobody should die of."""
    raw = _Forgiving(stream.fileno(), "wb", closefd=False)
    return io.TextIOWrapper(
        io.BufferedWriter(raw),
        encoding=stream.encoding,
        errors=stream.errors,
        line_buffering=True,
    )
