"""The doctor on the machine itself: limits, the state folder, Python and Optuna, a supervisor."""

from __future__ import annotations

import fcntl
import os
import sys
import threading
from pathlib import Path

import msgspec
import pytest

from scheduler.interfaces.checkup import containment, limits, place, python, supervisor
from scheduler.interfaces.checkup.limits import Group, Limits
from scheduler.machine import state as folder
from scheduler.machine.groups import Home, Homes
from scheduler.machine.state import StateFolder
from tests.interfaces.checkup_samples import GIB, folder_for_all, machine, only, put
from tests.probes.conftest import as_nobody

MIB = 1 << 20
FREE = Group(memory_bytes=None, cores=None, most_processes=None, swap_bytes=0, has_pressure=True)


def test_limits_of_our_cgroup_are_told(tmp_path: Path) -> None:
    group = "sys/fs/cgroup/user.slice/job"
    put(tmp_path, {"proc/self/cgroup": "0::/user.slice/job", f"{group}/pids.max": "max"})
    put(tmp_path, {"proc/meminfo": "MemTotal: 8388608 kB\nMemAvailable: 8388608 kB"})
    put(tmp_path, {f"{group}/memory.max": 4 * GIB, f"{group}/memory.current": 0})
    put(tmp_path, {f"{group}/memory.stat": "inactive_file 0", f"{group}/cpu.max": "50000 100000"})
    put(tmp_path, {"sys/fs/cgroup/user.slice/pids.max": "4096", "proc/pressure/memory": ""})
    swaps = "Filename Type Size Used Priority\n/dev/zram0 partition 2097152 0 100"
    put(tmp_path, {"proc/swaps": swaps})
    check = only(limits.check_group(machine(tmp_path)))
    seen = "memory 4.0 GiB, 0.5 cores, 4096 processes; swap 2.0 GiB; memory pressure is told"
    assert (check.state, check.seen) == ("ok", seen)


def test_without_limits_it_says_so(tmp_path: Path) -> None:
    check = only(limits.check_group(machine(tmp_path)))
    seen = "no limit of our own; no swap; memory pressure is not told"
    assert (check.state, check.seen) == ("ok", seen)


def test_few_processes_are_a_warning(tmp_path: Path) -> None:
    put(tmp_path, {"proc/self/cgroup": "8:pids:/job", "sys/fs/cgroup/pids/job/pids.max": "100"})
    assert only(limits.check_group(machine(tmp_path))).state == "warning"
    assert only(limits.judge_group(msgspec.structs.replace(FREE, most_processes=512))).state == "ok"


@pytest.mark.parametrize(
    ("given", "state", "seen"),
    [
        (Limits(open_files=1024, processes=None, shm_bytes=GIB), "ok", "1024 open files"),
        (Limits(open_files=256, processes=None, shm_bytes=GIB), "warning", "256 open files"),
        (Limits(open_files=None, processes=100, shm_bytes=GIB), "warning", "100 processes"),
        (Limits(open_files=None, processes=None, shm_bytes=64 * MIB), "warning", "of 64 MiB"),
        (Limits(open_files=None, processes=None, shm_bytes=None), "warning", "is not there"),
    ],
)
def test_small_limits_are_warnings(given: Limits, state: str, seen: str) -> None:
    check = only(limits.judge_limits(given))
    assert (check.state, seen in check.seen) == (state, True)


def test_limits_of_this_machine_can_be_read(tmp_path: Path) -> None:
    (tmp_path / "dev/shm").mkdir(parents=True)
    assert (limits.read_limits(machine(tmp_path)).shm_bytes or 0) > 0
    assert limits.read_limits(machine(tmp_path / "none")).shm_bytes is None


def test_a_state_folder_that_is_not_there_yet_can_be_made(tmp_path: Path) -> None:
    check = only(place.check(machine(tmp_path)))
    assert check.state == "ok"
    assert check.seen.startswith(f"{tmp_path}/state, ")
    assert check.seen.endswith(" free, made by the first run")
    assert not (tmp_path / "state").exists()


