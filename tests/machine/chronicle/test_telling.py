"""What people are told of the core's decisions."""

from __future__ import annotations

import pytest

from scheduler.core.actions import Action, Halt, Hold, Note, Refuse, Settle, Start, Stop
from scheduler.core.model import Attempt, Change, Settlement, Trial, Verdict, VerdictKind
from scheduler.machine.chronicle.entries import Draft
from scheduler.machine.chronicle.telling import entries_of

TRIAL = Trial(run="train-1", number=3)
CARD = "0000:03:00.0"


def attempt(trial: Trial = TRIAL) -> Attempt:
    return Attempt(
        id="train-1/3.1",
        trial=trial,
        device=CARD,
        promise_bytes=1,
        cap_bytes=None,
        started_at_s=0.0,
    )


def change(what: str, **fields: object) -> Note:
    given = {"at_s": 0.0, "run": None, "trial": None, "device": CARD, "before": "4", "after": "2"}
    return Note(change=Change(what=what, because="of that", **{**given, **fields}))  # type: ignore[arg-type]


def one(action: Action) -> Draft:
    (draft,) = entries_of(action)
    return draft


def test_a_start_says_where_and_which_attempt_it_is() -> None:
    first = one(Start(attempt=attempt(), because="it fits"))
    assert first.text == f"trial 3 of train-1 is started on {CARD}: it fits"
    assert (first.kind, first.what) == ("trial", "started")
    assert (first.run, first.trial, first.device) == ("train-1", 3, CARD)
    trial = Trial(run="train-1", number=3, attempts=2)
    again = one(Start(attempt=attempt(trial), because="it fits"))
    assert f"on {CARD}, attempt 3: " in again.text


@pytest.mark.parametrize(
    ("settlement", "kind", "what", "words"),
    [
        ("done", "finished", "finished", "is finished: so"),
        ("done", "user_error", "failed", "has failed: so"),
        ("failed", "unknown_kill", "failed", "has failed: so"),
        ("again", "device_oom", "put back", "is put back: so"),
        ("capacity", "device_oom", "too big", f"is too big for {CARD}: so"),
    ],
)
def test_an_end_says_what_follows(
    settlement: Settlement, kind: VerdictKind, what: str, words: str
) -> None:
    verdict = Verdict(kind=kind, because="so")
    draft = one(Settle(attempt=attempt(), verdict=verdict, settlement=settlement))
    assert (draft.kind, draft.what) == ("trial", what)
    assert draft.text == f"trial 3 of train-1 {words}"


def test_what_waits_stops_and_halts_says_why() -> None:
    held = one(Hold(run="train-1", trial=3, because="it waits for memory"))
    assert (held.what, held.text) == (
        "held",
        "trial 3 of train-1 does not start yet: it waits for memory",
    )
    stopped = one(Stop(attempt=attempt(), because="strangers grew"))
    assert (stopped.what, stopped.text) == (
        "stopped",
        f"trial 3 of train-1 is stopped on {CARD}: strangers grew",
    )
    halted = one(Halt(run="train-1", because="no driver"))
    assert (halted.kind, halted.what, halted.run) == ("run", "halted", "train-1")


@pytest.mark.parametrize(
    ("note", "kind", "what", "text"),
    [
        (change("concurrency"), "change", "at once", f"at once on {CARD}: 4 -> 2: of that"),
        (
            change("promise", run="train-1", trial=3),
            "change",
            "promise",
            f"promise on {CARD} for trial 3 of train-1: 4 -> 2: of that",
        ),
        (
            change("service", run="train-1", after="out of service"),
            "device",
            "out of service",
            f"{CARD} is out of service for train-1: of that",
        ),
    ],
)
def test_a_change_says_before_and_after(note: Note, kind: str, what: str, text: str) -> None:
    draft = one(note)
    assert (draft.kind, draft.what, draft.text) == (kind, what, text)


@pytest.mark.parametrize("what", ["stopped", "capacity"])
def test_what_another_action_says_is_not_said_twice(what: str) -> None:
    assert entries_of(change(what)) == ()


def test_a_trial_that_is_refused_is_too_big() -> None:
    draft = one(Refuse(run="train-1", trial=3, want_bytes=9, most_bytes=8, because="so"))
    assert draft.text == "trial 3 of train-1 is too big, and is not tried: so"
    assert (draft.kind, draft.what, draft.device) == ("trial", "too big", None)
    assert (draft.run, draft.trial) == ("train-1", 3)
