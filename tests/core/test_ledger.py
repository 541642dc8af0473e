from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scene import GIB, reading

from scheduler.core.ledger import Claim, balance, held_bytes, is_given_back

SIZES = st.integers(0, 32 * GIB)
HELD = st.none() | SIZES


def test_headroom_is_total_less_reserve_strangers_and_the_greater_of_promise_and_held():
    claims = [Claim(6 * GIB, 2 * GIB), Claim(3 * GIB, 4 * GIB)]
    account = balance(reading(7 * GIB), claims, baseline_bytes=None)
    assert account.strangers_bytes == 1 * GIB
    assert account.promised_bytes == 9 * GIB
    assert account.headroom_bytes(2 * GIB) == (16 - 2 - 1 - 6 - 4) * GIB
    assert account.open_bytes == 15 * GIB


def test_strangers_are_never_negative():
    account = balance(reading(1 * GIB), [Claim(6 * GIB, 2 * GIB)], baseline_bytes=None)
    assert account.strangers_bytes == 0
    assert account.headroom_bytes(0) == 10 * GIB


@pytest.mark.parametrize("silent", [None, reading(None), reading(1, total=None)])
def test_total_or_used_unknown_has_no_headroom(silent):
    account = balance(silent, [Claim(1, 1)], baseline_bytes=0)
    assert account.headroom_bytes(0) is None
    assert account.strangers_bytes is None
    assert account.open_bytes is None
    assert account.promised_bytes == 1


@pytest.mark.parametrize(
    ("said", "claims"),
    [
        (reading(5 * GIB, None), [Claim(6 * GIB, 0)]),
        (reading(5 * GIB), [Claim(6 * GIB, None)]),
    ],
    ids=["the device tells nobody apart", "one process could not be read"],
)
def test_processes_unknown_counts_from_the_baseline(said, claims):
    account = balance(said, claims, baseline_bytes=1 * GIB)
    assert account.strangers_bytes is None
    assert account.headroom_bytes(2 * GIB) == (16 - 2 - 1 - 6) * GIB


def test_processes_unknown_never_gives_more_than_is_unused():
    account = balance(reading(12 * GIB, None), [Claim(1 * GIB, 0)], baseline_bytes=0)
    assert account.headroom_bytes(2 * GIB) == (16 - 2 - 12) * GIB


def test_processes_and_baseline_unknown_counts_all_that_is_used_as_the_strangers():
    account = balance(reading(4 * GIB, None), [Claim(3 * GIB, 0)], baseline_bytes=None)
    assert account.headroom_bytes(0) == (16 - 4 - 3) * GIB


def test_without_attempts_a_device_that_tells_nobody_apart_is_like_any_other():
    account = balance(reading(4 * GIB, None), [], baseline_bytes=1 * GIB)
    assert account.strangers_bytes == 4 * GIB
    assert account.headroom_bytes(0) == 12 * GIB


@given(used=HELD, claims=st.lists(st.builds(Claim, SIZES, HELD), max_size=5), baseline=HELD)
def test_headroom_never_exceeds_what_was_not_promised(used, claims, baseline):
    account = balance(reading(used), claims, baseline_bytes=baseline)
    left = account.headroom_bytes(0)
    assert (left is None) == (used is None)
    if left is not None:
        assert left <= 16 * GIB - sum(claim.promise_bytes for claim in claims)


@given(used=SIZES, claims=st.lists(st.builds(Claim, SIZES, SIZES), max_size=5), extra=SIZES)
def test_one_more_promise_never_leaves_more(used, claims, extra):
    fewer = balance(reading(used), claims, baseline_bytes=None).left_bytes
    more = balance(reading(used), [*claims, Claim(extra, 0)], baseline_bytes=None).left_bytes
    assert more == fewer - extra


def test_held_of_a_tree_that_was_not_asked_about_is_nothing_yet():
    assert held_bytes(reading(1, {7: 5, 8: None}), 7) == 5
    assert held_bytes(reading(1, {7: 5, 8: None}), 8) is None
    assert held_bytes(reading(1, {7: 5}), 9) == 0
    assert held_bytes(reading(1, {7: 5}), None) == 0
    assert held_bytes(reading(1, None), 7) is None


@pytest.mark.parametrize(
    ("said", "waited_s", "back"),
    [
        (reading(9 * GIB, {7: 1}), 1, False),
        (reading(9 * GIB, {7: 0}), 1, True),
        (reading(9 * GIB, {}), 1, True),
        (reading(9 * GIB, {7: 1}), 10, True),
        (reading(None), 9, False),
        (reading(None), 10, True),
        (reading(10 * GIB, None), 1, False),
        (reading(8 * GIB, None), 1, False),
        (reading(7 * GIB, None), 1, True),
        (reading(10 * GIB, None), 10, True),
    ],
)
def test_memory_is_back_when_the_device_shows_it_or_after_ten_seconds(said, waited_s, back):
    shown = is_given_back(
        said, pid=7, promise_bytes=6 * GIB, used_at_end_bytes=10 * GIB, waited_s=waited_s
    )
    assert shown is back


def test_memory_is_not_back_where_nothing_is_known_of_before():
    assert not is_given_back(
        reading(0, None), pid=7, promise_bytes=1, used_at_end_bytes=None, waited_s=9
    )
