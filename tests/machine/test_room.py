"""A disk that takes nothing: how it is known, and what waits for it."""

from __future__ import annotations

import errno
import os
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from scheduler.machine import room
from scheduler.machine.room import forgiving, insist, is_disks, obstacle


def no_room(code: int = errno.ENOSPC) -> OSError:
    return OSError(code, os.strerror(code))


def of_sqlite(path: Path) -> sqlite3.Error:
    """As it says it where its file may not grow."""
    connection = sqlite3.connect(path)
    connection.execute("create table t (a)")
    connection.execute("pragma max_page_count=3")
    with pytest.raises(sqlite3.OperationalError) as caught:
        connection.execute("insert into t values (zeroblob(100000))")
    connection.close()
    return caught.value


def test_what_is_the_disks(tmp_path: Path) -> None:
    """Also what became an error of another kind on its way."""
    full = of_sqlite(tmp_path / "s.db")
    assert is_disks(full)
    assert is_disks(no_room())
    assert is_disks(no_room(errno.EROFS))
    wrapped = RuntimeError("the commit failed")
    wrapped.__cause__ = full
    assert is_disks(wrapped)
    assert not is_disks(no_room(errno.EACCES))
    assert not is_disks(RuntimeError("No space left on device"))


def failing(*errors: Exception) -> Callable[[], str]:
    left: Iterator[Exception] = iter(errors)

    def write() -> str:
        for error in left:
            raise error
        return "written"

    return write


def test_it_is_written_as_soon_as_there_is_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However long that takes."""
    obstacles = iter(["full"] * 9)
    monkeypatch.setattr(room, "LOOK_EVERY_S", 0.0)
    monkeypatch.setattr(room, "obstacle", lambda folder: next(obstacles, None))
    assert insist(failing(*[no_room()] * 9), tmp_path) == "written"


def test_where_there_is_room_it_is_tried_some_times(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may be another disk that is full: who writes there has to hear of it."""
    monkeypatch.setattr(room, "LOOK_EVERY_S", 0.0)
    assert insist(failing(*[no_room()] * room.TRIES), tmp_path) == "written"
    with pytest.raises(OSError, match="No space left"):
        insist(failing(*[no_room()] * (room.TRIES + 1)), tmp_path)
    with pytest.raises(ValueError, match="no disk's"):
        insist(failing(ValueError("no disk's")), tmp_path)


def test_a_folder_that_takes_something_is_left_as_it_was(tmp_path: Path) -> None:
    assert obstacle(tmp_path) is None
    assert list(tmp_path.iterdir()) == []
    assert obstacle(tmp_path / "not there") is None


def test_what_a_full_disk_does_not_take_of_what_is_printed_is_lost() -> None:
    with open("/dev/full", "w") as full:
        with pytest.raises(OSError, match="No space left"):
            os.write(full.fileno(), b"a line")
        quiet = forgiving(full)
        for _ in range(10_000):
            print("a line", file=quiet, flush=True)


def test_the_lines_of_one_that_takes_them_come_at_once(tmp_path: Path) -> None:
    with open(tmp_path / "log", "w", encoding="utf-8") as log:
        print("ä line", file=forgiving(log))
        assert (tmp_path / "log").read_text(encoding="utf-8") == "ä line\n"
