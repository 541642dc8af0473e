"""Which source is believed: what answers is used, what is refuted is unknown, and all come back."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from probes.failover import FAILURES, MOST_RETRY_S, RETRY_S, Failover
from probes.reading import Device, Held, Reading

GIB = 1 << 30
CARD = Device(
    key="0000:03:00.0",
    kind="amd",
    name="a card",
    total_bytes=16 * GIB,
    source="amdgpu",
    because="test",
)


def said(used: int | None = GIB, total: int | None = 16 * GIB, **more: Any) -> Reading:
    problem = more.pop("problem", None if used is not None else "is empty")
    return Reading(device=CARD.key, total_bytes=total, used_bytes=used, problem=problem, **more)


class Sources:
    """A failover and its clock; *answers* are what each source would say."""

    def __init__(self, *answers: Reading, device: Device = CARD) -> None:
        self.answers = list(answers)
        self.it = Failover(device, [f"source {number}" for number in range(len(answers))])
        self.now_s = 1000.0
        self.asked: list[tuple[int, ...]] = []

    def poll(self, times: int = 1, *, trees: tuple[int, ...] = ()) -> Reading:
        for _ in range(times):
            due = self.it.due(self.now_s)
            self.asked.append(due)
            for number in due:
                self.it.take(
                    number, self.answers[number], trees=trees, took_s=0.1, now_s=self.now_s
                )
            self.now_s += 1.0
        reading = self.it.reading()
        assert reading is not None
        return reading

    @property
    def states(self) -> list[str]:
        return [state.state for state in self.it.states()]


def test_the_first_is_asked_and_no_other() -> None:
    sources = Sources(said(1), said(2))
    assert sources.poll(5).used_bytes == 1
    assert sources.asked == [(0,)] * 5
    assert sources.states == ["in use", "standby"]


def test_three_failures_in_a_row_and_the_next_one_answers() -> None:
    sources = Sources(said(None), said(2 * GIB))
    assert [sources.poll().used_bytes for _ in range(FAILURES + 1)] == [None, None, None, 2 * GIB]
    assert sources.states == ["left", "in use"]
    assert sources.it.states()[0].problem == "is empty"


def test_a_single_failure_is_an_unknown_reading_and_no_more() -> None:
    sources = Sources(said(1), said(2))
    for _ in range(10):
        sources.answers[0] = said(None)
        assert sources.poll(2).used_bytes is None
        sources.answers[0] = said(1)
        assert sources.poll().used_bytes == 1
    assert sources.states == ["in use", "standby"]


def test_one_that_was_left_comes_back_when_it_works() -> None:
    sources = Sources(said(None), said(2))
    sources.poll(FAILURES)
    sources.answers[0] = said(1)
    readings = [sources.poll().used_bytes for _ in range(int(RETRY_S) + 1)]
    assert readings[:2] == [2, 2]
    assert readings[-1] == 1
    assert sources.states == ["in use", "standby"]


def test_one_that_stays_broken_is_tried_less_and_less() -> None:
    sources = Sources(said(None), said(2))
    sources.poll(2000)
    tries = [number for number, due in enumerate(sources.asked) if due == (0, 1)]
    gaps = [after - before for before, after in pairwise(tries)]
    assert gaps == sorted(gaps)
    assert gaps[0] == 2 * RETRY_S
    assert gaps[-1] == MOST_RETRY_S


def test_where_none_answers_it_is_unknown_and_all_are_tried_again() -> None:
    sources = Sources(said(None), said(None, problem="did not answer in 10 s"))
    assert sources.poll(5).problem == "source 0: is empty; source 1: did not answer in 10 s"
    assert sources.poll(50).used_bytes is None
    sources.answers[1] = said(2)
    sources.poll(50)
    assert sources.poll().used_bytes == 2


def test_an_old_word_of_a_standby_is_not_believed() -> None:
    sources = Sources(said(None), said(2))
    sources.poll(5)
    sources.answers[0] = said(1)
    sources.poll(50)
    sources.answers = [said(None), said(3)]
    assert [sources.poll().used_bytes for _ in range(5)] == [None, None, None, 3, 3]


def test_an_only_source_is_never_left() -> None:
    sources = Sources(said(None))
    sources.poll(50)
    assert sources.states == ["failing"]
    sources.answers[0] = said(1)
    assert sources.poll().used_bytes == 1


def test_a_sleeping_card_is_no_failure_so_that_no_tool_wakes_it() -> None:
    sources = Sources(said(None, asleep=True), said(2))
    assert sources.poll(50).used_bytes is None
    assert sources.asked == [(0,)] * 50


def test_zero_used_while_ours_hold_memory_is_unknown() -> None:
    held = (Held(pid=7, held_bytes=6 * GIB),)
    reading = Sources(said(0, held=held)).poll(trees=(7,))
    assert reading.used_bytes is None
    assert reading.problem == ("source 0 says 0 bytes are used, while our attempts hold 6442450944")


def test_zero_used_is_refuted_by_what_was_seen_before_too() -> None:
    """The tool that steps in cannot tell processes apart; the source before it could."""
    sources = Sources(said(7 * GIB, held=(Held(pid=7, held_bytes=6 * GIB),)), said(0, held=None))
    sources.poll(trees=(7,))
    sources.answers[0] = said(None)
    assert sources.poll(5, trees=(7,)).used_bytes is None
    assert sources.it.states()[1].problem is not None


@pytest.mark.parametrize("used", [0, 20 << 20])
def test_an_empty_card_may_be_empty(used: int) -> None:
    assert Sources(said(used)).poll().used_bytes == used
    nothing = (Held(pid=7, held_bytes=0),)
    assert Sources(said(used, held=nothing)).poll(trees=(7,)).used_bytes == used


def test_a_total_that_changes_is_unknown() -> None:
    sources = Sources(said(1, total=16 * GIB))
    sources.poll()
    sources.answers[0] = said(1, total=16 * GIB - 4096)
    reading = sources.poll()
    assert (reading.total_bytes, reading.used_bytes) == (None, None)
    assert "in all, and said 17179869184 before" in str(reading.problem)


def test_another_sources_total_may_differ_a_little_and_not_be_another_pool() -> None:
    sources = Sources(said(None), said(1, total=int(15.98 * GIB)))
    assert sources.poll(5).total_bytes == int(15.98 * GIB)
    sources = Sources(said(None), said(1, total=512 << 20))
    assert sources.poll(5).total_bytes is None
    assert sources.it.states()[1].problem == (
        "source 1 says 536870912 bytes in all, where amdgpu found 17179869184"
    )


def test_rams_total_may_change() -> None:
    host = Device(key="host", kind="host", name="", total_bytes=16, source="host", because="")
    sources = Sources(said(1, total=16), device=host)
    sources.poll()
    sources.answers[0] = said(1, total=8)
    assert sources.poll().total_bytes == 8


_answer = st.one_of(
    st.none(), st.tuples(st.integers(0, 20 * GIB), st.sampled_from([16 * GIB, 8 * GIB]))
)


@given(st.lists(st.lists(_answer, min_size=3, max_size=3), max_size=60))
def test_what_is_believed_was_said_by_the_source_in_use(
    polls: list[list[tuple[int, int] | None]],
) -> None:
    """Whatever three sources say: never a number of another, never one beside the known total."""
    sources = Sources(said(), said(), said())
    for answers in polls:
        sources.answers = [said(None) if one is None else said(*one) for one in answers]
        reading = sources.poll()
        assert (reading.used_bytes is None) == (reading.total_bytes is None)
        assert reading.total_bytes in (None, 16 * GIB)
        in_use = [state for state in sources.states if state in ("in use", "failing")]
        assert len(in_use) <= 1
        if reading.used_bytes is None:
            assert reading.problem
