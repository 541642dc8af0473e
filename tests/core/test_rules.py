"""Rules of people, windows and programs: what may not start, what is stopped, what comes back."""

from __future__ import annotations

import msgspec
import pytest
from scene import CARD, DONE, GIB, OWN_CAP, STOPPED, Scene, budget, names, reading, starts, trial

from scheduler.core import rules as in_force
from scheduler.core.actions import Note, Settle, Stop
from scheduler.core.model import Process, Rule, Run

SMALL = Run(id="r", promise_bytes=2 * GIB)


def rule(**fields: object) -> Rule:
    return Rule(**{"source": "you", "because": "paused by you", **fields})


@pytest.fixture
def crowd(scenes) -> Scene:
    """Four attempts of 2 GiB that began a second after another, the youngest the last."""
    scene = scenes(runs=(SMALL,))
    for number in range(4):
        scene.sample(2 * number * GIB, {10 + n: 2 * GIB for n in range(number)})
        scene.runs(number, pid=10 + number)
    scene.sample(8 * GIB, {10 + n: 2 * GIB for n in range(4)})
    return scene


def stopped(actions) -> list[str]:
    return [action.attempt.id for action in actions if isinstance(action, Stop)]


def again(actions):
    (settle,) = [action for action in actions if isinstance(action, Settle)]
    return settle.again


# -- starts --------------------------------------------------------------------------------------


def test_nothing_new_starts_on_a_paused_device_and_what_runs_goes_on(scene):
    scene.sample()
    scene.runs(0, pid=10)
    assert scene.rule(rule(device=CARD, max_attempts=0)) == ()
    (hold,) = scene.offer(1)
    assert hold.because == f"nothing new starts on {CARD}: paused by you"
    scene.exited("r/0.1")
    assert scene.sample() == ()
    assert names(scene.rule()) == ["Start"]


def test_a_rule_takes_hold_at_once_and_its_end_too(scene):
    scene.sample(used=9 * GIB)
    assert names(scene.offer(0)) == ["Hold"]
    (hold,) = scene.rule(rule(max_attempts=0))
    assert hold.because == f"nothing new starts on {CARD}: paused by you"
    (hold,) = scene.rule()
    assert "waits for memory" in hold.because


def test_a_rule_for_all_devices_counts_on_each_by_itself(scenes):
    scene = scenes(budget("a"), budget("b"), runs=(SMALL,))
    scene.rule(rule(max_attempts=1, source="window", because="working hours"))
    scene.poll(reading(key="a"), reading(key="b"))
    assert [one.device for n in range(2) for one in starts(scene.offer(n))] == ["a", "b"]
    (hold,) = scene.offer(2)
    assert hold.because == "waits for a place on a: 1 run, at most 1 at once, working hours"


def test_a_rule_for_another_device_says_nothing_of_this_one(scene):
    scene.rule(rule(device="b", max_attempts=0))
    scene.sample()
    assert names(scene.offer(0)) == ["Start"]


def test_a_rule_for_a_run_counts_on_all_devices_and_holds_no_other_run(scenes):
    runs = (SMALL, Run(id="s", promise_bytes=GIB))
    scene = scenes(budget("a"), budget("b"), runs=runs)
    scene.rule(rule(run="r", max_attempts=2, because="asked so"))
    scene.poll(reading(key="a"), reading(key="b"))
    assert len([one for n in range(2) for one in starts(scene.offer(n))]) == 2
    (hold,) = scene.offer(2)
    assert hold.because == "waits for its run's other trials: at most 2 at once, asked so"
    assert names(scene.offer(0, "s")) == ["Start"]


def test_a_paused_run_says_why_in_the_words_of_the_pause(scene):
    scene.sample()
    scene.rule(rule(run="r", max_attempts=0))
    (hold,) = scene.offer(0)
    assert hold.because == "paused by you"


def test_the_strictest_of_several_counts(scene):
    loose, strict = rule(max_attempts=3), rule(max_attempts=0, because="a game runs")
    scene.rule(loose, strict)
    scene.sample()
    (hold,) = scene.offer(0)
    assert hold.because == f"nothing new starts on {CARD}: a game runs"
    assert scene.core.view().devices[0].at_most == 0
    assert scene.core.view().rules == (loose, strict)


def test_what_a_rule_keeps_free_is_not_promised(scene):
    scene.rule(rule(reserve_bytes=11 * GIB, because="working hours"))
    scene.sample()
    (hold,) = scene.offer(0)
    assert hold.because == f"wants 6.0 GiB, and 11.0 GiB are kept free on {CARD}: working hours"
    assert scene.core.view().devices[0].headroom_bytes == 5 * GIB
    assert names(scene.offer(1, want_bytes=5 * GIB)) == ["Start"]


def test_a_rule_never_lowers_what_is_kept_free(scene):
    scene.rule(rule(reserve_bytes=GIB))
    scene.sample(used=9 * GIB)
    (hold,) = scene.offer(0)
    assert "reserve 2.0 GiB" in hold.because


