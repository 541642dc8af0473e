"""Attempts without a host: watched, then ended; a living host keeps its own."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator

import pytest

from scheduler.core.model import Process
from scheduler.machine import processes
from scheduler.machine.orphans import PATIENCE_S, REJOIN_S, SILENT_S, Lease, Orphans

pytestmark = pytest.mark.processes

NOBODY: frozenset[str] = frozenset()
GONE = Process(pid=2**22 + 1, started_ticks=1)  # beyond the kernel's largest pid


class Scene:
    """Orphans on a clock that is moved by hand, of a host that is what it is set to."""

    def __init__(self) -> None:
        self.host: bool | None = False
        self.now_s = 1000.0
        self.orphans = Orphans(lambda run: self.host, lambda: self.now_s)

    def look(self, process: Process | None, connected: frozenset[str] = NOBODY) -> bool:
        lease = Lease(attempt="train-1/0.1", run="train-1", process=process)
        return self.orphans.look([lease], connected) == (lease.attempt,)


@pytest.fixture
def scene() -> Scene:
    return Scene()


@pytest.fixture
def attempt() -> Iterator[Process]:
    child = subprocess.Popen(
        [sys.executable, "-c", "import time; time.sleep(60)"], start_new_session=True
    )
    found = processes.identify(child.pid)
    assert found is not None
    yield found
    child.kill()
    child.wait()


def test_a_dead_hosts_dead_attempt_has_vanished(scene: Scene) -> None:
    assert scene.look(GONE)


def test_what_a_connected_host_has_is_its_own_affair(scene: Scene) -> None:
    assert not scene.look(GONE, frozenset({"train-1"}))


def test_a_living_hosts_attempt_is_left_alone(scene: Scene, attempt: Process) -> None:
    scene.host = True
    for _ in range(3):
        assert not scene.look(attempt)
        scene.now_s += 3600.0
    assert not processes.wait_gone(attempt, 0.5)


@pytest.mark.parametrize("process", [GONE, None])
def test_a_living_host_has_time_to_tell_what_became_of_it(
    scene: Scene, process: Process | None
) -> None:
    scene.host = True
    assert not scene.look(process)
    scene.now_s += SILENT_S - 0.1
    assert not scene.look(process)
    scene.now_s += 0.2
    assert scene.look(process)


@pytest.mark.parametrize("process", [GONE, None])
def test_a_host_that_nothing_is_known_of_has_time_to_come_back(
    scene: Scene, process: Process | None
) -> None:
    scene.host = None
    assert not scene.look(process)
    scene.now_s += REJOIN_S - 0.1
    assert not scene.look(process)
    scene.now_s += 0.2
    assert scene.look(process)


def test_one_that_never_told_its_process_is_given_time(scene: Scene) -> None:
    assert not scene.look(None)
    scene.now_s += PATIENCE_S
    assert scene.look(None)


def test_the_time_begins_anew_when_its_host_was_there_again(scene: Scene) -> None:
    assert not scene.look(None)
    scene.now_s += PATIENCE_S
    assert not scene.look(None, frozenset({"train-1"}))
    assert not scene.look(None)


def test_an_attempt_that_outlives_its_host_is_ended(
    scene: Scene, attempt: Process, wait_for: Callable[[Callable[[], object], str], object]
) -> None:
    assert not scene.look(attempt)
    scene.now_s += PATIENCE_S - 0.1
    assert not scene.look(attempt)
    assert processes.is_alive(attempt)
    scene.now_s += 0.2
    assert not scene.look(attempt)
    wait_for(lambda: not processes.is_alive(attempt), "the attempt's end")
    assert scene.look(attempt)
