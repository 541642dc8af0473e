"""Curves: any order of reports, either direction, values that are no numbers."""

from __future__ import annotations

import math

from scheduler.strategies.curves import better, curve


def test_reports_are_sorted_and_the_later_one_at_a_step_counts() -> None:
    one = curve(3, [(5, 1.0), (2, 0.5), (5, 2.0)])
    assert (one.steps, one.values) == ((2, 5), (0.5, 2.0))


def test_what_diverged_is_the_worst_in_either_direction() -> None:
    for direction in ("maximize", "minimize"):
        for value in (math.nan, math.inf, -math.inf):
            assert better(value, direction) == -math.inf  # type: ignore[arg-type]
    assert better(2.0, "minimize") == -2.0


def test_only_what_ran_to_its_end_is_known_to_it() -> None:
    assert curve(0, [], final=1.0, state="control").is_known_to_the_end
    assert not curve(0, [], final=1.0, state="failed").is_known_to_the_end
    assert not curve(0, [(0, 1.0)], state="pruned").is_known_to_the_end
