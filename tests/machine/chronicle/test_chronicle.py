"""What happened: numbered, bounded, whole for every reader, and never in anybody's way."""

from __future__ import annotations

import os
import resource
import stat
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from scheduler.machine.chronicle.chronicle import RECENT, TEXT_CHARACTERS, Chronicle, read_entries

Open = Callable[..., Chronicle]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "events.jsonl"


@pytest.fixture
def opened(path: Path) -> Iterator[Open]:
    made: list[Chronicle] = []

    def make(**options: int) -> Chronicle:
        made.append(Chronicle(path, **options))
        return made[-1]

    yield make
    for one in made:
        one.close()


def tell(chronicle: Chronicle, count: int, text: str = "it is so") -> None:
    for _ in range(count):
        chronicle.tell("run", "started", text, run="train-1")


def numbers(chronicle: Chronicle, after: int = 0, limit: int = 10**6) -> list[int]:
    return [one.number for one in chronicle.since(after, limit)]


def test_what_is_told_can_be_read_with_its_number(opened: Open, path: Path) -> None:
    chronicle = opened(clock=lambda: 12.5)
    chronicle.tell("trial", "started", "trial 3 runs", run="a-1", trial=3, device="host")
    (entry,) = chronicle.since(0)
    assert (entry.number, entry.at_s, entry.kind, entry.what) == (1, 12.5, "trial", "started")
    assert (entry.text, entry.run, entry.trial, entry.device) == ("trial 3 runs", "a-1", 3, "host")
    assert read_entries(path) == (entry,)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_only_what_comes_after_a_number_and_not_more_than_wanted(opened: Open) -> None:
    chronicle = opened()
    tell(chronicle, 10)
    assert numbers(chronicle, 4, 3) == [5, 6, 7]
    assert numbers(chronicle, 10) == []
    assert numbers(chronicle, 99) == []


def test_numbers_go_on_after_a_restart(opened: Open) -> None:
    tell(opened(), 3)
    second = opened()
    assert second.last == 3
    tell(second, 1)
    assert numbers(second) == [1, 2, 3, 4]


def test_older_ones_than_those_in_memory_come_from_the_file(opened: Open) -> None:
    chronicle = opened()
    tell(chronicle, RECENT + 500)
    assert numbers(chronicle, 130, 700) == list(range(131, 831))
    assert numbers(chronicle, RECENT + 450) == list(range(RECENT + 451, RECENT + 501))


@pytest.mark.parametrize("torn", [b'{"number":4,"at_s"', b"\0" * 40, b"junk"])
def test_a_torn_last_line_is_cut(opened: Open, path: Path, torn: bytes) -> None:
    first = opened()
    tell(first, 3)
    first.close()
    whole = path.read_bytes()
    path.write_bytes(whole + torn)
    second = opened()
    assert path.read_bytes() == whole
    tell(second, 1)
    assert numbers(second) == [1, 2, 3, 4]


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(0, 1500), st.binary(max_size=60))
def test_whatever_is_in_the_file_it_opens_and_goes_on(path: Path, at: int, junk: bytes) -> None:
    path.unlink(missing_ok=True)
    first = Chronicle(path)
    tell(first, 12)
    first.close()
    text = path.read_bytes()
    path.write_bytes(text[:at] + junk + text[at:])
    second = Chronicle(path)
    before = second.last
    tell(second, 2)
    second.close()
    assert [one.number for one in read_entries(path)][-2:] == [before + 1, before + 2]


def test_it_is_bounded_and_keeps_the_newer_half(opened: Open, path: Path) -> None:
    chronicle = opened(most_bytes=40_000)
    tell(chronicle, 2000)
    assert 15_000 < path.stat().st_size <= 40_000
    kept = [one.number for one in read_entries(path)]
    assert kept == list(range(kept[0], 2001))
    assert numbers(chronicle, 0) == list(range(1001, 2001))  # memory has more than so small a file
    third = opened(most_bytes=40_000)
    assert numbers(third) == kept
    assert numbers(third, kept[70]) == kept[71:]
    assert os.listdir(path.parent) == ["events.jsonl"]


