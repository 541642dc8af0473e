"""Events in, the whole list of actions out."""

from __future__ import annotations

import msgspec
import pytest
from scene import (
    CARD,
    DONE,
    FAULTED,
    GIB,
    KILLED,
    MIB,
    OOM,
    OWN_CAP,
    RAISED,
    STOPPED,
    budget,
    names,
    reading,
    starts,
    trial,
)

from scheduler.core.actions import Hold, Settle, Start, Stop
from scheduler.core.events import Left, Running, Withdrawn
from scheduler.core.model import Attempt, Process, Rule, Run, Verdict

FULL = 14 * GIB
LATELY_S = 30.0  #: so long strangers count at the most that they held


def settlement(actions):
    (told,) = [action for action in actions if isinstance(action, Settle)]
    return told


def test_a_trial_starts_with_a_promise_and_a_cap_a_tenth_above_it(scene):
    scene.sample(used=1 * GIB)
    assert scene.offer(0) == (
        Start(
            attempt=Attempt(
                id="r/0.1",
                trial=trial(0),
                device=CARD,
                promise_bytes=6 * GIB,
                cap_bytes=6 * GIB + 6 * GIB // 10,
                started_at_s=scene.now_s,
            ),
            because=f"{CARD} has 13.0 GiB left of 16.0 GiB, it needs 6.0 GiB",
        ),
    )


