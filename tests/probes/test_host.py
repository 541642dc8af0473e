"""RAM as a device: the scarcer of machine and cgroup, and kills by the kernel."""

from __future__ import annotations

import os
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from probes.host import NO_GPU, HostRam
from probes.meminfo import parse_sizes
from probes.reading import Held
from tests.probes.samples import GIB, Write, meminfo_files, process_files


def host(root: Path) -> HostRam:
    return HostRam(because="test", proc=root / "proc", groups=root / "cg", hides_gpus=True)


def limited(limit: object, usage: int = 0) -> dict[str, object]:
    return {
        "proc/self/cgroup": "0::/a",
        "cg/a/memory.max": limit,
        "cg/a/memory.current": usage,
        "cg/a/memory.stat": "inactive_file 0",
    }


def test_the_device_is_named_host(write: Write) -> None:
    device = host(write(meminfo_files())).device
    assert (device.key, device.kind, device.total_bytes) == ("host", "host", 32 * GIB)
    assert device.environment == NO_GPU


def test_used_is_what_new_work_cannot_have(write: Write) -> None:
    reading = host(write(meminfo_files(32 * GIB, 20 * GIB))).read(())
    assert (reading.total_bytes, reading.used_bytes) == (32 * GIB, 12 * GIB)
    assert (reading.held, reading.problem) == ((), None)


def test_a_cgroup_limit_is_the_total_and_its_use_counts(write: Write) -> None:
    root = write({**meminfo_files(32 * GIB, 20 * GIB), **limited(8 * GIB, 3 * GIB)})
    probe = host(root)
    assert probe.device.total_bytes == 8 * GIB
    assert probe.read(()).used_bytes == 3 * GIB


def test_the_machine_can_be_scarcer_than_the_cgroup(write: Write) -> None:
    root = write({**meminfo_files(32 * GIB, 2 * GIB), **limited(8 * GIB, 3 * GIB)})
    assert host(root).read(()).used_bytes == 6 * GIB


def test_a_limit_raised_while_we_look_is_seen(write: Write) -> None:
    root = write({**meminfo_files(32 * GIB, 20 * GIB), **limited(8 * GIB)})
    probe = host(root)
    write(limited(16 * GIB))
    assert probe.read(()).total_bytes == 16 * GIB


def test_without_meminfo_all_is_unknown_with_the_reason(write: Write) -> None:
    root = write(meminfo_files())
    probe = host(root)
    (root / "proc/meminfo").write_text("MemTotal: 5 kB\nMemAvailable: lots\n")
    reading = probe.read(())
    assert (reading.total_bytes, reading.used_bytes) == (None, None)
    assert reading.problem == f"{root}/proc/meminfo: has no readable MemAvailable line"


def test_kills_come_from_vmstat_or_else_from_the_cgroup(write: Write) -> None:
    root = write({**meminfo_files(), **limited("max"), "cg/a/memory.events": "oom_kill 4"})
    probe = host(root)
    assert probe.read(()).oom_kills == 4
    write({"proc/vmstat": "nr_free_pages 7\noom_kill 9"})
    assert probe.read(()).oom_kills == 9


def test_nobody_says_kills(write: Write) -> None:
    assert host(write(meminfo_files())).read(()).oom_kills is None


def test_swap_of_our_trees_counts_as_used_and_held(write: Write) -> None:
    root = write(
        {
            **meminfo_files(32 * GIB, 20 * GIB),
            **process_files(10, 1, 10),
            "proc/10/statm": "9 5 5 0 0 0 0",
            "proc/10/smaps_rollup": "Private_Dirty: 1024 kB\nShared_Dirty: 0 kB\nSwapPss: 8 kB",
        }
    )
    reading = host(root).read((10,))
    assert reading.held == (Held(pid=10, held_bytes=1032 * 1024),)
    assert reading.used_bytes == 12 * GIB + 8 * 1024


@given(st.text(max_size=300))
def test_no_text_breaks_the_parser(text: str) -> None:
    assert all(size >= 0 for size in parse_sizes(text).values())


def test_this_machine_can_be_read() -> None:
    reading = HostRam(because="test").read((os.getpid(),))
    assert reading.total_bytes is not None
    assert reading.used_bytes is not None
    assert 0 < reading.used_bytes < reading.total_bytes
    assert reading.held is not None
    assert (reading.held[0].held_bytes or 0) > 1 << 20
    assert reading.problem is None
