"""A clock that is set by hours while a supervisor, hosts and attempts run: they all see it.

Real processes, whose clock alone is shifted.
"""

from __future__ import annotations

import json
import math
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from desk import Desk, sitting_down
from script_runs import wait_for

from scheduler.interfaces.client import order
from scheduler.machine import processes
from tests.emulated.clock import NoClock, SettableClock

pytestmark = pytest.mark.processes
HOUR_S, DAY_S = 3600, 86400


@pytest.fixture
def clock(tmp_path: Path) -> SettableClock:
    try:
        return SettableClock(tmp_path)
    except NoClock as reason:
        pytest.skip(str(reason))


@pytest.fixture
def desk(tmp_path: Path, state: Path, clock: SettableClock) -> Iterator[Desk]:
    with sitting_down(tmp_path, state) as one:
        one.environment |= clock.environment() | {"TZ": "UTC"}
        yield one


def goes_on(desk: Desk, run: str, trials: int = 4) -> None:
    """So many more trials are done."""
    status = desk.status(run)
    done = status.complete if status else 0
    wait_for(lambda: (now := desk.status(run)) and now.complete >= done + trials, "trials")


def foretells_minutes(desk: Desk) -> bool:
    (run,) = json.loads(desk("status", "--json"))["runs"]
    progress = run["progress"]
    return (
        (progress["left"] or {}).get("high_s", math.inf) < HOUR_S
        and (progress["trials_an_hour"] or 0) > 500
        and (progress["trials_an_hour_now"] or 0) > 500
    )


def test_a_clock_that_is_set_by_hours_holds_nothing_up(desk: Desk, clock: SettableClock) -> None:
    """Forward and back, and it foretells no month; then host and supervisor die, and what the
    journal tells is in the future."""
    run = desk.submit(desk.script(trials=1000))
    goes_on(desk, run, 10)
    for hours in (5, -7, 26):
        clock.shift(hours * HOUR_S)
        goes_on(desk, run)
        wait_for(lambda: foretells_minutes(desk), "a time left that is no madness")
    clock.shift(-9 * HOUR_S)
    processes.send(desk.host(run), signal.SIGKILL)
    goes_on(desk, run)
    desk.kill_supervisor()
    clock.shift(-20 * HOUR_S)
    goes_on(desk, run)
    assert order(desk.state, f"/v1/runs/{run}/cancel")
    desk.wait_for(run, "cancelled")


def test_the_window_in_force_is_the_clocks(
    desk: Desk, clock: SettableClock, tmp_path: Path
) -> None:
    config = tmp_path / "config.toml"
    config.write_text('[[windows]]\ndays = "mon-sun"\nhours = "09:00-18:00"\nmax_trials = 1\n')
    desk.environment["SCHEDULER_CONFIG"] = str(config)
    midnight_s = time.time() // DAY_S * DAY_S
    clock.set_to(midnight_s + 12 * HOUR_S)
    run = desk.submit(desk.script(free=0))
    wait_for(lambda: sources_in_force(desk) == ["window"], "the window")
    wait_for(lambda: len(desk.attempts()) == 1, "one attempt")
    clock.set_to(midnight_s + 3 * HOUR_S)
    desk.two_running()
    assert sources_in_force(desk) == []
    clock.set_to(midnight_s + DAY_S + 17 * HOUR_S)
    wait_for(lambda: sources_in_force(desk) == ["window"], "the window")
    assert len(desk.attempts()) == 2
    clock.set_to(midnight_s + DAY_S + 19 * HOUR_S)
    wait_for(lambda: sources_in_force(desk) == [], "its end")
    desk.go()
    desk.wait_for(run, "finished")
    assert desk.complete(run) == 4


def sources_in_force(desk: Desk) -> list[str]:
    status = desk.view()
    assert status is not None
    return [rule.source for rule in status.view.rules]