def test_a_trial_that_must_be_alone_is_held_by_rules_as_well(scene):
    scene.rule(rule(device=CARD, max_attempts=0))
    scene.sample()
    assert names(scene.offer(0, alone=True, attempts=1)) == ["Hold"]
    assert names(scene.rule()) == ["Start"]


def test_a_new_life_has_no_rules_and_starts_nothing_until_it_has_read(scene):
    """So rules that are said in between are not broken."""
    scene.rule(rule(max_attempts=0))
    scene.sample()
    scene.found()
    scene.joined()
    assert scene.core.view().rules == ()
    assert names(scene.offer(0)) == ["Hold"]
    assert names(scene.rule(rule(max_attempts=0))) == ["Hold"]
    assert scene.sample() == ()
    assert names(scene.rule()) == ["Start"]


# -- stops ---------------------------------------------------------------------------------------


def test_without_stops_all_may_finish(crowd):
    assert crowd.rule(rule(max_attempts=0)) == ()
    assert crowd.rule(rule(run="r", max_attempts=1)) == ()


def test_all_that_are_beyond_are_stopped_at_once_those_that_lose_least_first(crowd):
    actions = crowd.rule(rule(device=CARD, max_attempts=1, stops=True, because="a game runs"))
    assert stopped(actions) == ["r/3.1", "r/2.1", "r/1.1"]
    assert {action.because for action in actions if isinstance(action, Stop)} == {"a game runs"}
    changes = [action.change for action in actions if isinstance(action, Note)]
    assert {(one.what, one.before, one.after) for one in changes} == {
        ("stopped", "held 2.0 GiB", "waits to start again")
    }
    assert crowd.sample(8 * GIB, {10 + n: 2 * GIB for n in range(4)}) == ()


def test_one_that_has_saved_its_work_loses_less_than_a_younger_one(crowd):
    crowd.saved("r/0.1")
    actions = crowd.rule(rule(run="r", max_attempts=3, stops=True))
    assert stopped(actions) == ["r/0.1"]


def test_a_stop_that_is_under_way_counts_as_done(crowd):
    crowd.rule(rule(max_attempts=3, stops=True))
    assert stopped(crowd.rule(rule(max_attempts=2, stops=True))) == ["r/2.1"]
    assert crowd.rule(rule(run="r", max_attempts=2, stops=True)) == ()


def test_who_was_asked_to_go_comes_back_first_as_it_was_and_nothing_is_counted(crowd):
    crowd.offer(9, want_bytes=14 * GIB)
    crowd.rule(rule(run="r", max_attempts=0, stops=True))
    ends = [again(crowd.exited(f"r/{n}.1", STOPPED)) for n in range(4)]
    assert ends == [trial(n, want_bytes=2 * GIB, attempts=1) for n in range(4)]
    for one in ends:
        crowd.again(one)
    waiting = [one.trial.number for one in crowd.core.view().runs[0].waiting]
    assert waiting == [3, 2, 1, 0, 9]
    crowd.sample()
    assert [one.trial.number for one in starts(crowd.rule())] == [3, 2, 1, 0]


def test_the_device_does_not_rest_after_a_stop_that_was_asked_for(crowd):
    """Its user who resumes a second later does not wait for half a minute."""
    crowd.rule(rule(max_attempts=3, stops=True))
    back = again(crowd.exited("r/3.1", STOPPED))
    crowd.sample(6 * GIB, {10 + n: 2 * GIB for n in range(3)})
    crowd.again(back)
    assert [one.id for one in starts(crowd.rule())] == ["r/3.2"]


def test_an_attempt_that_is_adopted_while_its_run_is_paused_is_stopped(crowd):
    one = crowd.core.view().devices[0].attempts[0].attempt
    crowd.found()
    crowd.rule(rule(run="r", max_attempts=0, stops=True, because="x"))
    foreign = msgspec.structs.replace(one, id="r/7.1", trial=trial(7))
    process = Process(pid=77, started_ticks=1)
    assert stopped(crowd.joined(SMALL, crowd.running(foreign, process))) == ["r/7.1"]


def test_a_finish_that_crosses_the_stop_is_a_finish_and_what_failed_meanwhile_is_not_counted(crowd):
    crowd.rule(rule(max_attempts=0, stops=True))
    (done,) = crowd.exited("r/0.1", DONE)
    assert done.settlement == "done"
    assert again(crowd.exited("r/1.1", OWN_CAP)).overruns == 0


# -- a reserve that stops ------------------------------------------------------------------------


def test_a_raised_reserve_that_stops_is_looked_at_twice_and_takes_one_at_a_time(crowd):
    held = {10 + n: 2 * GIB for n in range(4)}
    assert crowd.rule(rule(reserve_bytes=10 * GIB, stops=True, because="working hours")) == ()
    assert crowd.sample(8 * GIB, held) == ()
    actions = crowd.sample(8 * GIB, held)
    assert stopped(actions) == ["r/3.1"]
    assert actions[0].because == (
        f"{CARD} holds 8.0 GiB of 16.0 GiB, of which 10.0 GiB are to be kept free: working hours"
    )
    assert crowd.sample(8 * GIB, held) == ()
    assert again(crowd.exited("r/3.1", STOPPED)) == trial(3, want_bytes=2 * GIB, attempts=1)
    del held[13]
    for _ in range(40):
        assert crowd.sample(6 * GIB, held) == ()


