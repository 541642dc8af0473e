"""Whose process is it: parents, sessions, nested roots, and names that look like fields."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from probes.processes import Kin, members, parse_stat, read_all, read_kin, root_of
from tests.probes.samples import Write, process_files


def kin(pid: int, parent: int, session: int) -> Kin:
    return Kin(pid, parent, session, False, 0)


def test_a_name_with_blanks_and_parentheses_does_not_shift_the_fields(write: Write) -> None:
    root = write(process_files(10, 7, 9, state="Z"))
    assert read_kin(10, root / "proc") == Kin(10, 7, 9, True, 110)


@pytest.mark.parametrize("text", ["", "12", "12 (x) S 1 2", "no parentheses at all " * 9])
def test_half_a_line_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not a stat line"):
        parse_stat(text)


def test_our_own_line_is_read() -> None:
    me = read_kin(os.getpid(), Path("/proc"))
    assert me is not None
    assert (me.parent, me.session, me.zombie) == (os.getppid(), os.getsid(0), False)


def test_a_process_that_is_gone_is_none(tmp_path: Path) -> None:
    assert read_kin(5, tmp_path) is None


def test_the_nearest_root_owns_and_an_orphan_stays_in_its_session() -> None:
    table = {k.pid: k for k in (kin(10, 1, 10), kin(11, 10, 10), kin(12, 11, 10), kin(13, 1, 10))}
    owners = {pid: root_of(pid, (10, 11), table.get) for pid in (10, 11, 12, 13, 99)}
    assert owners == {10: 10, 11: 11, 12: 11, 13: 10, 99: None}


@given(
    st.dictionaries(st.integers(1, 12), st.tuples(st.integers(0, 12), st.integers(0, 12))),
    st.sets(st.integers(1, 12)),
)
def test_a_process_is_in_one_tree_at_most_whatever_the_table(
    parents: dict[int, tuple[int, int]], roots: set[int]
) -> None:
    """Loops in the parents, which a pid reused while we read can make, end as well."""
    table = {pid: kin(pid, parent, session) for pid, (parent, session) in parents.items()}
    trees = members(roots, table)
    listed = [each.pid for tree in trees.values() for each in tree]
    assert len(listed) == len(set(listed))
    assert set(trees) <= roots
    assert all(root in listed for root in roots if root in table)


@pytest.mark.processes
def test_a_real_family_with_an_orphan_and_a_corpse() -> None:
    """The root has a child, a zombie, and a grandchild whose parent has ended."""
    script = """
import os, sys, time
lives = os.fork()
if lives == 0: time.sleep(60)
corpse = os.fork()
if corpse == 0: os._exit(0)
source, target = os.pipe()
if os.fork() == 0:
    orphan = os.fork()
    if orphan == 0: time.sleep(60)
    os.write(target, str(orphan).encode())
    os._exit(0)
orphan = os.read(source, 32).decode()
os.waitid(os.P_PID, corpse, os.WEXITED | os.WNOWAIT)
print(lives, corpse, orphan, flush=True)
time.sleep(60)
"""
    root = subprocess.Popen(
        [sys.executable, "-c", script], stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    try:
        assert root.stdout is not None
        lives, corpse, orphan = map(int, root.stdout.readline().split())
        tree = {each.pid for each in members((root.pid,), read_all(Path("/proc")))[root.pid]}
        assert {root.pid, lives, orphan} <= tree
        assert corpse not in tree
    finally:
        os.killpg(root.pid, signal.SIGKILL)
        root.communicate()
