from __future__ import annotations

import msgspec
import pytest

from scheduler.core.model import Change
from scheduler.strategies.budget import GoOn, Plan, Seen, Stop, decide
from scheduler.strategies.wishes import FREE, KEPT, Wishes, parse, undo


def change(what: str, before: str, after: str, by: str = "scheduler") -> Change:
    return Change(
        at_s=1.0,
        what=what,
        run="r",
        trial=None,
        device=None,
        before=before,
        after=after,
        because="",
        by=by,
    )


@pytest.mark.parametrize(
    ("word", "key", "value"),
    [
        ("pruning=none", "pruning", "none"),
        ("ranges=off", "ranges", "off"),
        ("target=.9", "target", "0.9"),
        ("floor=", "floor", ""),
        ("floor=none", "floor", ""),
        ("patience= 50", "patience", "50"),
        ("n-trials=600", "n_trials", "600"),
        ("max_trials=2", "max_trials", "2"),
        ("fixed=pruning, ranges,pruning", "fixed", "pruning,ranges"),
        ("fixed=", "fixed", ""),
    ],
)
def test_what_can_be_set(word, key, value):
    assert parse([word]) == {key: value}


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["speed=9"], "'speed' cannot be set; what can: pruning, ranges, target"),
        (["target"], "say target=VALUE"),
        (["target=nan"], "target=nan: a number"),
        (["floor=inf"], "floor=inf: a number"),
        (["patience=0"], "patience=0: a whole number from 1"),
        (["n_trials="], "n_trials=: a whole number from 1"),
        (["n_trials=6e2"], "n_trials=6e2: a whole number"),
        (["pruning=harsh"], "pruning=harsh: one of default, auto"),
        (["fixed=speed"], "fixed=speed: any of pruning, ranges"),
        (["target=1", "target=2"], "target is set twice"),
    ],
)
def test_what_cannot(words, says):
    with pytest.raises(ValueError, match=says):
        parse(words)


def test_what_was_set_before_holds_until_it_is_set_again():
    first = Wishes().merged({"target": "0.9", "floor": "0.1"}, "set by you")
    second = first.merged({"target": ""}, "change 3 undone by you")
    assert second.of["floor"] == first.of["floor"]
    assert second.of["target"].value == ""
    assert second.of["target"].number > first.of["target"].number
    assert msgspec.json.decode(msgspec.json.encode(second), type=Wishes) == second


@pytest.mark.parametrize(
    ("made", "fixed", "values"),
    [
        (change("pruning", "auto", "auto, milder"), (), {"pruning": "auto", "fixed": "pruning"}),
        (
            change("ranges", "narrowed", "full"),
            ("pruning",),
            {"ranges": "narrowed", "fixed": "pruning,ranges"},
        ),
        (change("concurrency", "no limit", "2 at once"), (), {"fixed": "concurrency"}),
        (change("promise", "6.0 GiB", "9.0 GiB"), (), {"fixed": "promise"}),
        (change("capacity", "6.0 GiB", "does not fit"), ("promise",), {"fixed": "promise"}),
        (change("pruning", "auto", "none", "you"), ("ranges",), {"pruning": "auto"}),
        (change("budget", "no target", "target 0.9", "you"), (), {"target": ""}),
        (change("budget", "target 0.9", "no target", "you"), (), {"target": "0.9"}),
        (change("budget", "400 trials", "600 trials", "you"), (), {"n_trials": "400"}),
        (change("concurrency", "2 at once", "4 at once", "you"), (), {"max_trials": "2"}),
        (change("concurrency", "no limit", "4 at once", "you"), (), {"max_trials": ""}),
        (change("ranges", FREE, KEPT, "you"), ("pruning", "ranges"), {"fixed": "pruning"}),
        (change("ranges", KEPT, FREE, "you"), ("pruning",), {"fixed": "pruning,ranges"}),
    ],
)
def test_what_undoes_a_change(made, fixed, values):
    """One of the scheduler's own is kept from happening again; the user's own is taken back."""
    assert undo(made, fixed) == values


@pytest.mark.parametrize(
    ("plan", "seen", "done", "values"),
    [
        (Plan(n_trials=9, target=0.5), Seen(best=0.6, number=1), 2, {"target": ""}),
        (Plan(patience=3), Seen(best=0.6, number=1, since=3), 5, {"patience": ""}),
        (Plan(n_trials=4, floor=0.7), Seen(best=0.6, number=1), 4, {"n_trials": "4", "floor": ""}),
        (Plan(n_trials=4, floor=0.6, went_on=True), Seen(best=0.6, number=1), 5, {"floor": ""}),
    ],
)
def test_what_the_budget_decides_can_be_undone(plan, seen, done, values):
    decided = decide(plan, seen, done, 1.0)
    assert isinstance(decided, Stop | GoOn)
    made = change("budget", decided.before, decided.after)
    assert undo(made, ()) == {"fixed": "budget", **values}
    parse([f"{key}={value}" for key, value in values.items()])


@pytest.mark.parametrize("what", ["stopped", "fault", "service"])
def test_what_was_not_decided_is_not_undone(what):
    with pytest.raises(ValueError, match=r"\w"):
        undo(change(what, "running", "stopped"), ())


def test_what_cannot_be_read_is_not_guessed():
    with pytest.raises(ValueError, match="what was before cannot be set: 7 apples"):
        undo(change("budget", "7 apples", "8 apples"), ())
