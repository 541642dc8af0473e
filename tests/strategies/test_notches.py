"""Pruning gives way when too many controls mattered, and comes back when none did for long."""

from __future__ import annotations

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from scheduler.strategies.audit import Summary, interval
from scheduler.strategies.notches import CLEAN, next_notch


def summary(false: int, controls: int) -> Summary:
    low, high = interval(false, controls)
    return Summary(
        finished=200,
        pruned=100,
        controls=controls,
        false=false,
        low=low,
        high=high,
        confidence=0.95,
        saved_share=None,
    )


def notch_after(false: int, controls: int, notch: int, falls: int = 0, last: int = 3) -> int:
    step = next_notch(summary(false, controls), notch, last=last, falls=falls, limit=0.05)
    return notch if step is None else step.notch


def test_one_false_control_of_few_proves_nothing() -> None:
    assert notch_after(1, 5, 0) == 0
    assert notch_after(3, 5, 0) == 1


def test_the_last_notch_stays() -> None:
    assert notch_after(5, 5, 3) == 3


def test_clean_for_long_enough_it_is_stricter_again_but_never_than_asked_for() -> None:
    assert notch_after(0, CLEAN - 1, 1, falls=1) == 1
    assert notch_after(0, CLEAN, 1, falls=1) == 0
    assert notch_after(0, 10 * CLEAN, 0) == 0
    assert notch_after(1, 10 * CLEAN, 1, falls=1) == 1


def test_each_fall_doubles_the_way_back() -> None:
    assert notch_after(0, 2 * CLEAN - 1, 1, falls=2) == 1
    assert notch_after(0, 2 * CLEAN, 1, falls=2) == 0


@given(st.integers(0, 60), st.integers(0, 60), st.integers(0, 3), st.integers(0, 4))
def test_it_moves_by_one_and_says_why(false: int, more: int, notch: int, falls: int) -> None:
    step = next_notch(summary(false, false + more), notch, last=3, falls=falls, limit=0.05)
    if step is not None:
        assert abs(step.notch - notch) == 1
        assert 0 <= step.notch <= 3
        assert step.falls - falls == (step.notch > notch)
        assert "controls ended among the best" in step.because
        assert "confidence" in step.evidence


def test_a_control_that_became_the_best_is_enough_while_it_is_one_of_few() -> None:
    for false, controls, falls in ((1, 8, 1), (1, 30, 0), (0, 8, 0)):
        seen = msgspec.structs.replace(summary(false, controls), records=false)
        step = next_notch(seen, 0, last=3, falls=0, limit=0.05)
        assert (step is not None) == bool(falls)
    assert notch_after(1, 8, 0) == 0