def test_a_state_folder_of_ours_is_fine_and_one_that_others_enter_is_not(tmp_path: Path) -> None:
    (tmp_path / "state").mkdir(mode=0o700)
    check = only(place.check(machine(tmp_path)))
    assert (check.state, check.seen.endswith("yours alone")) == ("ok", True)
    (tmp_path / "state").chmod(0o755)
    check = only(place.check(machine(tmp_path)))
    assert (check.state, check.todo) == ("problem", f"Run: chmod 700 {tmp_path}/state")


@pytest.mark.skipif(os.getuid() != 0, reason="gives files to another user")
def test_a_state_folder_that_cannot_be_made_or_written_is_a_problem() -> None:
    with folder_for_all() as path:
        check = only(as_nobody(lambda: place.check(machine(path))))
        assert check.state == "problem"
        assert f"no right to write in {path}" in check.seen
        (path / "state").mkdir(mode=0o500)
        os.chown(path / "state", 65534, 65534)
        check = only(as_nobody(lambda: place.check(machine(path))))
        assert (check.state, "cannot be written" in check.seen) == ("problem", True)


@pytest.mark.parametrize("how", ["file", "link", "below a file"])
def test_a_state_folder_that_is_none_is_a_problem(tmp_path: Path, how: str) -> None:
    path = tmp_path / "state"
    if how == "link":
        path.symlink_to(tmp_path / "gone")
    else:
        path.write_text("")
        path.chmod(0o755)  # a right to enter folders, and no folder
    where = StateFolder(path / "deeper" if how == "below a file" else path)
    check = only(place.check(machine(tmp_path, state=where)))
    assert (check.state, "SCHEDULER_STATE_DIR" in (check.todo or "")) == ("problem", True)


@pytest.mark.parametrize(
    ("free_bytes", "state"),
    [(None, "ok"), (GIB, "ok"), (GIB - 1, "warning"), (99 * MIB, "problem")],
)
def test_a_full_disk_is_told(free_bytes: int | None, state: str) -> None:
    facts = place.Facts(path="/state", is_there=True, free_bytes=free_bytes)
    assert only(place.judge(facts)).state == state


MOUNTS = r"""22 1 8:1 / / rw,relatime - ext4 /dev/vda rw
40 22 0:40 / /home rw - nfs4 server:/home rw
41 40 0:41 / /home/me/a\040b rw - btrfs /dev/vdb rw
42 22 0:42 / /mnt rw shared:5 - ext4 /dev/vdc rw
43 22 0:43 / /mnt rw - fuse.sshfs me@there: rw
junk"""


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/home/me/state", "nfs4"),
        ("/home", "nfs4"),
        ("/homestead", "ext4"),
        ("/home/me/a b/x", "btrfs"),
        ("/mnt/x", "fuse.sshfs"),
        ("/", "ext4"),
    ],
)
def test_the_file_system_is_that_of_the_longest_mount_point(path: str, kind: str) -> None:
    assert place.file_system_of(path, MOUNTS) == kind
    facts = place.Facts(path=path, is_there=True, file_system=kind)
    on_network = kind in ("nfs4", "fuse.sshfs")
    assert only(place.judge(facts)).state == ("warning" if on_network else "ok")


def test_this_folders_file_system_is_found(tmp_path: Path) -> None:
    facts = place.read(machine(tmp_path, proc=Path("/proc")))
    assert facts.file_system
    assert facts.free_bytes


@pytest.mark.parametrize(
    ("version", "state"),
    [
        (None, "problem"),
        ("4.5.0", "problem"),
        ("5.0.0", "ok"),
        ("5.3.0.dev1", "ok"),
        ("6.0.0b1", "warning"),
    ],
)
def test_optuna_must_be_one_that_we_can_run(version: str | None, state: str) -> None:
    facts = python.Facts(python="/venv/bin/python", python_version="3.11.7", optuna=version)
    check = only(python.judge(facts))
    assert check.state == state
    if state != "ok":
        assert check.todo == "/venv/bin/python -m pip install 'optuna>=5.0,<6'"


