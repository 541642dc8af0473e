"""Cgroups for attempts: where they can be made, and that the kernel keeps to what is written."""

from __future__ import annotations

import mmap
import os
import signal
import time
from pathlib import Path

import pytest

from scheduler.machine import groups, processes
from scheduler.machine.groups import Limits

MIB = 1 << 20
ADDRESS = "0000:03:00.0"
CAPACITY = f"drm/{ADDRESS}/vram 17095983104\ndrm/0000:0e:00.0/vram0 536870912\n"


class Machine:
    """A tree of version 2 as a desktop has it, with ordinary files."""

    def __init__(self, folder: Path, own: str, version_1: str = "") -> None:
        self.proc, self.cgroups = folder / "proc", folder / "cgroup"
        (self.proc / "self").mkdir(parents=True)
        (self.proc / "self/cgroup").write_text(f"{version_1}0::{own}\n")
        self.own = self.cgroups / own.lstrip("/")
        self.own.mkdir(parents=True)
        self.write("cgroup.controllers", "cpu memory dmem pids")
        self.write("dmem.capacity", CAPACITY)
        for name in ("cgroup.subtree_control", "cgroup.procs"):
            (self.own.parent / name).write_text("cpu memory dmem" if "control" in name else "")

    def write(self, name: str, text: str) -> None:
        path = self.cgroups / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def find(self) -> groups.Homes:
        return groups.find(self.proc, self.cgroups)


APP = "/user.slice/user@1000.service/app.slice/term.scope"


def test_beside_our_own_group_where_children_may_control_both(tmp_path: Path) -> None:
    machine = Machine(tmp_path, APP)
    (machine.own / "memory.max").write_text("max\n")
    (machine.own / "cpu.max").write_text("max 100000\n")
    (machine.own / "dmem.max").write_text(f"drm/{ADDRESS}/vram max\n")
    (machine.own / "pids.max").write_text("38000\n")
    homes = machine.find()
    assert homes.memory is not None
    assert homes.memory == homes.dmem
    assert (homes.memory.folder, homes.memory.version) == (str(machine.own.parent), 2)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("memory.max", "8589934592"),
        ("memory.high", "8589934592"),
        ("cpu.max", "200000 100000"),
        ("dmem.max", f"drm/{ADDRESS}/vram 8589934592"),
    ],
)
def test_nobody_gets_out_of_a_limit_of_their_own(tmp_path: Path, name: str, text: str) -> None:
    machine = Machine(tmp_path, APP)
    (machine.own / name).write_text(text + "\n")
    homes = machine.find()
    assert homes.memory is homes.dmem is None
    assert name in homes.no_memory
    assert name in homes.no_dmem


def test_without_a_word_of_the_controller_none_is_there(tmp_path: Path) -> None:
    machine = Machine(tmp_path, APP)
    (machine.own.parent / "cgroup.subtree_control").write_text("memory pids\n")
    homes = machine.find()
    assert homes.memory is not None
    assert homes.dmem is None
    assert "may not control dmem" in homes.no_dmem
    machine.write("cgroup.controllers", "cpu memory pids")
    assert machine.find().no_dmem == "this kernel has no dmem cgroup"


def test_a_group_outside_of_what_is_seen_is_no_home(tmp_path: Path) -> None:
    machine = Machine(tmp_path, "/../../host", version_1="4:memory:/../x\n")
    homes = machine.find()
    assert homes.memory is homes.dmem is None


def test_version_1_has_children_below_our_own(tmp_path: Path) -> None:
    machine = Machine(tmp_path, "/", version_1="4:memory:/job\n")
    machine.write("memory/job/memory.limit_in_bytes", "9223372036854771712")
    homes = machine.find()
    assert homes.memory is not None
    assert homes.memory.folder == str(machine.cgroups / "memory/job")
    assert homes.memory.version == 1


def test_a_card_is_limited_in_its_own_memory_only(tmp_path: Path) -> None:
    """The files of a group are the kernel's, so they are made beforehand here."""
    machine = Machine(tmp_path, APP)
    me = processes.identify(os.getpid())
    assert me is not None
    folder = machine.own.parent / groups.name_of(me.pid, me.started_ticks)
    folder.mkdir()
    for name in ("dmem.max", "cgroup.procs", "memory.max"):
        (folder / name).touch()
    limits = Limits(vram_bytes=6 << 30, address=ADDRESS)
    assert groups.enclose(limits, machine.find()) == ("dmem",)
    assert (folder / "dmem.max").read_text() == f"drm/{ADDRESS}/vram {6 << 30}"
    assert (folder / "cgroup.procs").read_text() == str(me.pid)
    assert (folder / "memory.max").read_text() == ""
    other = Limits(vram_bytes=6 << 30, address="0000:44:00.0")
    assert groups.enclose(other, machine.find()) == ()


def test_what_the_kernel_refuses_leaves_nothing_behind(tmp_path: Path) -> None:
    machine = Machine(tmp_path, APP)
    before = sorted(machine.own.parent.iterdir())
    limits = Limits(ram_bytes=MIB)
    assert groups.enclose(limits, machine.find()) == ()  # no kernel has made memory.max
    assert sorted(machine.own.parent.iterdir()) == before


def test_only_groups_of_ours_are_swept(tmp_path: Path) -> None:
    machine = Machine(tmp_path, APP)
    beside = machine.own.parent
    for name in ("scheduler-12-345", "scheduler-test-1", "scheduler-12-x", "other"):
        (beside / name).mkdir()
    groups.sweep(machine.find())
    left = {path.name for path in beside.iterdir() if path.is_dir()}
    assert left == {"scheduler-test-1", "scheduler-12-x", "other", "term.scope"}


@pytest.mark.processes
def test_the_kernel_keeps_a_process_and_its_children_to_the_limit() -> None:
    """Shared memory, which no limit of a process's own knows."""
    homes = groups.find()
    if homes.memory is None:
        pytest.skip(f"no cgroup can be made here: {homes.no_memory}")

    def hold(size: int) -> None:
        shared = mmap.mmap(-1, size)
        for start in range(0, size, 4096):
            shared[start] = 1

    def outcome(size: int) -> tuple[int, bool]:
        """Of a process whose child holds that much: its status, and whether it was the limit."""
        pid = os.fork()
        if pid == 0:
            done = groups.enclose(Limits(ram_bytes=96 * MIB), homes)
            child = os.fork()
            if child == 0:
                hold(size)
                os._exit(0)
            _, status = os.waitpid(child, 0)
            os._exit(3 if done != ("memory",) else 9 if os.WIFSIGNALED(status) else 0)
        me = processes.identify(pid)
        assert me is not None
        _, status = os.waitpid(pid, 0)
        deadline_s = time.monotonic() + 60
        hit = groups.leave(me.pid, me.started_ticks, homes)
        folder = Path(homes.memory.folder) / groups.name_of(me.pid, me.started_ticks)  # type: ignore[union-attr]
        while folder.exists() and time.monotonic() < deadline_s:
            groups.leave(me.pid, me.started_ticks, homes)
        assert not folder.exists()
        return status, hit

    assert outcome(48 * MIB) == (0, False)
    status, hit = outcome(160 * MIB)
    assert hit
    assert status in (9 << 8, signal.SIGKILL)  # version 2 takes the whole group
