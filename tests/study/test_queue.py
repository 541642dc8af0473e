"""What waits to start."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from scheduler.core.model import Trial
from scheduler.study.serving.queue import Queue
from scheduler.study.serving.quota import Quota


def trial(number: int) -> Trial:
    return Trial(run="r", number=number)


def queue(
    n_trials: int | None = 3, timeout_s: float | None = None, back: list[Trial] | None = None
) -> Queue:
    return Queue("r", Quota(n_trials, timeout_s), back or [], next_number=0)


def test_one_new_trial_is_offered_at_a_time() -> None:
    """The next is offered when the last has started, until all have begun."""
    waits = queue(2)
    assert waits.turn(0.0, ending=False) == ([trial(0)], [], [])
    assert waits.turn(0.0, ending=False) == ([], [], [])
    assert waits.take(0, 0.0) == (trial(0), False)
    assert waits.turn(0.0, ending=False) == ([trial(1)], [], [])
    assert not waits.is_done(0.0)
    assert waits.take(1, 0.0) == (trial(1), False)
    assert waits.turn(0.0, ending=False) == ([], [], [])
    assert waits.is_done(0.0)


def test_a_trial_that_comes_back_costs_nothing() -> None:
    """It waits beside the new one and does not count again."""
    waits = queue(1)
    waits.turn(0.0, ending=False)
    waits.take(0, 0.0)
    again = Trial(run="r", number=0, contentions=1)
    waits.put_back(again)
    assert waits.offered() == [again]
    assert not waits.is_done(0.0)
    assert waits.take(0, 0.0) == (again, True)
    assert waits.is_done(0.0)


def test_a_timeout_withdraws_what_is_new_and_runs_what_came_back() -> None:
    """What had begun comes to its end."""
    waits = queue(None, 5.0)
    waits.turn(0.0, ending=False)
    waits.take(0, 0.0)
    waits.turn(1.0, ending=False)
    waits.put_back(trial(0))
    assert waits.patience_s(4.0, 10.0) == 1.0
    assert waits.turn(5.0, ending=False) == ([], [1], [])
    assert waits.take(1, 5.0) is None
    assert waits.take(0, 5.0) == (trial(0), True)
    assert waits.is_done(5.0)


def test_an_ending_withdraws_everything() -> None:
    """Those that came back as well; they wait in the study for a resume."""
    waits = queue(5, back=[trial(7), trial(8)])
    waits.turn(0.0, ending=False)
    assert waits.turn(0.0, ending=True) == ([], [0, 7, 8], [])
    assert waits.turn(0.0, ending=True) == ([], [], [])
    assert waits.offered() == []
    assert waits.take(7, 0.0) is None


def ahead(waits: Queue, room: int = 3) -> tuple[list[int], list[int], list[int]]:
    turn = waits.turn(0.0, ending=False, room=room, ahead=True)
    return [one.number for one in turn.offer], turn.withdraw, [one.number for one in turn.ask]


def test_asked_ahead_trials_are_offered_when_the_sampler_has_answered() -> None:
    """With their wish; never more are asked for than may begin."""
    waits = queue(4)
    assert ahead(waits) == ([], [], [0, 1, 2])
    for number in (1, 0, 2):
        waits.asked(Trial(run="r", number=number, want_bytes=number + 1))
    assert ahead(waits) == ([1, 0, 2], [], [])
    assert waits.take(0, 0.0) == (Trial(run="r", number=0, want_bytes=1), False)
    assert ahead(waits) == ([], [], [3])
    assert ahead(waits) == ([], [], [])


def test_who_waits_unasked_makes_room_for_those_that_are_asked() -> None:
    waits = queue(3)
    waits.turn(0.0, ending=False)
    assert ahead(waits) == ([], [0], [1, 2, 3])
    assert waits.take(0, 0.0) is None


def test_one_that_was_answered_makes_room_and_costs_nothing() -> None:
    waits = queue(2)
    ahead(waits)
    waits.asked(trial(0))
    waits.asked(trial(1))
    ahead(waits)
    waits.drop(0)
    assert ahead(waits) == ([], [], [2])
    assert waits.quota.begun == 0


def test_what_was_asked_for_is_kept_when_fewer_may_begin() -> None:
    """It is offered again before anything new is asked for, as the user then wants more again."""
    waits = queue(3)
    ahead(waits)
    for number in range(3):
        waits.asked(trial(number))
    ahead(waits)
    waits.quota.n_trials = 1
    assert ahead(waits) == ([], [2, 1], [])
    waits.quota.n_trials = 4
    assert ahead(waits, room=4) == ([1, 2], [], [3])


def test_what_was_asked_for_waits_though_nothing_more_is_asked() -> None:
    waits = queue(None)
    assert ahead(waits, room=2) == ([], [], [0, 1])
    waits.asked(trial(0))
    waits.asked(trial(1))
    assert ahead(waits, room=0) == ([0, 1], [], [])


def test_what_an_earlier_life_asked_for_comes_first() -> None:
    """Even where nothing is asked ahead any more."""
    waits = Queue("r", Quota(None, None), [], next_number=9, left=[trial(7)])
    assert waits.turn(0.0, ending=False) == ([], [], [trial(7)])
    waits.asked(trial(7))
    assert waits.turn(0.0, ending=False) == ([trial(7)], [], [])


def test_a_newer_wish_is_what_it_starts_with() -> None:
    waits = queue(3)
    waits.turn(0.0, ending=False, want_bytes=5)
    newer = Trial(run="r", number=0, want_bytes=9)
    assert waits.renew(newer)
    assert not waits.renew(Trial(run="r", number=8))
    assert waits.take(0, 0.0) == (newer, False)


def test_so_is_one_of_a_trial_that_came_back() -> None:
    waits = queue(3, back=[trial(1)])
    newer = Trial(run="r", number=1, want_bytes=9)
    assert waits.renew(newer)
    assert waits.offered() == [newer]
    assert waits.take(1, 0.0) == (newer, True)


@given(st.lists(st.sampled_from(["take", "back", "turn"]), max_size=60), st.integers(0, 8))
def test_no_number_is_given_twice(steps: list[str], n_trials: int) -> None:
    """Whatever happens in whatever order: new numbers are new and no more than asked for."""
    waits = queue(n_trials)
    begun: list[int] = []
    running: list[Trial] = []
    for step in steps:
        if step == "turn":
            waits.turn(0.0, ending=False)
        elif step == "back" and running:
            waits.put_back(running.pop())
        elif waits.offered():
            taken = waits.take(waits.offered()[0].number, 0.0)
            assert taken is not None
            running.append(taken[0])
            if not taken[1]:
                begun.append(taken[0].number)
    assert begun == list(range(len(begun)))
    assert len(begun) <= n_trials
