"""Which programs run: by made-up folders of /proc, and by real processes."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from scheduler.machine import programs
from scheduler.machine.programs import Looks, Programs, is_called, read_looks

TICKS = os.sysconf("SC_CLK_TCK")


def looks(comm: str, *arguments: str, executable: str | None = None) -> Looks:
    return Looks(comm=comm, arguments="\0".join(arguments) + "\0", executable=executable)


@pytest.mark.parametrize(
    ("name", "process"),
    [
        ("steam", looks("steam", "/home/u/.local/share/Steam/ubuntu12_32/steam", "-srt-logger")),
        ("Steam", looks("steam", "steam")),
        ("steam.sh", looks("bash", "bash", "/home/u/.local/share/Steam/steam.sh")),
        ("blender", looks("main", "/opt/blender-4/blender", executable="/opt/blender-4/blender")),
        ("blender", looks("x", "x", executable="/opt/blender (deleted)")),
        ("eldenring.exe", looks("eldenring.exe", r"Z:\games\ELDEN RING\eldenring.exe")),
        ("start_protected_game.exe", looks("start_protected", r"C:\x\start_protected_game.exe")),
        ("Foo - Bar.exe", looks("Foo - Bar.exe", r"Z:\games\Foo - Bar.exe")),
        ("chrome", looks("chrome", "/opt/google/chrome/chrome --type=gpu-process --x=y")),
        ("lutris", looks("lutris", "/usr/bin/python3", "/usr/bin/lutris")),
        ("ComfyUI", looks("python", "python", "-m", "ComfyUI")),
        ("/usr/bin/blender", looks("b", "blender", executable="/usr/bin/blender")),
        ("/usr/bin/blender", looks("b", "/usr/bin/blender")),
        ("a-very-long-name-indeed", Looks(comm="a-very-long-nam", arguments="", executable=None)),
    ],
)
def test_a_program_is_known_by(name: str, process: Looks) -> None:
    assert is_called(name, process)


@pytest.mark.parametrize(
    ("name", "process"),
    [
        ("steam", looks("man", "man", "steam")),
        ("steam", looks("vim", "vim", "/etc/steam")),
        ("steam", looks("bwrap", "bwrap", "--bind", "/", "/", "steam")),
        ("steam", looks("steamwebhelper", "./steamwebhelper")),
        ("blender", looks("python", "python", "train.py", "blender")),
        ("/usr/bin/blender", looks("blender", "blender", executable="/opt/blender")),
        ("a-very-long-name-indeed", looks("a-very-long-nam", "a-very-long-name-of-another")),
        ("steam", Looks(comm="", arguments="", executable=None)),
    ],
)
def test_and_not_by(name: str, process: Looks) -> None:
    assert not is_called(name, process)


class Machine:
    """A made-up /proc and its clock."""

    def __init__(self, proc: Path) -> None:
        self.proc = proc
        self.now_s = 1000.0

    def add(
        self, pid: int, comm: str, *, parent: int = 1, state: str = "S", age_s: float = 60
    ) -> None:
        folder = self.proc / str(pid)
        folder.mkdir()
        started = int((self.now_s - age_s) * TICKS)
        numbers = f"{parent} {pid} {pid} " + "0 " * 15 + f"{started} 0"
        (folder / "stat").write_text(f"{pid} ({comm}) {state} {numbers}\n")
        (folder / "comm").write_text(f"{comm}\n")
        (folder / "cmdline").write_text(f"{comm}\0")

    def end(self, pid: int) -> None:
        shutil.rmtree(self.proc / str(pid))

    def programs(self, *names: str) -> Programs:
        return Programs(names, proc=self.proc, uptime_s=lambda: self.now_s)


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def test_what_runs_is_told_in_the_order_of_the_list(machine: Machine) -> None:
    machine.add(10, "blender")
    machine.add(11, "bash")
    machine.add(12, "steam")
    assert machine.programs("steam", "obs", "blender").running([]) == ("steam", "blender")


def test_ours_do_not_count(machine: Machine) -> None:
    machine.add(20, "python")
    machine.add(21, "blender", parent=20)
    found = machine.programs("blender")
    assert found.running([20]) == ()
    machine.now_s += 1
    assert found.running([]) == ("blender",), "whose tree it is may change"


def test_a_process_counts_from_its_third_second_on(machine: Machine) -> None:
    found = machine.programs("blender")
    machine.add(10, "blender", age_s=0.5)
    assert found.running([]) == ()
    machine.now_s += 2
    assert found.running([]) == ("blender",)


def test_one_that_has_ended_counts_for_a_while(machine: Machine) -> None:
    found = machine.programs("steam")
    machine.add(10, "steam")
    assert found.running([]) == ("steam",)
    machine.end(10)
    machine.now_s += programs.AFTER_S - 1
    assert found.running([]) == ("steam",)
    machine.now_s += 1
    assert found.running([]) == ()


def test_zombies_do_not_count(machine: Machine) -> None:
    machine.add(10, "steam", state="Z")
    assert machine.programs("steam").running([]) == ()


def test_a_process_that_becomes_another_program_is_seen(machine: Machine) -> None:
    found = machine.programs("steam")
    machine.add(10, "bash")
    assert found.running([]) == ()
    (machine.proc / "10/comm").write_text("steam\n")
    machine.now_s += 30
    assert found.running([]) == ("steam",)


def test_at_most_one_pass_a_second_and_known_processes_are_not_read(machine: Machine) -> None:
    found = machine.programs("steam")
    machine.add(10, "bash")
    assert found.running([]) == ()
    machine.add(11, "steam")
    machine.now_s += 0.9
    assert found.running([]) == ()
    (machine.proc / "10/comm").write_text("steam\n")
    machine.end(11)
    machine.now_s += 0.2
    assert found.running([]) == (), "10 is known, and read again only after half a minute"


def test_no_names_no_look(tmp_path: Path) -> None:
    assert Programs((), proc=tmp_path / "none").running([]) == ()
    assert Programs(("steam",), proc=tmp_path / "none").running([]) == ()


@pytest.fixture
def sleeper(tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A real process whose executable is called "our-own-game"."""
    shutil.copy("/bin/sleep", tmp_path / "our-own-game")
    process = subprocess.Popen([str(tmp_path / "our-own-game"), "60"])
    yield process
    process.kill()
    process.wait()


@pytest.mark.processes
def test_a_real_process(sleeper: subprocess.Popen[bytes], tmp_path: Path) -> None:
    path = str(tmp_path / "our-own-game")
    deadline_s = time.monotonic() + 60
    while read_looks(sleeper.pid, Path("/proc")).executable != path:  # between fork and exec
        assert time.monotonic() < deadline_s
        time.sleep(0.001)
    soon_s = time.clock_gettime(time.CLOCK_BOOTTIME) + programs.AGE_S
    names = ("our-own-game", path, "other-game")
    # Hidden from a look that counts this test's own children as ours.
    assert Programs(names, uptime_s=lambda: soon_s).running([]) == ()
    check = (
        "import sys, time; from scheduler.machine.programs import Programs;"
        "print(Programs(sys.argv[2:], uptime_s=lambda: float(sys.argv[1])).running([]))"
    )
    said = subprocess.run(
        [sys.executable, "-c", check, str(soon_s), *names],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert said.stdout.strip() == str(names[:2])
