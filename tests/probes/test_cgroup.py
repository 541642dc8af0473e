"""Memory limits of both cgroup versions, from the innermost group up."""

from __future__ import annotations

from pathlib import Path

import pytest

from probes import cgroup
from probes.number import Unread
from tests.probes.samples import GIB, Write

UNLIMITED = 9223372036854771712  # what version 1 says on 4 KiB pages


def version_1(folder: str, limit: int, usage: int = 0, inactive: int = 0) -> dict[str, object]:
    return {
        f"cg/memory/{folder}/memory.limit_in_bytes": limit,
        f"cg/memory/{folder}/memory.usage_in_bytes": usage,
        f"cg/memory/{folder}/memory.stat": f"inactive_file 1\ntotal_inactive_file {inactive}",
        f"cg/memory/{folder}/memory.oom_control": "oom_kill_disable 0\nunder_oom 0\noom_kill 2",
    }


def version_2(folder: str, limit: object, usage: int = 0, inactive: int = 0) -> dict[str, object]:
    return {
        f"cg/{folder}/memory.max": limit,
        f"cg/{folder}/memory.current": usage,
        f"cg/{folder}/memory.stat": f"anon 5\ninactive_file {inactive}",
        f"cg/{folder}/memory.events": "low 0\noom 3\noom_kill 3",
    }


def rooms(root: Path) -> list[cgroup.Room]:
    levels = cgroup.find_levels(root / "proc", root / "cg")
    found = [cgroup.read_room(level, 64 * GIB) for level in levels]
    return [room for room in found if room is not None]


def test_version_2_counts_all_levels_and_leaves_old_file_pages_out(write: Write) -> None:
    root = write(
        {
            "proc/self/cgroup": "0::/user.slice/run.scope",
            **version_2("user.slice/run.scope", "max", 9 * GIB),
            **version_2("user.slice", 8 * GIB, 5 * GIB, 2 * GIB),
        }
    )
    assert rooms(root) == [cgroup.Room(limit_bytes=8 * GIB, available_bytes=5 * GIB)]


def test_version_1_says_unlimited_as_a_huge_number(write: Write) -> None:
    root = write(
        {
            "proc/self/cgroup": "9:name=systemd:/\n4:cpu,memory:/a/b\n0::/",
            **version_1("a/b", UNLIMITED),
            **version_1("a", 4 * GIB, 3 * GIB, GIB),
            **version_1("", UNLIMITED),
            "cg/unified/cgroup.procs": "",
        }
    )
    assert rooms(root) == [cgroup.Room(limit_bytes=4 * GIB, available_bytes=2 * GIB)]


def test_in_a_container_the_groups_own_root_is_ours(write: Write) -> None:
    """Docker with version 1: the path is the machine's, the mounted root is the container's."""
    root = write({"proc/self/cgroup": "4:memory:/docker/abc", **version_1("", 2 * GIB, GIB)})
    assert rooms(root) == [cgroup.Room(limit_bytes=2 * GIB, available_bytes=GIB)]


def test_a_path_outside_our_namespace_leads_nowhere_else(write: Write) -> None:
    root = write(
        {"proc/self/cgroup": "0::/../other", **version_2("", GIB), **version_2("../other", 5)}
    )
    assert rooms(root) == [cgroup.Room(limit_bytes=GIB, available_bytes=GIB)]


def test_a_limit_already_passed_leaves_nothing_not_less(write: Write) -> None:
    root = write({"proc/self/cgroup": "0::/a", **version_2("a", GIB, 2 * GIB)})
    assert rooms(root) == [cgroup.Room(limit_bytes=GIB, available_bytes=0)]


def test_a_limit_without_readable_use_is_unknown(write: Write) -> None:
    root = write({"proc/self/cgroup": "0::/a", **version_2("a", GIB)})
    (root / "cg/a/memory.current").write_text("")
    with pytest.raises(Unread, match=r"memory\.current: is empty"):
        rooms(root)


def test_kills_are_counted_by_both_versions(write: Write) -> None:
    root = write(
        {
            "proc/self/cgroup": "4:memory:/a\n0::/a",
            **version_1("a", GIB),
            "cg/unified/a/memory.events": "oom 1\noom_kill 1",
        }
    )
    levels = cgroup.find_levels(root / "proc", root / "cg")
    assert [cgroup.read_kills(level) for level in levels] == [2, None, 1, None]


def test_no_cgroups_no_limits(tmp_path: Path) -> None:
    assert cgroup.find_levels(tmp_path / "proc", tmp_path / "cg") == ()


def test_our_own_machine_can_be_read() -> None:
    for level in cgroup.find_levels(Path("/proc"), Path("/sys/fs/cgroup")):
        cgroup.read_room(level, 1 << 62)