def test_the_last_one_goes_too_where_a_rule_wants_the_memory(scene):
    """Alone and within its promise it is let be otherwise: it was given all there is."""
    scene.sample()
    scene.runs(0, pid=10, want_bytes=14 * GIB)
    scene.rule(rule(reserve_bytes=8 * GIB, stops=True))
    scene.sample(13 * GIB, {10: 13 * GIB})
    assert stopped(scene.sample(13 * GIB, {10: 13 * GIB})) == ["r/0.1"]


def test_a_promise_that_was_broken_is_not_counted_where_only_the_rule_is_short(scenes):
    scene = scenes(runs=(Run(id="r", contain=False),))
    scene.sample()
    scene.runs(0, pid=10)
    scene.rule(rule(reserve_bytes=8 * GIB, stops=True))
    scene.sample(9 * GIB, {10: 9 * GIB})
    assert stopped(scene.sample(9 * GIB, {10: 9 * GIB})) == ["r/0.1"]
    back = again(scene.exited("r/0.1", STOPPED))
    assert (back.overruns, back.want_bytes) == (0, 9 * GIB)


def test_a_raised_reserve_without_stops_stops_nobody(crowd):
    crowd.rule(rule(reserve_bytes=15 * GIB))
    for _ in range(40):
        assert crowd.sample(8 * GIB, {10 + n: 2 * GIB for n in range(4)}) == ()


# -- what is kept for a trial, and priorities ----------------------------------------------------


def overtake(scene: Scene) -> None:
    """Trial 2 of 12 GiB waits behind two of 7 GiB until the card is kept for it."""
    scene.sample()
    scene.runs(0, pid=100, want_bytes=7 * GIB)
    scene.runs(1, pid=101, want_bytes=7 * GIB)
    scene.offer(2, want_bytes=12 * GIB)
    running = [0, 1]
    for number in range(3, 12):
        scene.offer(number, "s", want_bytes=7 * GIB)
        scene.exited(f"{'r' if running[0] < 2 else 's'}/{running.pop(0)}.1")
        running += [attempt.trial.number for attempt in starts(scene.sample())]


def test_a_device_is_not_kept_for_a_trial_of_a_paused_run(scenes):
    scene = scenes(runs=(Run(id="r"), Run(id="s")))
    overtake(scene)
    (*_, last) = scene.core.view().runs[1].waiting
    assert "is kept for trial 2 of r" in last.because
    assert [one.trial.run for one in starts(scene.rule(rule(run="r", max_attempts=0)))] == ["s"]


def test_a_larger_priority_is_asked_first(scenes):
    runs = (Run(id="a"), Run(id="b", priority=1), Run(id="c", priority=-1))
    scene = scenes(budget(promise=2 * GIB), runs=runs)
    for run in "cab":
        for number in range(3):
            scene.offer(number, run)
    begun = [attempt.id for attempt in starts(scene.sample())]
    assert begun == ["b/0.1", "b/1.1", "b/2.1", "a/0.1", "a/1.1", "a/2.1", "c/0.1"]


def test_a_priority_can_be_changed_while_trials_wait(scenes):
    scene = scenes(runs=(Run(id="a"), Run(id="b")))
    scene.offer(0, "a", want_bytes=14 * GIB)
    scene.offer(0, "b", want_bytes=14 * GIB)
    scene.prioritise("b", 5)
    scene.prioritise("nobody", 5)
    assert [one.id for one in starts(scene.sample())] == ["b/0.1"]


def test_a_trial_of_a_smaller_priority_is_not_kept_a_device(scenes):
    scene = scenes(runs=(Run(id="r"), Run(id="s", priority=1)))
    overtake(scene)
    for number in range(12, 24):
        scene.offer(number, "s", want_bytes=7 * GIB)
    assert "waits for memory" in scene.core.view().runs[1].waiting[0].because


def test_of_several_rules_which_says_the_most():
    none, two, five = rule(), rule(max_attempts=2, stops=True), rule(max_attempts=5)
    assert in_force.strictest((none, five, two)) == two
    assert in_force.strictest((five,), stops=True) is None
    assert in_force.forbidding((five, two), 1) is None
    assert in_force.forbidding((five, two), 2) == two
    assert in_force.kept_bytes((none,)) == 0
    small, large = rule(reserve_bytes=1, stops=True), rule(reserve_bytes=2)
    assert in_force.kept_bytes((small, large)) == 2
    assert in_force.kept_bytes((small, large), stops=True) == 1
    assert in_force.of_device((rule(run="r"), rule(device="b")), "a") == ()
    assert in_force.of_run((rule(run="r"), rule(device="r")), "r") == (rule(run="r"),)
