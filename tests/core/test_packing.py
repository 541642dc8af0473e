"""Several trials of a run wait, each with a forecast: which starts where, and which never will."""

from __future__ import annotations

import msgspec
import pytest
from scene import GIB, Scene, budget, names, reading, starts, trial

from scheduler.core.actions import Action, Hold, Refuse
from scheduler.core.events import Limited
from scheduler.core.model import Rule, Run

REFUSED = (
    "by its forecast it needs 15.0 GiB, 14.0 GiB is the most that any device could give lately"
)


def begun(scene: Scene, *ended: str) -> list[int]:
    """The trials that start when the memory of those that *ended* is back."""
    for attempt in ended:
        scene.exited(attempt)
    return numbers(scene.sample())


def waiting(scene: Scene) -> list[int]:
    return [one.trial.number for run in scene.core.view().runs for one in run.waiting]


def full(scene: Scene, *sizes: int) -> None:
    """Nothing is left, and trials 10, 11, ... of *sizes* wait."""
    scene.sample()
    scene.runs(0, pid=100, want_bytes=14 * GIB)
    for number, size in enumerate(sizes, start=10):
        scene.offer(number, want_bytes=size * GIB)


# -- best fit --------------------------------------------------------------------------------------


def test_the_largest_that_fits_starts_and_what_is_left_goes_to_the_smaller(scene):
    full(scene, 3, 12, 2, 5)
    assert begun(scene, "r/0.1") == [11, 12]
    assert begun(scene, "r/11.1") == [13, 10]


def test_two_cards_get_one_each_before_one_gets_two(scenes):
    scene = scenes(budget("a"), budget("b"))
    scene.poll(reading(key="a"), reading(key="b"))
    devices = [scene.runs(n, pid=10 + n, want_bytes=3 * GIB).device for n in range(4)]
    assert sorted(devices[:2]) == sorted(devices[2:]) == ["a", "b"]


def test_one_that_comes_back_goes_before_all_that_are_new(scene):
    full(scene, 14)
    scene.again(trial(7, want_bytes=3 * GIB, attempts=1))
    assert begun(scene, "r/0.1") == [7]


def test_a_small_trial_is_overtaken_eight_times_by_larger_ones_and_then_goes_first(scene):
    full(scene, 2, 13)
    last, overtakers = 0, []
    for number in range(20, 40):
        scene.offer(number, want_bytes=13 * GIB)
        (last,) = begun(scene, f"r/{last}.1")
        if last == 10:
            break
        overtakers.append(last)
    assert len(overtakers) == 8


def test_a_device_is_drained_for_a_big_trial_behind_the_first(scenes):
    """The first is one that nobody overtakes: what its user promises it is nowhere."""
    scene = scenes(runs=(Run(id="r", promise_bytes=15 * GIB),))
    scene.sample()
    scene.runs(0, pid=100, want_bytes=7 * GIB)
    scene.runs(1, pid=101, want_bytes=7 * GIB)
    scene.offer(2)
    scene.offer(3, want_bytes=12 * GIB)
    running, overtakers = [0, 1], 0
    for number in range(10, 60):
        scene.offer(number, want_bytes=7 * GIB)
        new = begun(scene, f"r/{running.pop(0)}.1")
        if 3 in new:
            break
        overtakers += len(new)
        running += new
    assert overtakers == 8


def test_of_one_run_one_device_is_drained_at_a_time(scenes):
    scene = scenes(budget("a"), budget("b"), budget("c"))
    poll = tuple(reading(key=key) for key in "abc")
    scene.poll(*poll)
    running = [scene.runs(n, pid=100 + n, want_bytes=7 * GIB).trial.number for n in range(6)]
    for number in range(10, 13):
        scene.offer(number, want_bytes=12 * GIB)
    for number in range(20, 45):
        scene.offer(number, want_bytes=7 * GIB)
        scene.exited(f"r/{running.pop(0)}.1")
        running += numbers(scene.poll(*poll))
        drained = [d for d in scene.core.remember().devices if d.drained_for is not None]
        assert len(drained) <= 1
    assert {10, 11} <= {number for said in scene.core.said for number in numbers(said)}


