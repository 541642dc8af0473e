"""Readings come quickly while a second matters, and seldom while nothing is there to watch."""

from __future__ import annotations

import pytest

from scheduler.core.model import Attempt, Run, Trial
from scheduler.core.pace import FAST_S, IDLE_S, USUAL_S, period_s
from scheduler.core.view import AttemptView, DeviceView, RunView, View, WaitingView
from tests.core.scene import GIB, budget


def view(
    at_s: float = 10.0, *, used: int | None = 0, held: int | None = None, waits: bool = False
) -> View:
    """A card of 16 GiB with a reserve of 2; *held* None: no attempt is there."""
    trial = Trial(run="r", number=1)
    attempt = Attempt(
        id="r/1.1",
        trial=trial,
        device="card",
        promise_bytes=6 * GIB,
        cap_bytes=None,
        started_at_s=0.0,
    )
    there = AttemptView(
        attempt=attempt, state="running", process=None, held_bytes=held, peak_bytes=held
    )
    card = DeviceView(
        budget=budget(),
        found=True,
        read_at_s=at_s,
        total_bytes=None if used is None else 16 * GIB,
        used_bytes=used,
        strangers_bytes=0,
        promised_bytes=0,
        headroom_bytes=None,
        at_most=None,
        problem=None,
        attempts=() if held is None else (there,),
    )
    waiting = (WaitingView(trial=trial, since_s=0.0),) if waits else ()
    run = RunView(run=Run(id="r"), connected=True, active=0, waiting=waiting)
    return View(at_s=at_s, devices=(card,), runs=(run,), changes=())


def test_with_nothing_there_it_is_slow() -> None:
    assert period_s(None, view()) == IDLE_S


def test_a_trial_that_waits_is_not_kept_waiting() -> None:
    assert period_s(None, view(waits=True)) == USUAL_S


def test_a_steady_attempt_is_read_once_a_second() -> None:
    steady = view(11.0, used=4 * GIB, held=4 * GIB)
    assert period_s(view(10.0, used=4 * GIB, held=4 * GIB), steady) == USUAL_S


@pytest.mark.parametrize(("grown", "expected"), [(GIB // 16, USUAL_S), (GIB, FAST_S)])
def test_an_attempt_that_ramps_up_is_read_quickly(grown: int, expected: float) -> None:
    before = view(10.0, used=GIB, held=GIB)
    assert period_s(before, view(11.0, used=GIB + grown, held=GIB + grown)) == expected


def test_growth_counts_by_time_not_by_reading() -> None:
    """At four readings a second a quarter of the growth is as fast."""
    before, after = view(10.0, used=GIB, held=GIB), 5 * GIB // 4
    assert period_s(before, view(10.25, used=after, held=after)) == FAST_S
    assert period_s(before, view(20.0, used=after, held=after)) == USUAL_S


def test_a_tight_device_with_ours_on_it_is_read_quickly() -> None:
    assert period_s(None, view(used=int(13.5 * GIB), held=0)) == FAST_S
    assert period_s(None, view(used=int(13.5 * GIB), waits=True)) == USUAL_S


def test_what_is_unknown_is_read_as_usual() -> None:
    assert period_s(None, view(used=None, held=GIB)) == USUAL_S
