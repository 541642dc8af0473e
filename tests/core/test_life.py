from __future__ import annotations

import pickle

import pytest
from scene import CARD, GIB, trial

from scheduler.core.life import (
    NEXT,
    Began,
    Ended,
    Freed,
    Impossible,
    Lease,
    Releasing,
    Running,
    Starting,
    Stopping,
    Told,
    step,
)
from scheduler.core.model import Attempt, Process

PROCESS = Process(pid=7, started_ticks=70)
LEASE = Lease(
    attempt=Attempt(
        id="r/0.1",
        trial=trial(),
        device=CARD,
        promise_bytes=GIB,
        cap_bytes=None,
        started_at_s=0.0,
    )
)
TOLD = Told(cause="strangers", because="others need it")
ENDED = Ended(at_s=5.0, used_bytes=GIB, company=2)
STOPPING = Stopping(lease=LEASE, process=PROCESS, cause="strangers", because="others need it")
STATES = {
    Starting: Starting(lease=LEASE),
    Running: Running(lease=LEASE, process=PROCESS),
    Stopping: STOPPING,
    Releasing: Releasing(
        lease=LEASE, process=PROCESS, since_s=5.0, used_bytes=GIB, stopped=None, company=2
    ),
}
HAPPENINGS = {Began: Began(process=PROCESS), Told: TOLD, Ended: ENDED, Freed: Freed()}


@pytest.mark.parametrize("happening", HAPPENINGS.values(), ids=lambda one: type(one).__name__)
@pytest.mark.parametrize("state", STATES.values(), ids=lambda one: type(one).__name__)
def test_a_step_goes_where_the_table_says_and_nowhere_else(state, happening):
    pair = (type(state), type(happening))
    if pair not in NEXT:
        with pytest.raises(Impossible, match=r"r/0\.1"):
            step(state, happening)
        return
    after = step(state, happening)
    assert after is None if NEXT[pair] is None else type(after) is NEXT[pair]
    assert after is None or after.lease == LEASE


def test_states_carry_what_led_to_them():
    assert step(STATES[Starting], HAPPENINGS[Began]) == STATES[Running]
    assert step(STATES[Running], TOLD) == STOPPING
    assert step(STATES[Running], ENDED) == STATES[Releasing]
    assert step(STOPPING, ENDED).stopped == STOPPING
    early = step(STATES[Starting], TOLD)
    assert step(early, HAPPENINGS[Began]) == STOPPING


def test_what_was_settled_is_not_settled_anew_by_a_late_word():
    late = STATES[Releasing]
    assert step(late, Ended(at_s=9.0, used_bytes=0, company=1)) is late


def test_the_error_names_attempt_state_and_happening_and_pickles():
    error = Impossible("r/0.1", "Stopping", "Told")
    assert str(pickle.loads(pickle.dumps(error))) == (
        "attempt r/0.1 is Stopping, where Told cannot happen"
    )
