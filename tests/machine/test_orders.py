"""Orders reach the loop and are answered, whoever is in a hurry."""

from __future__ import annotations

import threading
from queue import SimpleQueue

import pytest

from scheduler.machine.orders import Given, Orders, Refused, Stay


@pytest.fixture
def queue() -> SimpleQueue[Given]:
    return SimpleQueue()


def test_it_returns_when_the_order_is_carried_out(queue: SimpleQueue[Given]) -> None:
    done: list[str] = []

    def loop() -> None:
        given = queue.get()
        assert given.take()
        done.append(type(given.order).__name__)
        given.answer(None)

    thread = threading.Thread(target=loop)
    thread.start()
    Orders(queue.put).give(Stay())
    assert done == ["Stay"]
    thread.join()


def test_a_refusal_is_raised_where_it_was_given(queue: SimpleQueue[Given]) -> None:
    def loop() -> None:
        given = queue.get()
        given.take()
        given.answer(Refused(409, "it is being stopped"))

    thread = threading.Thread(target=loop)
    thread.start()
    with pytest.raises(Refused, match="it is being stopped") as refused:
        Orders(queue.put).give(Stay())
    assert refused.value.status == 409
    thread.join()


def test_one_that_nobody_waits_for_any_more_is_not_carried_out(queue: SimpleQueue[Given]) -> None:
    """1. The loop is stuck, and the user is told so. 2. They do something else. 3. The loop goes
    on, and does what was asked a minute ago."""
    with pytest.raises(Refused) as refused:
        Orders(queue.put).give(Stay(), timeout_s=0.01)
    assert refused.value.status == 503
    assert not queue.get().take()


def test_one_that_is_being_carried_out_is_waited_for(queue: SimpleQueue[Given]) -> None:
    given = Given(Stay())
    assert given.take()
    threading.Timer(0.1, lambda: given.answer(None)).start()
    given.wait(0.08)