@pytest.mark.parametrize(
    ("reserve", "kept", "spare"),
    [(GIB, None, GIB // 2), (0, None, 0), (2 * GIB, GIB, GIB // 2), (2 * GIB, 0, 0)],
)
def test_a_cap_takes_no_more_than_half_of_the_reserve(scenes, reserve, kept, spare):
    scene = scenes(budget(reserve=reserve), runs=(Run(id="r", reserve_bytes=kept),))
    scene.sample()
    (attempt,) = starts(scene.offer(0))
    assert attempt.cap_bytes == attempt.promise_bytes + spare


def test_what_a_rule_keeps_free_is_not_lent_to_caps(scenes):
    scene = scenes(budget(reserve=GIB))
    scene.rule(Rule(source="window", reserve_bytes=9 * GIB, because="mon-fri"))
    scene.sample()
    (attempt,) = starts(scene.offer(0))
    assert attempt.cap_bytes == 6 * GIB + GIB // 2


def test_a_little_more_than_promised_is_had_where_there_is_room_and_not_at_anothers_cost(scenes):
    scene = scenes(budget(promise=7 * GIB))
    scene.sample()
    scene.runs(0, pid=10)
    scene.runs(1, pid=11)
    more = 7 * GIB + 600 * MIB
    for _ in range(40):
        assert scene.sample(more + 6 * GIB, {10: more, 11: 6 * GIB}) == ()
    said = [a for _ in range(3) for a in scene.sample(more + 7 * GIB, {10: more, 11: 7 * GIB})]
    assert [one.attempt.id for one in said if isinstance(one, Stop)] == ["r/0.1"]


def test_without_containment_there_is_no_cap(scenes):
    scene = scenes(runs=(Run(id="r", contain=False),))
    scene.sample()
    assert starts(scene.offer(0))[0].cap_bytes is None


def test_nothing_starts_before_the_first_reading(scene):
    assert scene.offer(0) == (
        Hold(
            run="r",
            trial=0,
            because=f"{CARD} does not say how much memory is used (it has not been read yet)",
        ),
    )
    assert names(scene.sample()) == ["Start"]


def test_a_promise_counts_before_any_memory_is_held(scene):
    scene.sample()
    assert names(scene.offer(0)) == ["Start"]
    assert names(scene.offer(1)) == ["Start"]
    assert scene.offer(2) == (
        Hold(
            run="r",
            trial=2,
            because=f"waits for memory: wants 6.0 GiB, {CARD} has 2.0 GiB left of 16.0 GiB"
            " (reserve 2.0 GiB, strangers 0 MiB, promised 12.0 GiB)",
        ),
    )
    assert scene.sample(used=0) == ()


def test_a_hold_is_told_anew_only_when_the_kind_of_reason_changes(scene):
    scene.sample(used=12 * GIB)
    assert names(scene.offer(0)) == ["Hold"]
    assert scene.sample(used=13 * GIB) == ()
    (hold,) = scene.sample(used=None)
    assert hold.because.endswith("(mem_info_vram_used is empty)")
    assert scene.sample(used=None) == ()
    assert names(scene.sample(used=13 * GIB)) == ["Hold"]
    assert names(scene.sample(used=0, after_s=LATELY_S)) == ["Start"]


def test_only_the_first_of_a_run_is_told_why(scene):
    scene.sample(used=12 * GIB)
    assert [hold.trial for hold in scene.offer(0)] == [0]
    assert scene.offer(1) == ()


def test_a_device_that_falls_silent_holds_new_starts_and_lets_running_attempts_be(scene):
    scene.sample()
    scene.runs(0, pid=10)
    assert scene.sample(used=None) == ()
    assert names(scene.offer(1)) == ["Hold"]
    assert names(scene.sample(used=GIB, held={10: GIB})) == ["Start"]


def test_a_poll_that_leaves_a_device_out_says_as_little_of_it(scene):
    scene.sample()
    scene.poll()
    assert names(scene.offer(0)) == ["Hold"]


def test_a_finished_attempt_is_settled_and_its_promise_kept_until_the_device_shows_it(scene):
    scene.sample()
    attempt = scene.runs(0, pid=10, want_bytes=14 * GIB)
    scene.sample(used=9 * GIB, held={10: 9 * GIB})
    assert names(scene.offer(1)) == ["Hold"]
    assert scene.exited("r/0.1") == (
        Settle(
            attempt=attempt,
            verdict=Verdict(kind="finished", because="it wrote its outcome: complete"),
            settlement="done",
            peak_bytes=9 * GIB,
            was_growing=True,
        ),
    )
    assert scene.sample(used=GIB, held={}, after_s=0) == ()  # it was read before the end
    assert scene.sample(used=9 * GIB, held={10: 3 * GIB}) == ()
    assert names(scene.sample(used=GIB, held={})) == ["Start"]


def test_memory_that_is_not_given_back_counts_as_the_strangers_after_ten_seconds(scene):
    scene.sample()
    scene.runs(0, pid=10, want_bytes=8 * GIB)
    scene.sample(used=8 * GIB, held={10: 8 * GIB})
    scene.offer(1, want_bytes=5 * GIB)
    scene.offer(2, want_bytes=7 * GIB)
    scene.exited("r/0.1")
    for _ in range(9):
        assert starts(scene.sample(used=8 * GIB, held={10: 8 * GIB})) == []
    assert scene.core.view().devices[0].strangers_bytes == 0
    scene.sample(used=8 * GIB, held={})
    view = scene.core.view().devices[0]
    assert (view.strangers_bytes, view.promised_bytes) == (8 * GIB, 5 * GIB)


def test_where_processes_cannot_be_told_apart_the_drop_of_what_is_used_is_waited_for(scene):
    scene.sample(used=GIB, held=None)
    scene.runs(0, pid=10)
    scene.runs(1, pid=11)
    assert names(scene.offer(2)) == ["Hold"]
    scene.sample(used=12 * GIB, held=None)
    scene.exited("r/0.1")
    assert starts(scene.sample(used=11 * GIB, held=None)) == []
    assert names(scene.sample(used=7 * GIB, held=None)) == ["Start"]


def test_errors_of_the_users_are_done_and_not_tried_again(scene):
    scene.sample()
    scene.runs(0, pid=10)
    told = settlement(scene.exited("r/0.1", RAISED))
    assert (told.settlement, told.verdict.kind) == ("done", "user_error")


def test_an_overrun_comes_back_with_a_larger_promise_and_the_same_company(scene):
    scene.sample()
    attempt = scene.runs(0, pid=10)
    scene.runs(1, pid=11)
    scene.sample(used=8 * GIB, held={10: 6 * GIB, 11: 2 * GIB})
    actions = scene.exited("r/0.1", OWN_CAP)
    assert names(actions) == ["Note", "Settle"]
    note, told = actions
    want = int(1.25 * attempt.cap_bytes)
    assert told.again == trial(0, want_bytes=want, overruns=1, attempts=1)
    assert (note.change.what, note.change.before, note.change.after) == (
        "promise",
        "6.0 GiB",
        "8.2 GiB",
    )
    assert scene.core.view().devices[0].at_most is None
    scene.sample(used=2 * GIB, held={11: 2 * GIB})
    scene.again(told.again)
    scene.exited("r/1.1")
    (attempt,) = starts(scene.sample(used=0))
    assert (attempt.id, attempt.promise_bytes) == ("r/0.2", want)


def four_running(scenes):
    scene = scenes(budget(promise=FULL // 4))
    scene.sample()
    for number in range(4):
        scene.runs(number, pid=10 + number)
    scene.sample(used=16 * GIB - 1, held={10 + n: FULL // 4 for n in range(4)})
    return scene


def test_contention_halves_the_device_once_for_each_incident(scenes):
    scene = four_running(scenes)
    first, second = scene.exited("r/0.1", OOM), scene.exited("r/1.1", OOM)
    assert names(first) == ["Note", "Note", "Settle"]
    assert [note.change.what for note in first[:2]] == ["promise", "concurrency"]
    assert (first[1].change.before, first[1].change.after) == ("no limit", "2 at once")
    assert names(second) == ["Note", "Settle"]
    again = settlement(first).again
    assert (again.contentions, again.alone) == (1, False)
    scene.sample(used=0, held={})
    (hold,) = scene.again(again)
    assert hold.because == f"waits for a place on {CARD}: 2 run, at most 2 at once"


def test_concurrency_comes_back_by_one_after_clean_finishes(scenes):
    scene = four_running(scenes)
    scene.exited("r/0.1", OOM)
    assert names(scene.exited("r/1.1", DONE)) == ["Settle"]
    (note, _) = scene.exited("r/2.1", DONE)
    assert (note.change.before, note.change.after) == ("2 at once", "3 at once")
    assert scene.core.view().devices[0].at_most == 3


def alone(scene):
    """A trial that has failed without company runs alone; what it was given."""
    scene.sample(used=1 * GIB)
    scene.runs(0, pid=10)
    scene.sample(used=5 * GIB, held={10: 4 * GIB})
    told = settlement(scene.exited("r/0.1", OOM))
    scene.again(told.again)
    (attempt,) = starts(scene.sample(used=1 * GIB))
    scene.started(attempt.id, 20)
    return attempt


def test_an_oom_without_company_is_tried_alone_with_all_that_is_left(scene):
    attempt = alone(scene)
    assert (attempt.promise_bytes, attempt.cap_bytes) == (13 * GIB, 13 * GIB)
    assert attempt.alone
    (hold,) = scene.offer(1, want_bytes=GIB)
    assert hold.because == f"{CARD} is given whole to a trial that ran out of memory in company"


def test_alone_and_out_of_memory_is_capacity(scene):
    attempt = alone(scene)
    scene.sample(used=13 * GIB, held={20: 12 * GIB})
    note, told = scene.exited(attempt.id, OOM)
    assert (told.settlement, told.again) == ("capacity", None)
    assert note.change.what == "capacity"


def test_a_trials_own_last_attempt_is_no_company_of_the_next(scene):
    """Within seconds alone and out of memory again: it does not fit, and nobody pressed it."""
    attempt = alone(scene)
    scene.sample(used=1 * GIB, held={20: 0})
    _, told = scene.exited(attempt.id, OOM)
    assert told.settlement == "capacity"


def test_alone_waits_for_the_device_to_be_empty_and_nobody_joins_it(scene):
    scene.sample()
    scene.runs(0, pid=10, want_bytes=GIB)
    (hold,) = scene.offer(1, alone=True, attempts=1)
    assert hold.because == f"waits for {CARD} to be empty: it needs all of it"
    scene.exited("r/0.1")
    (attempt,) = starts(scene.sample())
    assert (attempt.trial.number, attempt.promise_bytes) == (1, 14 * GIB)


def test_the_only_attempt_that_stays_in_its_promise_is_let_be(scene):
    alone(scene)
    for _ in range(40):
        assert scene.sample(used=14 * GIB + 5, held={20: 13 * GIB + 5}) == ()


def test_alone_and_far_over_what_it_was_given_is_stopped_and_does_not_fit(scene):
    attempt = alone(scene)
    over = {20: 14 * GIB}
    assert scene.sample(used=15 * GIB, held=over) == ()
    assert names(scene.sample(used=15 * GIB, held=over)) == ["Stop", "Note"]
    assert settlement(scene.exited(attempt.id, STOPPED)).settlement == "capacity"


def test_strangers_that_come_stop_one_attempt_at_a_time_the_youngest_first(scene):
    scene.sample()
    scene.runs(0, pid=10)
    scene.now_s += 1
    scene.runs(1, pid=11)
    held = {10: 6 * GIB, 11: 6 * GIB}
    assert scene.sample(used=15 * GIB, held=held) == ()
    stop, note = scene.sample(used=16 * GIB, held=held)
    assert stop.attempt.id == "r/1.1"
    assert note.change.what == "stopped"
    assert "strangers hold 4.0 GiB" in stop.because
    for _ in range(40):
        assert scene.sample(used=16 * GIB, held=held) == ()  # it takes its time
    told = settlement(scene.exited("r/1.1", STOPPED))
    assert told.again == trial(1, want_bytes=6 * GIB, attempts=1)
    scene.offer(2)
    scene.again(trial(3, attempts=1))
    scene.again(told.again)
    waiting = scene.core.view().runs[0].waiting
    assert [one.trial.number for one in waiting] == [1, 3, 2]


def test_after_making_way_a_device_rests_before_anything_starts_there(scene):
    scene.sample()
    scene.runs(0, pid=10)
    scene.sample(used=15 * GIB, held={10: 6 * GIB})
    assert names(scene.sample(used=15 * GIB, held={10: 6 * GIB})) == ["Stop", "Note"]
    stopped_at_s = scene.now_s
    scene.exited("r/0.1", STOPPED)
    scene.sample(used=0)
    (hold,) = scene.again(trial(0, want_bytes=6 * GIB, attempts=1))
    assert "short of memory just now" in hold.because
    while not starts(scene.sample(used=0)):
        assert scene.now_s - stopped_at_s < 30
    assert scene.now_s - stopped_at_s == 30


def test_a_rest_is_over_without_a_reading(scene):
    scene.sample()
    scene.runs(0, pid=10)
    scene.exited("r/0.1", FAULTED)
    scene.sample(used=0, after_s=59.0)
    assert names(scene.offer(1)) == ["Hold"]
    scene.now_s += 1.0
    assert names(scene.offer(2)) == ["Start", "Start"]


def test_while_processes_wait_for_memory_nothing_starts(scene):
    """The free memory of a machine that thrashes is only page cache that is in use."""
    scene.sample(used=0, waiting_share=0.35)
    (hold,) = scene.offer(0)
    assert "waited for memory for 35% of the last 10 s" in hold.because
    assert scene.sample(used=0, waiting_share=0.2) == ()
    assert scene.sample(used=0, waiting_share=0.19) == ()
    assert [starts(scene.sample(used=0, waiting_share=0.1)) != [] for _ in range(2)] == [
        False,
        True,
    ]


def test_an_end_is_judged_by_ten_seconds_however_many_readings_they_held(scene):
    """Four readings a second: the moment when the card was full is 16 readings ago."""
    scene.sample()
    scene.runs(0, pid=10)
    scene.sample(used=16 * GIB - (100 << 20), held={10: 5 * GIB})
    for _ in range(16):
        scene.sample(used=5 * GIB, held={10: 5 * GIB}, after_s=0.25)
    launch = msgspec.structs.replace(
        OOM, exception=("RuntimeError",), message="CUDA error: unspecified launch failure"
    )
    settle = next(one for one in scene.exited("r/0.1", launch) if isinstance(one, Settle))
    assert settle.verdict.kind == "device_oom"


def test_what_is_kept_free_is_what_the_runs_there_were_admitted_with(scenes):
    scene = scenes(runs=(Run(id="r", reserve_bytes=GIB),))
    scene.sample()
    scene.runs(0, pid=10)
    scene.runs(1, pid=11)
    for _ in range(5):
        assert scene.sample(used=15 * GIB, held={10: 6 * GIB, 11: 6 * GIB}) == ()
    assert names(scene.sample(used=15 * GIB + 1, held={10: 6 * GIB, 11: 6 * GIB})) == []
    assert names(scene.sample(used=15 * GIB + 1, held={10: 6 * GIB, 11: 6 * GIB}))[0] == "Stop"


def test_strangers_that_stay_for_good_are_believed_in_time(scene):
    """A trial that must be alone waits for them to leave, but not for ever."""
    scene.sample(used=0)
    failed = trial(0, want_bytes=13 * GIB, alone=True, attempts=1)
    scene.sample(used=6 * GIB)
    assert names(scene.again(failed)) == ["Hold"]
    assert scene.sample(used=6 * GIB, after_s=1800) == ()
    hours = 0
    while not (begun := starts(scene.sample(used=6 * GIB, after_s=3600))):
        hours += 1
        assert hours < 12
    assert begun[0].promise_bytes == 8 * GIB


def test_the_one_that_broke_its_promise_goes_and_comes_back_with_a_larger_one(scenes):
    scene = scenes(runs=(Run(id="r", contain=False),))
    scene.sample()
    scene.runs(0, pid=10)
    scene.runs(1, pid=11)
    for _ in range(2):
        actions = scene.sample(used=15 * GIB, held={10: 9 * GIB, 11: 6 * GIB})
    stop, _ = actions
    assert stop.attempt.id == "r/0.1"
    told = settlement(scene.exited("r/0.1", STOPPED))
    assert told.again == trial(0, want_bytes=int(11.25 * GIB), overruns=1, attempts=1)


def test_a_checkpoint_that_was_just_written_makes_an_old_attempt_the_one_to_go(scene):
    scene.sample()
    scene.runs(0, pid=10)
    scene.sample()
    scene.runs(1, pid=11)
    assert scene.saved("r/0.1") == scene.saved("r/9.9") == ()
    scene.saved("r/0.1", ago_s=50)  # told late
    scene.saved("r/1.1", ago_s=-100)  # by a clock that is wrong
    views = {one.attempt.id: one for one in scene.core.view().devices[0].attempts}
    assert {views["r/0.1"].saved_at_s, views["r/1.1"].saved_at_s} == {scene.now_s}
    scene.sample()
    scene.saved("r/0.1")
    scene.sample(used=15 * GIB, held={10: 6 * GIB, 11: 6 * GIB})
    stop, _ = scene.sample(used=15 * GIB, held={10: 6 * GIB, 11: 6 * GIB})
    assert stop.attempt.id == "r/0.1"
    assert stop.because.endswith("strangers hold 3.0 GiB, of ours it loses least")


def test_a_finish_that_crosses_our_stop_is_a_finish(scene):
    scene.sample()
    scene.runs(0, pid=10)
    scene.sample(used=15 * GIB, held={10: 6 * GIB})
    scene.sample(used=15 * GIB, held={10: 6 * GIB})
    assert settlement(scene.exited("r/0.1", DONE)).settlement == "done"


def test_a_kill_waits_for_the_kernels_count_of_its_own(scenes):
    scene = scenes(budget("host", kind="host"))
    scene.sample(key="host", oom_kills=3)
    scene.runs(0, pid=10)
    assert scene.exited("r/0.1", KILLED) == ()
    assert scene.sample(key="host", oom_kills=3, after_s=0) == ()
    told = settlement(scene.sample(key="host", oom_kills=4))
    assert told.verdict.kind == "host_oom"
    scene.runs(1, pid=11)
    assert scene.exited("r/1.1", KILLED) == ()
    told = settlement(scene.sample(key="host", oom_kills=4))
    assert (told.verdict.kind, told.again.unexplained) == ("unknown_kill", 1)


def test_trials_that_come_back_go_before_new_ones(scene):
    scene.sample(used=12 * GIB)
    for number in range(3):
        scene.offer(number)
    scene.again(trial(7, attempts=1))
    scene.again(trial(8, attempts=1))
    waiting = scene.core.view().runs[0].waiting
    assert [one.trial.number for one in waiting] == [7, 8, 0, 1, 2]


def test_runs_take_turns(scenes):
    scene = scenes(budget(promise=2 * GIB), runs=(Run(id="a"), Run(id="b")))
    for number in range(4):
        scene.offer(number, "a")
    for number in range(4):
        scene.offer(number, "b")
    ids = [attempt.id for attempt in starts(scene.sample())]
    assert ids == ["a/0.1", "b/0.1", "a/1.1", "b/1.1", "a/2.1", "b/2.1", "a/3.1"]


def test_a_runs_own_limit_holds_it_and_no_other(scenes):
    scene = scenes(budget(promise=GIB), runs=(Run(id="a", max_attempts=1), Run(id="b")))
    scene.sample()
    for number in range(2):
        scene.offer(number, "a")
        scene.offer(number, "b")
    active = {run.run.id: run.active for run in scene.core.view().runs}
    assert active == {"a": 1, "b": 2}


def test_a_big_trial_is_overtaken_eight_times_and_then_the_device_is_drained_for_it(scene):
    scene.sample()
    scene.runs(0, pid=100, want_bytes=7 * GIB)
    scene.runs(1, pid=101, want_bytes=7 * GIB)
    scene.offer(2, want_bytes=12 * GIB)
    running, overtakers = [0, 1], 0
    for number in range(3, 40):
        scene.offer(number, want_bytes=7 * GIB)
    while True:
        scene.exited(f"r/{running.pop(0)}.1")
        begun = [attempt.trial.number for attempt in starts(scene.sample())]
        if 2 in begun:
            break
        running += begun
        overtakers += len(begun)
    assert overtakers == 8


def test_a_drained_device_does_not_keep_others_from_the_second(scenes):
    scene = scenes(budget("a"), budget("b"))
    scene.poll(reading(key="a"), reading(key="b"))
    for number in range(4):
        scene.runs(number, pid=100 + number, want_bytes=7 * GIB)
    scene.offer(9, want_bytes=12 * GIB)
    running = [0, 1, 2, 3]
    for number in range(10, 60):
        scene.offer(number, want_bytes=7 * GIB)
    begun = []
    while 9 not in begun:
        scene.exited(f"r/{running.pop(0)}.1")
        begun = [
            attempt.trial.number
            for attempt in starts(scene.poll(reading(key="a"), reading(key="b")))
        ]
        running += begun
    drained = [device for device in scene.core.view().devices if len(device.attempts) == 1]
    assert len(drained) == 1
    assert 9 in running


# -- what hosts say late, twice, or about what nobody knows ----------------------------------------


def test_unknown_attempts_runs_and_trials_are_no_harm(scene):
    scene.sample()
    assert scene.started("r/9.9", 5) == ()
    assert scene.exited("r/9.9") == ()
    assert scene.vanished("r/9.9") == ()
    assert scene.offer(0, run="nobody") == ()
    assert scene.handle(Withdrawn(at_s=scene.now_s, run="nobody", trial=0)) == ()
    assert scene.handle(Withdrawn(at_s=scene.now_s, run="r", trial=0)) == ()
    assert scene.handle(Left(at_s=scene.now_s, run="nobody")) == ()
    assert scene.poll(reading(key="another")) == ()


def test_a_trial_told_twice_is_one_trial(scene):
    scene.sample(used=12 * GIB)
    scene.offer(0)
    assert scene.offer(0) == ()
    assert names(scene.sample(after_s=LATELY_S)) == ["Start"]
    assert scene.offer(0) == ()


def test_an_exit_told_twice_is_answered_twice_with_the_same(scene):
    scene.sample()
    scene.runs(0, pid=10)
    first = scene.exited("r/0.1", OWN_CAP)
    (second,) = scene.exited("r/0.1", OWN_CAP)
    assert second == settlement(first)
    scene.sample()
    (third,) = scene.exited("r/0.1", OWN_CAP)  # its memory is back, and it is still remembered
    assert third == second
    assert len(scene.core.view().changes) == 1


def test_a_withdrawn_trial_does_not_start(scene):
    scene.sample(used=12 * GIB)
    scene.offer(0)
    assert scene.handle(Withdrawn(at_s=scene.now_s, run="r", trial=0)) == ()
    assert scene.sample() == ()


def test_a_withdrawal_that_crosses_the_start_takes_the_promise_back(scene):
    scene.sample()
    assert names(scene.offer(0, want_bytes=14 * GIB)) == ["Start"]
    scene.handle(Withdrawn(at_s=scene.now_s, run="r", trial=0))
    assert names(scene.offer(1, want_bytes=14 * GIB)) == ["Hold"]
    assert names(scene.sample()) == ["Start"]


def test_a_run_that_leaves_takes_its_queue_and_leaves_its_attempts(scene):
    scene.sample()
    scene.runs(0, pid=10)
    scene.offer(1, want_bytes=14 * GIB)
    assert scene.handle(Left(at_s=scene.now_s, run="r")) == ()
    view = scene.core.view()
    assert (view.runs[0].waiting, view.runs[0].connected) == ((), False)
    assert len(view.devices[0].attempts) == 1
    assert scene.offer(2) == ()
    assert scene.vanished("r/0.1") == ()
    scene.sample()
    assert scene.core.view().devices[0].attempts == ()


# -- lives of the supervisor and of hosts ----------------------------------------------------------


def test_a_host_that_joins_a_new_supervisor_brings_its_attempts_before_anything_starts(scene):
    attempt = Attempt(
        id="r/0.3",
        trial=trial(0, want_bytes=9 * GIB, attempts=2),
        device=CARD,
        promise_bytes=9 * GIB,
        cap_bytes=None,
        started_at_s=5.0,
    )
    scene.sample(used=GIB)
    running = Running(attempt=attempt, process=Process(pid=10, started_ticks=1))
    assert scene.joined(None, running) == ()
    assert names(scene.offer(1)) == ["Hold"]
    told = settlement(scene.exited("r/0.3", KILLED))
    assert told.again.attempts == 3
    scene.again(told.again)
    (start,) = starts(scene.sample())  # before trial 1, though that was offered first
    assert start.id == "r/0.4"


def test_a_host_that_joins_again_keeps_what_it_names_and_gives_up_what_it_does_not(scene):
    scene.sample()
    kept = scene.runs(0, pid=10)
    scene.runs(1, pid=11)
    scene.offer(2)
    scene.joined(None, Running(attempt=kept, process=Process(pid=10, started_ticks=10)))
    view = scene.core.view()
    states = {one.attempt.id: one.state for one in view.devices[0].attempts}
    assert states == {"r/0.1": "running", "r/1.1": "releasing"}
    assert view.runs[0].waiting == ()


def test_an_end_told_after_joining_again_is_settled(scene):
    scene.sample()
    scene.runs(0, pid=10)
    scene.joined()
    assert settlement(scene.exited("r/0.1", DONE)).settlement == "done"


def test_an_attempt_named_though_its_end_was_settled_stays_settled(scene):
    scene.sample()
    attempt = scene.runs(0, pid=10)
    first = settlement(scene.exited("r/0.1", OWN_CAP))
    scene.joined(None, Running(attempt=attempt, process=None))
    assert scene.exited("r/0.1", OWN_CAP) == (first,)


def test_an_attempt_that_was_thought_gone_is_taken_up_when_its_host_names_it(scene):
    scene.sample()
    attempt = scene.runs(0, pid=10)
    scene.vanished("r/0.1")
    scene.sample()
    assert scene.core.view().devices[0].attempts == ()
    scene.joined(None, Running(attempt=attempt, process=Process(pid=10, started_ticks=10)))
    assert scene.core.view().devices[0].promised_bytes == 6 * GIB


def test_a_stop_that_may_not_have_arrived_is_told_again_on_joining(scene):
    scene.sample()
    attempt = scene.runs(0, pid=10)
    scene.sample(used=15 * GIB, held={10: 6 * GIB})
    stop, _ = scene.sample(used=15 * GIB, held={10: 6 * GIB})
    running = Running(attempt=attempt, process=Process(pid=10, started_ticks=10))
    assert scene.joined(None, running) == (stop,)


def test_a_new_life_believes_no_old_reading_and_keeps_what_was_promised(scene):
    scene.sample()
    scene.runs(0, pid=10, want_bytes=10 * GIB)
    scene.offer(1)
    assert scene.found() == ()
    view = scene.core.view()
    assert (view.devices[0].headroom_bytes, view.devices[0].promised_bytes) == (None, 10 * GIB)
    assert (view.runs[0].connected, view.runs[0].waiting) == (False, ())
    assert scene.sample(used=0) == ()


def test_a_device_that_is_gone_keeps_its_attempts_and_takes_no_more(scenes):
    scene = scenes(budget("a"), budget("b"))
    scene.poll(reading(key="a"), reading(key="b", used=5 * GIB))
    attempt = scene.runs(0, pid=10)
    assert attempt.device == "a"
    scene.found(budget("b"))
    scene.joined(None, Running(attempt=attempt, process=Process(pid=10, started_ticks=10)))
    view = {device.budget.device.key: device for device in scene.core.view().devices}
    assert (view["a"].found, len(view["a"].attempts)) == (False, 1)
    scene.poll(reading(key="b"))
    assert [one.device for one in starts(scene.offer(1))] == ["b"]
    assert settlement(scene.exited("r/0.1")).settlement == "done"
    scene.poll(reading(key="b"), after_s=11)
    assert {one.attempt.device for d in scene.core.view().devices for one in d.attempts} == {"b"}


def test_an_attempt_on_a_device_nobody_knows_can_end(scene):
    attempt = Attempt(
        id="r/0.1",
        trial=trial(0),
        device="0000:99:00.0",
        promise_bytes=GIB,
        cap_bytes=None,
        started_at_s=5.0,
    )
    scene.joined(None, Running(attempt=attempt, process=Process(pid=10, started_ticks=1)))
    assert settlement(scene.exited("r/0.1")).settlement == "done"


def test_ids_are_never_used_twice(scene):
    scene.sample()
    first = scene.runs(0, pid=10)
    scene.exited(first.id, RAISED)
    scene.sample()
    scene.found()
    scene.joined()
    scene.sample()
    second = scene.runs(0, pid=11)
    scene.exited(second.id, RAISED)
    scene.sample()
    third = scene.runs(0, pid=12, attempts=7)
    assert [one.id for one in (first, second, third)] == ["r/0.1", "r/0.2", "r/0.8"]
    foreign = msgspec.structs.replace(third, id="r/0.11")
    scene.joined(None, Running(attempt=foreign, process=None))
    scene.exited(foreign.id, RAISED)
    scene.sample()
    assert scene.runs(0, pid=13).id == "r/0.12"


def test_the_attempts_trial_is_the_one_that_was_offered(scene):
    """Its host finds the trial's record by it."""
    scene.sample(used=1 * GIB)
    offered = trial(0, want_bytes=15 * GIB, attempts=3, overruns=1)
    (attempt,) = starts(scene.again(offered))
    assert attempt.alone
    assert attempt.trial == offered


def test_the_view_is_what_status_shows(scene):
    scene.sample(used=2 * GIB)
    scene.runs(0, pid=10)
    scene.offer(1, want_bytes=12 * GIB)
    scene.sample(used=5 * GIB, held={10: 3 * GIB})
    view = msgspec.json.decode(msgspec.json.encode(scene.core.view()), type=type(scene.core.view()))
    (device,) = view.devices
    assert (device.total_bytes, device.used_bytes) == (16 * GIB, 5 * GIB)
    assert (device.strangers_bytes, device.promised_bytes) == (2 * GIB, 6 * GIB)
    assert device.headroom_bytes == 6 * GIB
    (attempt,) = device.attempts
    assert (attempt.state, attempt.held_bytes, attempt.peak_bytes) == (
        "running",
        3 * GIB,
        3 * GIB,
    )
    (run,) = view.runs
    assert "waits for memory: wants 12.0 GiB" in run.waiting[0].because


@pytest.mark.parametrize(("still_s", "growing"), [(0, True), (60, False)])
def test_who_ends_it_hears_whether_it_was_still_growing(scene, still_s, growing):
    """A pruned trial that has stood still for long was at its peak, as far as can be known."""
    scene.sample()
    scene.runs(0, pid=10)
    for held in range(1, 5):
        scene.sample(used=held * GIB, held={10: held * GIB}, after_s=5.0)
    for _ in range(still_s // 5):
        scene.sample(used=4 * GIB, held={10: 4 * GIB}, after_s=5.0)
    (settle,) = [one for one in scene.exited("r/0.1") if isinstance(one, Settle)]
    assert settle.peak_bytes == 4 * GIB
    assert settle.was_growing == growing