def numbers(actions: tuple[Action, ...]) -> list[int]:
    return [attempt.trial.number for attempt in starts(actions)]


def test_one_that_fits_is_found_behind_many_that_do_not(scene):
    full(scene, *[14] * 31, 2, 2)
    scene.exited("r/0.1")
    assert numbers(scene.sample(used=11 * GIB)) == [41]


def test_what_waits_behind_those_that_are_looked_at_gets_its_turn(scene):
    full(scene, *[13] * 40)
    last = 0
    for _ in range(40):
        (last,) = begun(scene, f"r/{last}.1")
    assert waiting(scene) == []


# -- refused ---------------------------------------------------------------------------------------


def test_a_new_trial_that_no_device_could_take_empty_is_refused(scene):
    scene.sample()
    assert scene.offer(0, want_bytes=15 * GIB) == (
        Refuse(run="r", trial=0, want_bytes=15 * GIB, most_bytes=14 * GIB, because=REFUSED),
    )
    assert waiting(scene) == []


def test_a_refused_trial_is_tried_all_the_same_if_it_is_offered_alone(scene):
    scene.sample()
    scene.offer(0, want_bytes=15 * GIB)
    (attempt,) = starts(scene.offer(0, alone=True))
    assert (attempt.id, attempt.promise_bytes, attempt.alone) == ("r/0.1", 14 * GIB, True)


def test_what_fits_to_the_last_byte_is_not_refused_though_the_device_is_full(scene):
    scene.sample()
    scene.runs(0, pid=10)
    assert names(scene.offer(1, want_bytes=14 * GIB)) == ["Hold"]


def test_before_the_first_reading_nothing_is_too_big_and_then_it_is(scene):
    assert names(scene.offer(0, want_bytes=15 * GIB)) == ["Hold"]
    assert names(scene.sample()) == ["Refuse"]


def test_a_promise_of_the_users_is_held_so_that_they_hear_why(scenes):
    scene = scenes(runs=(Run(id="r", promise_bytes=15 * GIB),))
    scene.sample()
    (hold,) = scene.offer(0)
    assert isinstance(hold, Hold)
    assert "trial 0 needs 15.0 GiB" in hold.because


def test_what_is_learned_goes_alone_and_is_not_refused(scene):
    scene.sample()
    (attempt,) = starts(scene.again(trial(0, want_bytes=15 * GIB, attempts=1)))
    assert attempt.alone


def test_only_the_devices_that_the_run_may_use_count(scenes):
    scene = scenes(
        budget("a"), budget("b", total=32 * GIB), runs=(Run(id="r", device="a"), Run(id="s"))
    )
    scene.poll(reading(key="a"), reading(key="b", total=32 * GIB))
    (refuse,) = scene.offer(0, "r", want_bytes=15 * GIB)
    assert refuse.because.endswith("14.0 GiB is the most that a could give lately")
    assert names(scene.offer(0, "s", want_bytes=15 * GIB)) == ["Start"]


@pytest.mark.parametrize("used", [8 * GIB, 16 * GIB])
def test_strangers_of_now_do_not_make_a_trial_too_big(scene, used):
    scene.sample()
    scene.sample(used=used)
    assert names(scene.offer(0, want_bytes=10 * GIB)) == ["Hold"]


def test_a_rule_for_now_does_not_make_a_trial_too_big(scene):
    scene.sample()
    scene.rule(Rule(source="window", reserve_bytes=10 * GIB, because="working hours"))
    assert names(scene.offer(0, want_bytes=10 * GIB)) == ["Hold"]


# -- another wish ----------------------------------------------------------------------------------


def test_a_newer_wish_takes_the_place_of_the_older(scene):
    full(scene, 9, 9)
    before = scene.core.view().runs[0].waiting
    scene.now_s += 5
    assert scene.offer(10, want_bytes=3 * GIB) == ()
    after = scene.core.view().runs[0].waiting
    assert [one.trial.number for one in after] == [10, 11]
    assert [one.since_s for one in after] == [one.since_s for one in before]
    assert begun(scene, "r/0.1") == [11, 10]