def test_the_optuna_of_this_python_is_found(tmp_path: Path) -> None:
    check = only(python.check(machine(tmp_path)))
    assert (check.state, sys.executable in check.seen) == ("ok", True)


def test_without_a_supervisor_there_is_nothing_to_say(tmp_path: Path) -> None:
    check = only(supervisor.check(machine(tmp_path)))
    assert (check.state, check.seen) == ("ok", "none is running; the next run starts one")
    put(tmp_path, {"state/supervisor.lock": "7"})  # of one that has ended
    assert only(supervisor.check(machine(tmp_path))).state == "ok"


def test_one_that_holds_the_lock_and_does_not_listen_is_told(tmp_path: Path) -> None:
    put(tmp_path, {"state/supervisor.lock": "7"})
    with open(tmp_path / "state/supervisor.lock") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        check = only(supervisor.check(machine(tmp_path)))
    assert check.state == "problem"
    assert check.seen == "pid 7 holds the lock, but nobody listens on its socket"
    assert (check.todo or "").endswith("kill 7")


def test_one_that_answers_in_another_tongue_is_told(tmp_path: Path) -> None:
    where = machine(tmp_path)
    where.state.path.mkdir()
    with folder.listen(where.state, folder.CONTROL) as listener:

        def answer() -> None:
            peer, _ = listener.accept()
            with peer:
                peer.recv(4096)
                peer.sendall(b"HTTP/1.1 200 OK\r\n\r\n{}")

        answering = threading.Thread(target=answer)
        answering.start()
        check = only(supervisor.check(where))
        answering.join()
    assert (check.state, "does not answer as it should" in check.seen) == ("problem", True)


def test_one_that_admits_nothing_is_told() -> None:
    facts = supervisor.Facts(pid=7, up_s=3.0, problem="the journal cannot be written")
    check = only(supervisor.judge(facts))
    assert (check.state, "the journal cannot be written" in check.seen) == ("problem", True)


HOME = Home(folder="/cgroup/app.slice", version=2, controls=("memory", "dmem"))
NOWHERE = Homes(memory=None, dmem=None, no_memory="a", no_dmem="this kernel has no dmem cgroup")


def test_containment_says_what_keeps_a_trial_to_its_promise() -> None:
    facts = containment.Facts(homes=NOWHERE, gpus=(), uses_host=True)
    check = only(containment.judge(facts))
    assert check.state == "ok"
    assert check.seen.startswith("RAM: a data limit a process, and the supervisor's watch")
    both = Homes(memory=HOME, dmem=HOME)
    facts = containment.Facts(homes=both, gpus=("0000:03:00.0",), uses_host=True)
    on_gpu, on_host = containment.judge(facts)
    assert on_gpu.seen.startswith("GPU: the dmem cgroup (/cgroup/app.slice)")
    assert on_host.seen.startswith("RAM: a cgroup a trial (version 2")
    lacking = msgspec.structs.replace(facts, without_region=("0000:03:00.0",))
    assert "does not know 0000:03:00.0" in containment.judge(lacking)[0].seen


def test_a_dmem_cgroup_that_is_not_handed_down_can_be() -> None:
    lacks = "children of the cgroup around us may not control dmem"
    homes = Homes(memory=HOME, dmem=None, no_dmem=lacks)
    facts = containment.Facts(homes=homes, gpus=("0000:03:00.0",), uses_host=False)
    check = only(containment.judge(facts))
    assert check.state == "warning"
    assert "echo +dmem" in str(check.todo)
    none = msgspec.structs.replace(facts, homes=NOWHERE)
    assert only(containment.judge(none)).todo is None
