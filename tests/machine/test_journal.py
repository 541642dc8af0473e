"""The journal: what was written is read again, whatever happened to the file."""

from __future__ import annotations

import resource
import signal
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from probes.reading import Reading
from scheduler.core.events import Event, Joined, Left, Sampled, Vanished
from scheduler.core.model import Run
from scheduler.machine.journal import Journal, Unwritten, replay

EVENTS: list[Event] = [
    Joined(at_s=1.5, run=Run(id="train-1", name="tränen")),
    Sampled(at_s=2.0, readings=(Reading(device="host", total_bytes=None, used_bytes=3),)),
    Vanished(at_s=3.0, attempt="train-1/0.0"),
    Left(at_s=4.0, run="train-1"),
]


def write(path: Path, events: list[Event]) -> bytes:
    journal = Journal(path)
    for event in events:
        journal.append(event)
    journal.close()
    return path.read_bytes()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "journal.jsonl"


def test_what_was_written_is_read_again(path: Path) -> None:
    write(path, EVENTS)
    write(path, EVENTS[:2])
    assert list(replay(path)) == EVENTS + EVENTS[:2]


def test_where_there_is_none_nothing_is_read(path: Path) -> None:
    assert list(replay(path)) == []
    assert not path.exists()


@pytest.mark.parametrize("torn_at", range(len(b"".join(map(msgspec.json.encode, EVENTS))) + 5))
def test_torn_at_any_byte_the_whole_lines_before_it_count(path: Path, torn_at: int) -> None:
    """A line without its end was never acted on; and the file can be appended to afterwards."""
    whole = write(path, EVENTS)
    path.write_bytes(whole[:torn_at])
    complete = whole[:torn_at].count(b"\n")
    assert list(replay(path)) == EVENTS[:complete]
    write(path, EVENTS[-1:])
    assert list(replay(path)) == EVENTS[:complete] + EVENTS[-1:]


@given(where=st.integers(0, 3), junk=st.binary(max_size=200))
def test_junk_in_the_middle_is_set_aside_with_all_that_follows(
    tmp_path_factory: pytest.TempPathFactory, where: int, junk: bytes
) -> None:
    """Nothing before it is lost, nothing after it believed, nothing thrown away."""
    path = tmp_path_factory.mktemp("journal") / "journal.jsonl"
    lines = write(path, EVENTS).splitlines(keepends=True)
    bad = b"{" + junk.replace(b"\n", b"") + b"\n"
    path.write_bytes(b"".join([*lines[:where], bad, *lines[where:]]))
    assert list(replay(path)) == EVENTS[:where]
    assert list(replay(path)) == EVENTS[:where]
    aside = path.with_name("journal.damaged-1.jsonl")
    assert aside.read_bytes() == b"".join([bad, *lines[where:]])


def test_an_event_of_a_later_version_is_set_aside(path: Path) -> None:
    whole = write(path, EVENTS)
    path.write_bytes(whole + b'{"type":"Unheard","at_s":1.0}\n' + whole)
    assert list(replay(path)) == EVENTS
    assert path.with_name("journal.damaged-1.jsonl").exists()


def test_a_journal_that_is_done_is_kept_aside(path: Path) -> None:
    journal = Journal(path)
    journal.append(EVENTS[0])
    journal.retire()
    assert not path.exists()
    assert list(replay(path.with_name("journal.old.jsonl"))) == EVENTS[:1]


@pytest.fixture
def full_disk() -> Iterator[int]:
    """No file may grow beyond so many bytes: write(2) then does what it does on a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    yield 200
    resource.setrlimit(resource.RLIMIT_FSIZE, before)
    signal.signal(signal.SIGXFSZ, handler)


def fill(journal: Journal) -> None:
    while True:
        journal.append(EVENTS[0])


def test_on_a_full_disk_nothing_is_torn_and_all_is_written_later(
    path: Path, full_disk: int
) -> None:
    journal = Journal(path)
    _, no_limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (full_disk, no_limit))
    with pytest.raises(Unwritten) as caught:
        fill(journal)
    assert caught.value.event == EVENTS[0]
    assert path.stat().st_size == full_disk  # the last line is torn
    written = path.read_bytes().count(b"\n")
    for event in EVENTS:
        journal.append(event)
    assert not journal.retry()
    assert journal.problem is not None
    resource.setrlimit(resource.RLIMIT_FSIZE, (no_limit, no_limit))
    assert journal.retry()
    assert journal.problem is None
    journal.append(EVENTS[3])
    assert list(replay(path)) == [EVENTS[0]] * written + EVENTS + [EVENTS[3]]
