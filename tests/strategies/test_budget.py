from __future__ import annotations

import warnings

import msgspec
import optuna.terminator
import pytest
from hypothesis import given
from hypothesis import strategies as st
from optuna.study import StudyDirection

from scheduler.strategies.budget import (
    GoOn,
    Plan,
    Seen,
    Stop,
    decide,
    is_as_good,
    sentence,
    take,
    trials,
)

UP, DOWN = 1.0, -1.0


def seen_of(*values: float | None, sign: float = UP) -> Seen:
    """None: a pruned trial."""
    seen = Seen()
    for number, value in enumerate(values):
        seen = take(seen, number, "pruned" if value is None else "complete", value, sign)
    return seen


@pytest.mark.parametrize(
    ("value", "wanted", "sign", "is_so"),
    [
        (0.95, 0.95, UP, True),
        (0.94, 0.95, UP, False),
        (0.05, 0.1, DOWN, True),
        (0.2, 0.1, DOWN, False),
        (None, 0.1, DOWN, False),
    ],
)
def test_as_good_goes_by_the_direction(value, wanted, sign, is_so):
    assert is_as_good(value, wanted, sign) is is_so


def test_an_improvement_is_strictly_better_than_all_complete_ones_before():
    assert seen_of(1.0, 1.0, 0.5) == Seen(best=1.0, number=0, since=2)
    assert seen_of(1.0, 2.0) == Seen(best=2.0, number=1)
    assert seen_of(1.0, 2.0, sign=DOWN) == Seen(best=1.0, number=0, since=1)


def test_pruned_trials_count_and_failed_ones_do_not():
    seen = seen_of(1.0, None, None)
    assert seen.since == 2
    assert take(seen, 3, "other", None, UP) == seen


def test_before_the_first_complete_trial_nothing_counts():
    assert seen_of(None, None, None).since == 0
    assert decide(Plan(patience=2), seen_of(None, None, None), 3, UP) is None


def test_one_that_breaks_a_constraint_is_no_improvement_and_counts():
    assert take(seen_of(1.0), 1, "complete", None, UP) == Seen(best=1.0, number=0, since=1)


@given(st.lists(st.sampled_from([0.0, 0.25, 0.5, 1.0]), min_size=1), st.booleans())
def test_without_pruned_trials_it_is_the_rule_of_optunas_stagnation_evaluator(values, is_up):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        evaluator = optuna.terminator.BestValueStagnationEvaluator(max_stagnation_trials=10)
    told = [optuna.trial.create_trial(value=value) for value in values]
    direction = StudyDirection.MAXIMIZE if is_up else StudyDirection.MINIMIZE
    seen = seen_of(*values, sign=UP if is_up else DOWN)
    assert 10 - seen.since == evaluator.evaluate(told, direction)


def test_a_plan_without_wishes_never_changes_anything():
    for done in (0, 12, 400, 900):
        assert decide(Plan(n_trials=400), seen_of(9.0, 1.0, None), done, UP) is None


def test_it_stops_at_the_target():
    plan = Plan(n_trials=400, target=0.95)
    assert decide(plan, seen_of(0.94), 1, UP) is None
    stop = decide(plan, seen_of(0.5, 0.96), 2, UP)
    assert stop == Stop(
        before="goes on to 400 trials",
        after="ends by its target, 0.95",
        because="trial 1 is as good as the target, 0.95",
        evidence="2 of 400 trials had ended; the best is 0.96 in trial 1",
    )


def test_it_stops_when_patience_is_at_its_end():
    plan = Plan(patience=3)
    assert decide(plan, seen_of(1.0, 0.5, None), 3, UP) is None
    stop = decide(plan, seen_of(1.0, 0.5, None, 1.0), 4, UP)
    assert isinstance(stop, Stop)
    assert stop.before == "goes on to any number of trials"
    assert stop.because == "3 finished trials brought nothing better"


def test_it_goes_on_when_all_trials_are_done_and_none_reached_the_floor():
    plan = Plan(n_trials=400, floor=0.15)
    assert decide(plan, seen_of(0.1), 399, UP) is None
    on = decide(plan, seen_of(0.1), 400, UP)
    assert isinstance(on, GoOn)
    assert (on.to, on.before, on.after) == (600, "400 trials", "up to 600 trials")
    assert decide(plan, seen_of(0.1, 0.15), 400, UP) is None
    assert isinstance(decide(plan, Seen(), 400, UP), GoOn)


def test_it_goes_on_once():
    plan = Plan(n_trials=400, floor=0.15, went_on=True, went_on_to=600)
    assert decide(plan, seen_of(0.1), 600, UP) is None
    stop = decide(plan, seen_of(0.1, 0.2), 431, UP)
    assert isinstance(stop, Stop)
    assert stop.before == "goes on to 600 trials"
    assert stop.after == "ends by its floor, 0.15"


@pytest.mark.parametrize(
    ("n_trials", "extend_to", "further"),
    [
        (400, None, 600),
        (5, None, 8),
        (1, None, 2),
        (400, 450, 450),
        (400, 400, None),
        (None, 9, None),
    ],
)
def test_how_far_it_may_go_on(n_trials, extend_to, further):
    assert Plan(n_trials=n_trials, floor=0.0, extend_to=extend_to).further == further


def test_what_is_said():
    plan = Plan(n_trials=400, target=0.95, floor=0.15, patience=50)
    assert sentence(plan, seen_of(0.1, None), None) == (
        "stops at 0.95; goes on to 600 while nothing reaches 0.15;"
        " stops after 50 without a better one, 1 so far"
    )
    went_on = msgspec.structs.replace(plan, target=None, patience=None, went_on=True)
    assert sentence(went_on, Seen(), None) == "went on; stops at 0.15"
    assert sentence(plan, Seen(), "it is good") == "no more trials start: it is good"
    assert sentence(Plan(), Seen(), None) == ""


def test_how_trials_are_counted_in_words():
    assert [trials(1), trials(2), trials(None)] == ["1 trial", "2 trials", "any number of trials"]
