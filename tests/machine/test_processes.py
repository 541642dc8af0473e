"""Processes are told apart for sure, and a session ends whole."""

from __future__ import annotations

import os
import platform
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator

import pytest

from scheduler.core.model import Process
from scheduler.machine import processes

pytestmark = pytest.mark.processes

STUBBORN = (
    "import signal, time; signal.signal(15, signal.SIG_IGN); print(flush=True); time.sleep(60)"
)
FAMILY = f"""
import subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", {STUBBORN!r}], stdout=subprocess.PIPE)
child.stdout.readline()
print(child.pid, flush=True)
time.sleep(60)
"""

Spawn = Callable[[str], "subprocess.Popen[str]"]


@pytest.fixture
def spawn() -> Iterator[Spawn]:
    """Starts Python code as the leader of a session and waits for its first line."""
    begun: list[subprocess.Popen[str]] = []

    def start(code: str) -> subprocess.Popen[str]:
        begun.append(
            subprocess.Popen(
                [sys.executable, "-c", code],
                stdin=subprocess.PIPE,  # nothing comes: one that asks for a line waits for ever
                stdout=subprocess.PIPE,
                text=True,
                start_new_session=True,
            )
        )
        return begun[-1]

    yield start
    for one in begun:
        for member in processes.members(Process(pid=one.pid, started_ticks=-1)) or ():
            processes.send(member, signal.SIGKILL)
        one.kill()
        one.wait()
        assert one.stdin is not None
        assert one.stdout is not None
        one.stdin.close()
        one.stdout.close()


def identity(child: subprocess.Popen[str]) -> Process:
    found = processes.identify(child.pid)
    assert found is not None
    return found


def first_line(child: subprocess.Popen[str]) -> str:
    assert child.stdout is not None
    return child.stdout.readline()


def test_a_name_with_brackets_and_spaces_does_not_move_the_fields() -> None:
    text = "7 (a) b (c) S 1 7 7 0 -1 4194304 1 0 0 0 0 0 0 0 20 0 1 0 12345 1 1"
    found = processes.Stat(state="S", session=7, threads=1, started_ticks=12345)
    assert processes.parse_stat(text) == found


def test_we_are_alive_and_another_start_is_not_us() -> None:
    us = processes.identify(os.getpid())
    assert us is not None
    assert processes.is_alive(us)
    assert not processes.is_alive(Process(pid=us.pid, started_ticks=us.started_ticks - 1))


def test_a_zombie_is_dead(spawn: Spawn) -> None:
    child = spawn("pass")
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)  # ended, not yet collected
    found = processes.identify(child.pid)
    assert found is not None
    assert not processes.is_alive(found)
    assert processes.wait_gone(found, 0.0)


@pytest.mark.skipif(platform.machine() != "x86_64", reason="knows exit(2)'s number there only")
def test_a_process_whose_first_thread_has_ended_runs_on(spawn: Spawn) -> None:
    """Its state in /proc is that of a zombie."""
    child = spawn(
        "import ctypes, threading, time\n"
        "def work():\n"
        "    while open('/proc/self/stat').read().split()[2] != 'Z': time.sleep(0.01)\n"
        "    print(flush=True)\n"
        "    time.sleep(60)\n"
        "threading.Thread(target=work).start()\n"
        "ctypes.CDLL(None).syscall(60, 0)\n"  # exit(2): of this thread only
    )
    first_line(child)
    found = identity(child)
    assert processes.is_alive(found)
    assert not processes.wait_gone(found, 0.0)
    processes.send(found, signal.SIGKILL)
    assert processes.wait_gone(found, 30.0)


def test_a_pid_written_down_is_not_taken_for_a_later_process() -> None:
    assert processes.was_running(os.getpid(), time.time())
    assert not processes.was_running(os.getpid(), time.time() - 86400 * 365)


def test_waiting_ends_when_the_process_does(spawn: Spawn) -> None:
    child = spawn("print(flush=True); input()")
    first_line(child)
    found = identity(child)
    assert not processes.wait_gone(found, 0.0)
    child.kill()
    assert processes.wait_gone(found, 30.0)


def test_a_signal_never_reaches_another_process_with_the_pid(spawn: Spawn) -> None:
    child = spawn("print(flush=True); input()")
    first_line(child)
    found = identity(child)
    later = Process(pid=found.pid, started_ticks=found.started_ticks - 1)
    processes.send(later, signal.SIGKILL)
    assert processes.members(later) == ()
    assert processes.end_session(later, 0.0)
    assert child.poll() is None


@pytest.mark.parametrize("pid", [-1, 0, 1])
def test_inits_and_the_kernels_sessions_are_nobodys(pid: int) -> None:
    found = processes.identify(pid) or Process(pid=pid, started_ticks=0)
    assert processes.members(found) == ()


def test_a_session_ends_whole_and_the_stubborn_are_killed(spawn: Spawn) -> None:
    leader = spawn(FAMILY)
    child = processes.identify(int(first_line(leader)))
    assert child is not None
    assert {one.pid for one in processes.members(identity(leader))} == {leader.pid, child.pid}
    assert processes.end_session(identity(leader), 0.3)
    assert not processes.is_alive(child)
    assert leader.wait() == -signal.SIGTERM


def test_what_a_dead_leader_left_behind_is_still_its_session(spawn: Spawn) -> None:
    leader = spawn(FAMILY)
    found, child = identity(leader), int(first_line(leader))
    leader.kill()
    leader.wait()
    assert [one.pid for one in processes.members(found)] == [child]
    assert processes.end_session(found, 0.0)
    assert processes.members(found) == ()
