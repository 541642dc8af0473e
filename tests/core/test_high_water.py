"""Strangers count at the most that they held lately; our own memory never counts as theirs."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scene import CARD, GIB, MIB, Scene, names, starts

from scheduler.core.actions import Stop
from scheduler.core.high_water import HIGH_WATER_S, Mark, marked, sure_bytes
from scheduler.core.model import Run


def high(scene: Scene) -> int | None:
    return scene.core.view().devices[0].strangers_high_bytes


def test_a_game_that_breathes_is_counted_at_what_it_breathes_in(scene):
    for used in (1, 6, 4, 6, 4):
        scene.sample(used * GIB, after_s=10)
    assert (high(scene), scene.core.view().devices[0].strangers_bytes) == (6 * GIB, 4 * GIB)
    assert scene.core.view().devices[0].headroom_bytes == 8 * GIB
    (hold,) = scene.offer(0, want_bytes=9 * GIB)
    assert hold.because == (
        f"waits for memory: wants 9.0 GiB, {CARD} has 8.0 GiB left of 16.0 GiB"
        " (reserve 2.0 GiB, strangers 4.0 GiB, lately 6.0 GiB, promised 0 MiB)"
    )


def test_half_a_minute_after_it_has_gone_its_memory_is_given_away(scene):
    scene.sample(10 * GIB)
    scene.offer(0)
    assert scene.sample(1 * GIB, after_s=HIGH_WATER_S - 0.1) == ()
    assert names(scene.sample(1 * GIB, after_s=0.1)) == ["Start"]


def test_what_is_over_is_what_is_used_now(scene):
    scene.sample()
    scene.runs(0, pid=10, want_bytes=9 * GIB)
    scene.sample(15 * GIB, {10: 9 * GIB})
    for _ in range(20):
        assert scene.sample(12 * GIB, {10: 9 * GIB}) == ()
    assert high(scene) == 6 * GIB


def test_strangers_have_grown_when_they_hold_more_than_was_reckoned_with(scenes):
    """The last attempt is let be where they only breathe in again."""
    scene = scenes(runs=(Run(id="r", reserve_bytes=0, contain=False),))
    scene.sample(6 * GIB)
    scene.sample(4 * GIB)
    scene.runs(0, pid=10, want_bytes=10 * GIB)
    for _ in range(5):
        assert scene.sample(16 * GIB + 1, {10: 10 * GIB}) == ()
    assert isinstance(scene.sample(16 * GIB + 1, {10: 9 * GIB})[0], Stop)


def test_where_processes_cannot_be_told_apart_there_is_no_mark(scene):
    scene.sample(GIB, None)
    scene.runs(0, pid=10)
    scene.sample(9 * GIB, None)
    assert high(scene) is None


# -- our own memory ------------------------------------------------------------------------------


def test_memory_that_the_driver_frees_late_is_not_the_strangers(scene):
    """The process is gone from the list, and what it held is used for some readings more."""
    scene.sample(1 * GIB)
    scene.runs(0, pid=10, want_bytes=7 * GIB)
    scene.sample(8 * GIB, {10: 7 * GIB})
    scene.offer(1, want_bytes=12 * GIB)
    scene.exited("r/0.1")
    for used in (8, 6, 3):
        assert scene.sample(used * GIB, {}, after_s=0.3) == ()
    assert names(scene.sample(1 * GIB, {}, after_s=0.3)) == ["Start"]
    assert high(scene) == 1 * GIB


def test_what_is_not_given_back_for_good_is_the_strangers(scene):
    scene.sample(1 * GIB)
    scene.runs(0, pid=10)
    scene.sample(7 * GIB, {10: 6 * GIB})
    scene.exited("r/0.1")
    for _ in range(12):
        scene.sample(7 * GIB, {})
    assert high(scene) == 7 * GIB


@pytest.mark.parametrize("told", [True, False])
def test_a_process_younger_than_the_reading_is_not_a_stranger(scene, told):
    """Nor one that its host has started and not yet told of."""
    scene.sample(1 * GIB)
    (attempt,) = starts(scene.offer(0))
    if told:
        scene.started(attempt.id, 10)
    scene.sample(4 * GIB, {})
    if not told:
        scene.started(attempt.id, 10)
    scene.sample(4 * GIB, {10: 3 * GIB})
    assert high(scene) == 1 * GIB


def test_beside_our_own_doubtful_memory_strangers_are_seen_all_the_same(scene):
    scene.sample(1 * GIB)
    scene.runs(0, pid=10)
    scene.sample(12 * GIB, {})
    scene.sample(7 * GIB, {10: 6 * GIB})
    assert high(scene) == 6 * GIB


def test_a_game_that_comes_right_after_an_end_is_seen(scene):
    """What was free at once is not doubted for ten seconds."""
    scene.sample(1 * GIB)
    scene.runs(0, pid=10)
    scene.sample(7 * GIB, {10: 6 * GIB})
    scene.exited("r/0.1")
    scene.sample(1 * GIB, {})
    scene.sample(5 * GIB, {})
    scene.sample(1 * GIB, {})
    assert high(scene) == 5 * GIB


def test_what_they_held_before_an_end_is_not_doubted_after_it(scene):
    """Beside our own late memory they hold what they held, as far as can be known."""
    scene.sample(4 * GIB)
    scene.runs(0, pid=10)
    scene.sample(10 * GIB, {10: 6 * GIB})
    scene.exited("r/0.1")
    for _ in range(5):
        scene.sample(9 * GIB, {})
    scene.sample(3 * GIB, {})
    assert high(scene) == 4 * GIB


def test_attempts_that_are_taken_up_were_strangers_before(scene):
    """A supervisor that lost its journal finds memory that turns out to be our own."""
    scene.sample()
    attempt = scene.runs(0, pid=10)
    later = Scene()
    later.sample(7 * GIB)
    later.joined(None, later.running(attempt, scene.core.view().devices[0].attempts[0].process))
    later.sample(7 * GIB, {10: 6 * GIB})
    assert high(later) == 1 * GIB


def test_a_new_life_goes_by_its_own_readings(scene):
    scene.sample(10 * GIB)
    scene.found()
    scene.joined()
    scene.sample(1 * GIB)
    assert high(scene) == 1 * GIB


def test_what_is_theirs_beyond_doubt():
    assert sure_bytes(9, 5, 4) == 4
    assert sure_bytes(9, 5, 6) == 6
    assert sure_bytes(9, 5, 12) == 9
    assert sure_bytes(9, 12, None) == 0
    assert sure_bytes(9, 0, 3) == 9


# -- the marks -----------------------------------------------------------------------------------


def test_a_reading_that_does_not_tell_forgets_only_what_is_old():
    marks = (Mark(0.0, 5), Mark(20.0, 3))
    assert marked(marks, None, 25.0) == marks
    assert marked(marks, None, 30.0) == marks[1:]
    assert marked(marks, 4, 25.0) == (Mark(0.0, 5), Mark(25.0, 4))


@given(st.lists(st.tuples(st.floats(0.02, 6), st.integers(0, 50 * MIB)), max_size=300))
def test_the_first_mark_is_the_most_of_the_last_half_minute_to_a_second(readings):
    marks, now_s, seen = (), 0.0, []
    for after_s, held in readings:
        now_s += after_s
        seen.append((now_s, held))
        marks = marked(marks, held, now_s)
        assert len(marks) <= HIGH_WATER_S + 1
        most = [max(h for at_s, h in seen if now_s - at_s < HIGH_WATER_S - less) for less in (0, 1)]
        assert most[1] <= marks[0].strangers_bytes <= most[0]
