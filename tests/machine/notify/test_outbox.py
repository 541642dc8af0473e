"""When messages go and what is in them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scheduler.machine.notify.outbox import (
    BACKOFF_S,
    MOST_AGE_S,
    MOST_BACKOFF_S,
    MOST_CHARACTERS,
    MOST_MESSAGES,
    MOST_WAITING,
    WITHIN_S,
    Outbox,
    compose,
)


def test_one_thing_goes_at_once() -> None:
    box = Outbox()
    assert box.due_in_s(0) is None
    assert box.take(0) is None
    box.put("run a finished", 0)
    assert box.due_in_s(0) == 0
    assert box.take(0) == "run a finished"
    box.sent(1)
    assert box.due_in_s(1) is None


def test_so_many_in_ten_minutes_and_the_rest_in_one() -> None:
    box = Outbox()
    messages = []
    for second in range(100):
        box.put(f"best {second}", second)
        message = box.take(second)
        if message is not None:
            messages.append(message)
            box.sent(second)
    assert messages == [f"best {second}" for second in range(MOST_MESSAGES)]
    assert box.due_in_s(100) == WITHIN_S - 100
    rest = box.take(WITHIN_S)
    assert rest is not None
    assert rest.splitlines()[0] == "(and 74 more before, see `scheduler events`)"
    assert rest.splitlines()[-1] == "best 99"


def test_what_failed_goes_again_later_and_with_what_came_since() -> None:
    box = Outbox()
    box.put("one", 0)
    assert box.take(0) == "one"
    assert box.failed(0) == BACKOFF_S
    box.put("two", 1)
    assert box.take(BACKOFF_S - 1) is None
    assert box.due_in_s(BACKOFF_S - 1) == 1
    assert box.take(BACKOFF_S) == "one\ntwo"
    assert box.failed(BACKOFF_S) == 2 * BACKOFF_S
    now_s = 1000.0
    for _ in range(30):
        now_s += MOST_BACKOFF_S
        assert box.take(now_s) == "one\ntwo"
        wait_s = box.failed(now_s)
    assert wait_s == MOST_BACKOFF_S
    now_s += MOST_BACKOFF_S
    assert box.take(now_s) == "one\ntwo"
    box.sent(now_s)
    box.put("three", now_s)
    assert box.take(now_s) == "three"
    assert box.failed(now_s) == BACKOFF_S, "one success and the waits are short again"


def test_an_address_out_of_reach_costs_no_memory() -> None:
    box = Outbox()
    for number in range(10 * MOST_WAITING):
        box.put(str(number), 0)
    assert len(box._waiting) == MOST_WAITING
    message = box.take(0)
    assert message is not None
    assert f"(and {10 * MOST_WAITING - 20} more before" in message
    box.put("more", 0)
    box.failed(0)
    assert len(box._waiting) == MOST_WAITING
    message = box.take(BACKOFF_S)
    assert message is not None
    assert f"(and {10 * MOST_WAITING + 1 - 20} more before" in message
    box.sent(BACKOFF_S)
    box.put("next", BACKOFF_S)
    assert box.take(BACKOFF_S) == "next"


def test_yesterdays_news_is_left_out() -> None:
    box = Outbox()
    box.put("old", 0)
    assert box.take(MOST_AGE_S) is None
    box.put("new", MOST_AGE_S)
    assert box.take(MOST_AGE_S) == "(and 1 more before, see `scheduler events`)\nnew"


def test_a_clock_that_was_set_back_silences_nobody_for_long() -> None:
    box = Outbox()
    box.put("one", 10_000_000)
    box.take(10_000_000)
    box.failed(10_000_000)
    due_in_s = box.due_in_s(0)
    assert due_in_s is not None
    assert due_in_s <= max(WITHIN_S, MOST_BACKOFF_S)


@given(st.lists(st.text(), min_size=1), st.integers(0, 5))
def test_a_message_is_never_too_long(texts: list[str], left_out: int) -> None:
    message = compose([text * 40 for text in texts], left_out)
    assert len(message) <= MOST_CHARACTERS + 60
    assert len(message.split("\n")) <= 21


@pytest.mark.parametrize(("text", "line"), [("a\n b\t c", "a b c"), ("x" * 301, "x" * 299 + "…")])
def test_one_thing_is_one_line(text: str, line: str) -> None:
    assert compose([text]) == line