def test_a_smaller_wish_may_fit_at_once_and_a_larger_be_refused(scene):
    scene.sample()
    scene.runs(0, pid=100, want_bytes=9 * GIB)
    scene.offer(1, want_bytes=9 * GIB)
    scene.offer(2, want_bytes=9 * GIB)
    (attempt,) = starts(scene.offer(1, want_bytes=4 * GIB))
    assert attempt.promise_bytes == 4 * GIB
    assert names(scene.offer(2, want_bytes=15 * GIB)) == ["Refuse"]
    assert scene.offer(1, want_bytes=2 * GIB) == ()  # it runs


def test_the_same_wish_again_is_no_news(scene):
    full(scene, 9)
    assert scene.offer(10, want_bytes=9 * GIB) == ()
    assert scene.core.view().runs[0].waiting[0].trial == trial(10, want_bytes=9 * GIB)


def test_with_another_wish_it_stays_as_often_overtaken_and_its_device_kept(scene):
    scene.sample()
    scene.runs(0, pid=100, want_bytes=7 * GIB)
    scene.runs(1, pid=101, want_bytes=7 * GIB)
    scene.offer(2, want_bytes=12 * GIB)
    running = [0, 1]
    for number in range(10, 18):
        scene.offer(number, want_bytes=7 * GIB)
        running += begun(scene, f"r/{running.pop(0)}.1")
    scene.offer(2, want_bytes=11 * GIB)
    (device,) = scene.core.remember().devices
    assert device.drained_for == trial(2, want_bytes=11 * GIB)
    scene.offer(30, want_bytes=7 * GIB)
    assert begun(scene, f"r/{running[0]}.1") == []
    assert begun(scene, f"r/{running[1]}.1") == [2]


# -- only what has changed is looked at ------------------------------------------------------------


def test_a_higher_number_at_once_lets_what_waits_start_at_once(scenes):
    scene = scenes(runs=(Run(id="r", max_attempts=1),))
    scene.sample()
    scene.runs(0, pid=10, want_bytes=2 * GIB)
    assert names(scene.offer(1, want_bytes=2 * GIB)) == ["Hold"]
    raised = Limited(at_s=scene.now_s, run="r", max_attempts=2)
    assert names(scene.handle(raised)) == ["Start"]


def test_an_end_on_one_card_makes_a_place_of_its_run_on_another(scenes):
    scene = scenes(budget("a"), budget("b"), runs=(Run(id="r", max_attempts=1),))
    scene.poll(reading(key="a"), reading(key="b"))
    assert scene.runs(0, pid=10, want_bytes=GIB).device == "a"
    scene.offer(1, want_bytes=14 * GIB)
    (attempt,) = starts(scene.exited("r/0.1"))
    assert attempt.device == "b"


def test_one_that_comes_to_be_looked_at_is_tried_everywhere(scenes):
    """Behind 32 others it was not, and the card that it fits has not changed since."""
    scene = scenes(budget("a"), budget("b"))
    readings = reading(key="a", used=11 * GIB), reading(key="b")
    scene.poll(*readings)
    scene.runs(99, pid=10, want_bytes=14 * GIB)
    for number in range(32):
        scene.offer(number, want_bytes=14 * GIB)
    assert scene.offer(40, want_bytes=2 * GIB) == ()
    scene.exited("r/99.1")
    assert numbers(scene.poll(*readings)) == [0, 40]


def test_what_is_remembered_starts_nothing_by_itself(scenes):
    """Its actions would be nobody's: it is read where a journal is replayed."""
    scene = scenes(runs=(Run(id="r", max_attempts=1),))
    scene.sample()
    scene.runs(0, pid=10, want_bytes=2 * GIB)
    scene.offer(1, want_bytes=2 * GIB)
    remembered = scene.core.remember()
    (run,) = remembered.runs
    run.run = msgspec.structs.replace(run.run, max_attempts=2)
    assert scene.handle(remembered) == ()
    assert begun(scene) == [1]
