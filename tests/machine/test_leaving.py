"""Leaving: who is told what, and when it is time."""

from __future__ import annotations

import signal

from scheduler.core.model import Process
from scheduler.machine.leaving import GRACE_S, Leaving

ONE, TWO = Process(pid=1001, started_ticks=1), Process(pid=1002, started_ticks=2)


class Scene:
    def __init__(self) -> None:
        self.now_s = 0.0
        self.told: list[tuple[int, int]] = []
        self.leaving = Leaving(
            lambda host, number: self.told.append((host.pid, number)), clock=lambda: self.now_s
        )


def test_it_stays_until_it_is_told() -> None:
    scene = Scene()
    assert not scene.leaving.look([])
    assert scene.leaving.rules() == ()
    assert scene.told == []


def test_drained_each_host_is_interrupted_once_and_waited_for() -> None:
    """A second interrupt would stop what may finish."""
    scene = Scene()
    scene.leaving.begin("drain")
    assert not scene.leaving.look([ONE])
    scene.now_s = 1e5
    scene.leaving.begin("drain")
    assert not scene.leaving.look([ONE, TWO])
    assert scene.told == [(1001, signal.SIGINT), (1002, signal.SIGINT)]
    assert scene.leaving.look([])
    (rule,) = scene.leaving.rules()
    assert (rule.max_attempts, rule.stops) == (0, False)


def test_now_they_are_ended_then_killed_then_left_alone() -> None:
    scene = Scene()
    scene.leaving.begin("now")
    assert not scene.leaving.look([ONE])
    scene.now_s = GRACE_S
    assert not scene.leaving.look([ONE])
    assert scene.told == [(1001, signal.SIGTERM), (1001, signal.SIGKILL)]
    scene.now_s = 20.0
    assert scene.leaving.look([ONE])


def test_in_a_hurry_after_all() -> None:
    scene = Scene()
    scene.leaving.begin("drain")
    scene.leaving.look([ONE])
    scene.now_s = 3600.0
    scene.leaving.begin("now")
    assert not scene.leaving.look([ONE])
    scene.leaving.begin("drain")  # it is too late to be patient
    assert scene.leaving.how == "now"
    assert scene.told == [(1001, signal.SIGINT), (1001, signal.SIGTERM)]


def test_with_nothing_to_wait_for_it_leaves_at_once() -> None:
    scene = Scene()
    scene.leaving.begin("now")
    assert scene.leaving.look([])