def test_a_reader_never_sees_half_of_one(opened: Open, path: Path) -> None:
    """It reads all the while, and the file is written anew again and again."""
    chronicle = opened(most_bytes=20_000)
    stop = threading.Event()
    lines: list[bytes] = []

    def read() -> None:
        while not stop.is_set():
            text = path.read_bytes()
            lines.extend(text[: text.rfind(b"\n") + 1].splitlines()[:1])
            seen = [one.number for one in read_entries(path)]
            assert seen == list(range(seen[0], seen[-1] + 1)) if seen else True

    reader = threading.Thread(target=read)
    reader.start()
    tell(chronicle, 3000)
    stop.set()
    reader.join()
    assert lines
    assert all(line.startswith(b'{"number"') for line in lines)


def test_threads_do_not_mix_their_lines(opened: Open, path: Path) -> None:
    chronicle = opened()
    threads = [threading.Thread(target=tell, args=(chronicle, 200, f"by {n}")) for n in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [one.number for one in read_entries(path)] == list(range(1, 1001))


def test_a_long_text_is_cut(opened: Open) -> None:
    chronicle = opened()
    tell(chronicle, 1, "x" * 100_000)
    assert len(chronicle.since(0)[0].text) == TEXT_CHARACTERS


def test_who_waits_is_woken(opened: Open) -> None:
    chronicle = opened()
    assert not chronicle.wait(0, 0.0)
    later = threading.Timer(0.05, tell, (chronicle, 1))
    later.start()
    assert chronicle.wait(0, 30.0)
    later.join()
    assert not chronicle.wait(1, 0.0)


def test_who_listens_is_called_until_it_does_not(opened: Open) -> None:
    chronicle, heard = opened(), []
    with chronicle.listening(lambda: heard.append(chronicle.last)):
        tell(chronicle, 2)
    tell(chronicle, 1)
    assert heard == [1, 2]


_FULL = """
import resource, sys
from pathlib import Path
from scheduler.machine.chronicle.chronicle import Chronicle
path = Path(sys.argv[1])
chronicle = Chronicle(path)
chronicle.tell("run", "started", "before")
no_limit = resource.RLIM_INFINITY
resource.setrlimit(resource.RLIMIT_FSIZE, (path.stat().st_size + 20, no_limit))
for _ in range(3):
    chronicle.tell("run", "started", "meanwhile")
assert chronicle.lost == 3, chronicle.lost
assert len(chronicle.since(0)) == 4
assert path.read_bytes().endswith(b"}\\n")
resource.setrlimit(resource.RLIMIT_FSIZE, (no_limit, no_limit))
chronicle.tell("run", "started", "after")
"""


def test_a_full_disk_loses_entries_and_says_how_many(path: Path) -> None:
    """In a process of its own, which may not make files any longer for a while."""
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[1] == resource.RLIM_INFINITY
    subprocess.run([sys.executable, "-c", _FULL, str(path)], check=True)
    told = [(one.number, one.what, one.text) for one in read_entries(path)]
    lost = "3 entries before this could not be written down: the disk was full"
    assert told == [(1, "started", "before"), (4, "lost", lost), (5, "started", "after")]


def test_without_a_file_it_tells_those_who_follow(tmp_path: Path) -> None:
    chronicle = Chronicle(tmp_path / "gone" / "events.jsonl")
    tell(chronicle, 2)
    assert numbers(chronicle) == [1, 2]
    assert chronicle.lost == 2
    (tmp_path / "gone").mkdir()
    tell(chronicle, 1)
    assert [one.what for one in read_entries(tmp_path / "gone" / "events.jsonl")] == [
        "lost",
        "started",
    ]
    chronicle.close()


def test_after_closing_nothing_is_written(opened: Open, path: Path) -> None:
    chronicle = opened()
    chronicle.close()
    tell(chronicle, 1)
    assert read_entries(path) == ()


def test_no_file_is_no_entries(path: Path) -> None:
    assert read_entries(path) == ()
