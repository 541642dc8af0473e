"""What a tree holds for itself: forks share with their template, workers with their root."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from probes.private import WALK_EVERY_S, Walker, parse_rollup, parse_statm, read_sizes
from tests.probes.samples import Write, process_files

MIB = 1 << 20
PAGE = os.sysconf("SC_PAGE_SIZE")


class Clock:
    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


def rollup(private_kib: int, shared_kib: int = 0, swap_kib: int = 0) -> str:
    return (
        f"Rss: 99 kB\nShared_Dirty: {shared_kib} kB\nPrivate_Clean: 77 kB\n"
        f"Private_Dirty: {private_kib} kB\nSwapPss: {swap_kib} kB"
    )


def process(pid: int, parent: int, anonymous_pages: int, text: str) -> dict[str, object]:
    return {
        **process_files(pid, parent, pid),
        f"proc/{pid}/statm": f"900 {anonymous_pages + 7} 7 0 0 0 0",
        f"proc/{pid}/smaps_rollup": text,
    }


def held(walker: Walker, *roots: int) -> list[int | None]:
    return [each.held_bytes for each in walker.read(roots).held]


def test_clean_file_pages_are_not_held() -> None:
    sizes = parse_rollup(rollup(100, 50, 3))
    assert (sizes.private_bytes, sizes.shared_bytes, sizes.swapped_bytes) == (
        100 * 1024,
        50 * 1024,
        3 * 1024,
    )


@pytest.mark.parametrize("text", ["", "Private_Dirty: 5 kB", "Private_Dirty: x kB"])
def test_half_a_rollup_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="has no"):
        parse_rollup(text)


@pytest.mark.parametrize("text", ["", "1 2", "a b c"])
def test_an_odd_statm_is_refused(text: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011  int()'s own words will do as well as ours
        parse_statm(text)


def test_between_walks_growth_is_added_and_then_walked_again(write: Write) -> None:
    root = write(process(10, 1, 100, rollup(400)))
    clock = Clock()
    walker = Walker(root / "proc", clock)
    assert held(walker, 10) == [400 * 1024]
    write(process(10, 1, 150, rollup(9999)))
    assert held(walker, 10) == [400 * 1024 + 50 * PAGE]
    clock.now_s = WALK_EVERY_S
    assert held(walker, 10) == [9999 * 1024]


def test_memory_given_back_never_makes_it_negative(write: Write) -> None:
    root = write(process(10, 1, 1000, rollup(4)))
    walker = Walker(root / "proc", Clock())
    held(walker, 10)
    write(process(10, 1, 0, rollup(4)))
    assert held(walker, 10) == [0]


def test_what_the_root_shares_with_its_workers_stays_its_own(write: Write) -> None:
    """A forked worker makes private pages shared; the template's share was there before."""
    root = write(process(10, 1, 100, rollup(400, shared_kib=50)))
    clock = Clock()
    walker = Walker(root / "proc", clock)
    assert held(walker, 10) == [400 * 1024]
    write(process(10, 1, 100, rollup(10, shared_kib=440)))
    write(process(11, 10, 100, rollup(5, shared_kib=440)))
    clock.now_s = WALK_EVERY_S
    assert held(walker, 10) == [(10 + 390 + 5) * 1024]


def test_a_pid_used_again_is_walked_anew(write: Write) -> None:
    root = write(process(10, 1, 100, rollup(400)))
    walker = Walker(root / "proc", Clock())
    held(walker, 10)
    write({**process(10, 1, 100, rollup(7))})
    (root / "proc/10/stat").write_text(
        (root / "proc/10/stat").read_text().replace(" 110 ", " 111 ")
    )
    assert held(walker, 10) == [7 * 1024]


def test_gone_holds_nothing_and_odd_is_unknown(write: Write) -> None:
    root = write(process(10, 1, 100, rollup(400)))
    (root / "proc/10/smaps_rollup").unlink()  # it ended between stat and here
    walker = Walker(root / "proc", Clock())
    assert held(walker, 10, 20) == [0, 0]
    (root / "proc/10/smaps_rollup").write_text("garbage")
    assert held(walker, 10, 20) == [None, 0]


@pytest.fixture
def hungry() -> Iterator[subprocess.Popen[str]]:
    """A process with 64 MiB; each line it is sent makes it fork a worker, which adds 16 MiB."""
    script = f"""
import os, sys, time
data = bytearray(os.urandom(1)) * {64 * MIB}
print("ready", flush=True)
for line in sys.stdin:
    if os.fork() == 0:
        more = bytearray(os.urandom(1)) * {16 * MIB}
        print("ready", flush=True)
        time.sleep(60)
"""
    process = subprocess.Popen(
        [sys.executable, "-c", script],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        assert process.stdout is not None
        process.stdout.readline()
        yield process
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


@pytest.mark.processes
def test_a_real_tree_keeps_its_memory_when_it_forks(hungry: subprocess.Popen[str]) -> None:
    clock = Clock()
    walker = Walker(Path("/proc"), clock)
    (alone,) = held(walker, hungry.pid)
    assert alone is not None
    assert 64 * MIB < alone < 80 * MIB
    assert hungry.stdin is not None
    assert hungry.stdout is not None
    hungry.stdin.write("fork\n")
    hungry.stdin.flush()
    hungry.stdout.readline()
    clock.now_s = WALK_EVERY_S
    (forked,) = held(walker, hungry.pid)
    assert forked is not None
    assert 80 * MIB < forked < 96 * MIB


@pytest.mark.processes
def test_another_users_process_is_told_from_status(
    hungry: subprocess.Popen[str], nobody: Callable[[Callable[[], int]], int]
) -> None:
    if os.getuid() != 0:
        pytest.skip("needs root, to look with another user's eyes")
    seen = nobody(lambda: read_sizes(Path("/proc"), hungry.pid).private_bytes)
    assert 64 * MIB < seen < 80 * MIB
