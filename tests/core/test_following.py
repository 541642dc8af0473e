"""Promises that follow what attempts hold: how they are learned, and what a wrong one costs."""

from __future__ import annotations

import msgspec
import pytest
from scene import (
    CARD,
    DONE,
    GIB,
    MIB,
    OOM,
    STOPPED,
    CheckedCore,
    Scene,
    budget,
    names,
    reading,
    starts,
    trial,
)

from scheduler.core.actions import Note, Settle, Stop
from scheduler.core.events import Event, Limited, Progressed
from scheduler.core.model import Evidence, Process, Run

STEP_S = 10.0
FIRST = 6 * GIB
#: Three GiB after 10 s, for 100 s; the same with 5 GiB at its end.
FLAT = (1 * GIB, *[3 * GIB] * 9)
SPIKE = (1 * GIB, *[3 * GIB] * 7, 5 * GIB, 5 * GIB)
PRUNED = Evidence(outcome="pruned", exit_code=0)
HELD = 3 * GIB


def lived(
    scene: Scene, number: int, sizes: tuple[int, ...] = FLAT, evidence: Evidence = DONE
) -> tuple[object, ...]:
    """A trial that held *sizes* in turn, alone on the card, and has ended."""
    attempt = scene.runs(number, pid=100 + number)
    for size in sizes:
        scene.sample(size, {100 + number: size}, after_s=STEP_S)
    said = scene.exited(attempt.id, evidence)
    scene.sample(0)
    return said


def taught(scene: Scene, sizes: tuple[int, ...] = FLAT, count: int = 8, first: int = 0) -> Scene:
    scene.sample()
    for number in range(first, first + count):
        lived(scene, number, sizes)
    return scene


def promises(scene: Scene) -> dict[str, int]:
    return {
        one.attempt.id: one.promise_bytes
        for device in scene.core.view().devices
        for one in device.attempts
    }


def hold(scene: Scene, *, after_s: float = STEP_S, **held: int) -> tuple[object, ...]:
    """A poll: ``p10=GIB`` for what the process 10 holds."""
    sizes = {int(name[1:]): size for name, size in held.items()}
    return scene.sample(sum(sizes.values()), sizes, after_s=after_s)


def two_flat(scenes, count: int = 8) -> Scene:
    """r/50.1 and r/51.1, of 3 GiB each, have been flat for so long that less is set aside."""
    scene = taught(scenes(), count=count)
    scene.runs(50, pid=10)
    scene.runs(51, pid=11)
    for _ in range(9):
        hold(scene, p10=HELD, p11=HELD)
    assert all(3 * GIB < one < 3.5 * GIB for one in promises(scene).values())
    return scene


def three_of_which_two_are_flat(scenes) -> Scene:
    scene = two_flat(scenes)
    scene.runs(52, pid=12)
    hold(scene, p10=HELD, p11=HELD, p12=GIB)
    return scene


# -- what is set aside -----------------------------------------------------------------------------


def test_the_full_promise_holds_while_it_grows_and_then_another_fits(scenes):
    scene = taught(scenes())
    scene.runs(50, pid=10)
    scene.runs(51, pid=11)
    assert names(scene.offer(52)) == ["Hold"]
    seen = [hold(scene, p10=GIB, p11=GIB, after_s=1.0)]
    assert set(promises(scene).values()) == {FIRST}
    seen += [hold(scene, p10=HELD, p11=HELD) for _ in range(3)]
    said = [action for one in seen for action in one]
    (note,) = [action.change for action in said if isinstance(action, Note)]
    assert (note.what, note.run, note.trial) == ("promise", "r", None)
    assert (note.before, note.after) == (
        "the full promise to the end",
        "what is held, and a margin",
    )
    assert [one.id for one in starts(tuple(said))] == ["r/52.1"]
    assert promises(scene)["r/52.1"] == FIRST
    assert scene.core.view().devices[0].attempts[0].attempt.cap_bytes == FIRST + FIRST // 10


def test_seven_that_finished_are_too_few_and_pruned_ones_tell_nothing(scenes):
    scene = taught(scenes(), count=7)
    for number in (20, 21):
        lived(scene, number, evidence=PRUNED)
    scene.runs(50, pid=10)
    for _ in range(9):
        hold(scene, p10=HELD)
    assert promises(scene) == {"r/50.1": FIRST}


def test_less_is_set_aside_with_some_margin_and_more_of_it_after_few(scenes):
    few, many = two_flat(scenes), two_flat(scenes, count=50)
    after_few, after_many = promises(few)["r/50.1"], promises(many)["r/50.1"]
    assert 1.02 * HELD < after_many < 1.06 * HELD < after_few < 1.11 * HELD


def test_a_spike_at_the_end_is_not_forgotten(scenes):
    scene = taught(scenes(), SPIKE)
    scene.runs(50, pid=10)
    for _ in range(20):  # twice as long as any before
        hold(scene, p10=HELD)
        assert promises(scene)["r/50.1"] > 5 * GIB
    hold(scene, p10=5 * GIB)
    assert promises(scene)["r/50.1"] > 5 * GIB
    assert scene.exited("r/50.1")[0].settlement == "done"


def test_one_that_grows_more_slowly_than_all_before_it_is_let_grow(scenes):
    """It is past the age at which the others were at their peaks."""
    scene = taught(scenes())
    scene.runs(50, pid=10)
    for step in range(12):
        hold(scene, p10=GIB + step * 200 * MIB)
        assert promises(scene) == {"r/50.1": FIRST}


def test_a_first_epoch_that_takes_longer_is_waited_for(scenes):
    """Those before it spiked after their first report, early; this one has not reported yet."""
    scene = scenes()
    scene.sample()
    for number in range(8):
        attempt = scene.runs(number, pid=100 + number)
        for step in range(10):
            size = 5 * GIB if step == 1 else HELD
            scene.sample(size, {100 + number: size}, after_s=STEP_S)
            scene.handle(Progressed(at_s=scene.now_s, attempt=attempt.id, reports=step))
        scene.exited(attempt.id)
        scene.sample()
    scene.runs(50, pid=10)
    for _ in range(8):
        hold(scene, p10=HELD)
    assert promises(scene) == {"r/50.1": FIRST}
    scene.handle(Progressed(at_s=scene.now_s, attempt="r/50.1", reports=3))
    hold(scene, p10=HELD)
    assert promises(scene)["r/50.1"] < 3.5 * GIB


def test_what_would_save_little_is_left_as_it_is(scenes):
    """It would be 218 MiB; 5 % of 6 GiB are 307."""
    scene = taught(scenes(), (GIB, *[5427 * MIB] * 9))
    scene.runs(50, pid=10)
    for _ in range(9):
        hold(scene, p10=5427 * MIB)
    assert promises(scene) == {"r/50.1": FIRST}


@pytest.mark.parametrize("how", ["alone", "overran", "outgrew", "fixed", "unknown"])
def test_whose_promise_does_not_follow(scenes, how):
    fields = {
        "alone": {"alone": True, "want_bytes": FIRST, "attempts": 1},
        "overran": {"overruns": 1, "want_bytes": FIRST, "attempts": 1},
        "outgrew": {"outgrew": True, "want_bytes": FIRST, "attempts": 1},
    }
    scene = taught(scenes())
    if how == "fixed":
        scene.joined(Run(id="r", fixed=("promise",)))
    (attempt,) = starts(scene.offer(50, **fields.get(how, {})))
    scene.started(attempt.id, 10)
    for _ in range(9):
        hold(scene, p10=HELD)
        if how == "unknown":
            scene.sample(HELD, {10: None}, after_s=STEP_S)
    assert promises(scene) == {attempt.id: attempt.promise_bytes}


def test_an_attempt_that_ran_before_we_looked_keeps_its_promise(scenes):
    """It may have been larger than it was ever seen."""
    scene = taught(scenes())
    attempt = scene.runs(50, pid=10)
    other = taught(scenes())
    other.joined(Run(id="r"), other.running(attempt, Process(pid=10, started_ticks=10)))
    for _ in range(9):
        hold(other, p10=HELD)
    assert promises(other) == {"r/50.1": FIRST}


# -- and when it grows again -----------------------------------------------------------------------


def test_one_that_grows_up_to_a_smaller_promise_gets_all_of_it_back(scenes):
    scene = two_flat(scenes)
    hold(scene, p10=3 * GIB + 300 * MIB, p11=HELD, after_s=1.0)
    assert promises(scene)["r/50.1"] == FIRST
    for _ in range(20):
        hold(scene, p10=3 * GIB + 300 * MIB, p11=HELD)
    assert promises(scene)["r/50.1"] == FIRST  # it is unlike the others
    assert promises(scene)["r/51.1"] < 3.5 * GIB


def test_it_gets_back_no_more_than_is_left_and_nobody_goes_for_a_promise(scenes):
    """6 GiB of 14, where another keeps 3.3 and a newcomer was promised 6: 1.3 are not there."""
    scene = three_of_which_two_are_flat(scenes)
    for step in range(8):
        assert hold(scene, p10=6 * GIB, p11=HELD, p12=GIB + (step + 1) * 200 * MIB) == ()
    told = promises(scene)
    assert 4.3 * GIB < told["r/50.1"] < 5 * GIB
    assert sum(told.values()) <= 14 * GIB


def test_with_a_promise_that_its_user_keeps_from_now_on_it_is_made_full_again(scenes):
    scene = two_flat(scenes)
    scene.handle(Limited(at_s=scene.now_s, run="r", fixed=("promise",)))
    hold(scene, p10=HELD, p11=HELD)
    assert set(promises(scene).values()) == {FIRST}


# -- where it was wrong ----------------------------------------------------------------------------


def test_no_promise_was_broken_so_who_loses_least_goes_and_comes_back_first(scenes):
    scene = three_of_which_two_are_flat(scenes)
    scene.saved("r/51.1")
    said = tuple(
        action
        for _ in range(2)
        for action in hold(scene, p10=6 * GIB, p11=HELD, p12=5 * GIB + 900 * MIB)
    )
    back, stop, stopped = said
    assert isinstance(stop, Stop)
    assert stop.attempt.id == "r/51.1"
    assert "one grew after its promise had been made smaller" in stop.because
    assert (back.change.what, back.change.run, back.change.before, back.change.after) == (
        "promise",
        "r",
        "what is held, and a margin",
        "the full promise to the end, until 8 more have finished",
    )
    assert "trial 50 of 6.0 GiB" in back.change.evidence
    assert stopped.change.what == "stopped"
    scene.offer(60)
    (settle,) = scene.exited("r/51.1", STOPPED)
    assert settle.again == trial(51, want_bytes=FIRST, attempts=1)
    scene.again(settle.again)
    assert [one.trial.number for one in scene.core.view().runs[0].waiting] == [51, 60]
    assert scene.core.view().devices[0].at_most is None


def test_who_runs_out_of_memory_beside_a_smaller_promise_is_not_punished_nor_is_the_card(scenes):
    scene = three_of_which_two_are_flat(scenes)
    hold(scene, p10=5 * GIB, p11=HELD, p12=4 * GIB)
    back, settle = scene.exited("r/52.1", OOM)
    assert isinstance(settle, Settle)
    assert settle.again == trial(52, want_bytes=FIRST, attempts=1)
    assert (back.change.what, back.change.run) == ("promise", "r")
    assert "beside promises that had been made smaller" in back.change.because
    assert scene.core.view().devices[0].at_most is None
    hold(scene, p10=5 * GIB, p11=HELD, after_s=1.0)
    assert promises(scene) == {"r/50.1": FIRST, "r/51.1": FIRST}


def test_two_that_run_out_within_a_second_are_one_wrong_guess(scenes):
    scene = three_of_which_two_are_flat(scenes)
    assert names(scene.exited("r/52.1", OOM)) == ["Note", "Settle"]
    assert names(scene.exited("r/51.1", OOM)) == ["Settle"]
    (learned,) = [run.followed for run in scene.core.remember().runs]
    assert (learned.pause, learned.next_pause) == (8, 16)


def test_the_trial_that_needed_more_again_is_not_followed_a_second_time(scenes):
    """It asked for 2 GiB in one piece, so it was never seen to hold them."""
    scene = three_of_which_two_are_flat(scenes)
    (_, settle) = scene.exited("r/50.1", OOM)
    assert settle.again == trial(50, want_bytes=FIRST, attempts=1, outgrew=True)


def test_one_that_runs_out_where_all_would_fit_in_full_is_contention_as_ever(scenes):
    scene = two_flat(scenes)
    said = scene.exited("r/50.1", OOM)
    assert scene.core.view().devices[0].at_most == 1
    assert [action.change.what for action in said if isinstance(action, Note)] == ["concurrency"]


def test_after_a_wrong_guess_as_many_have_to_finish_anew_and_then_twice_as_many(scenes):
    scene, paused = taught(scenes()), []
    for number in (100, 200):
        scene.runs(50 + number, pid=10)
        scene.runs(51 + number, pid=11)
        for _ in range(9):
            hold(scene, p10=HELD, p11=HELD)
        scene.runs(52 + number, pid=12)
        (back, _) = scene.exited(f"r/{52 + number}.1", OOM)
        paused.append(back.change.after.partition(", ")[2])
        scene.exited(f"r/{50 + number}.1", PRUNED)
        scene.exited(f"r/{51 + number}.1", PRUNED)
        scene.sample()
        for count in range(8 if number == 100 else 15):
            assert follows(scene, 1000 + number + count) is False
            lived(scene, 3000 + number + count)
    assert paused == ["until 8 more have finished", "until 16 more have finished"]
    lived(scene, 5000)
    assert follows(scene, 5001)


def follows(scene: Scene, number: int) -> bool:
    scene.runs(number, pid=10)
    for _ in range(9):
        hold(scene, p10=HELD)
    found = promises(scene)[f"r/{number}.1"] < FIRST
    scene.exited(f"r/{number}.1", PRUNED)
    scene.sample()
    return found


def test_what_proved_us_wrong_is_learned_from_though_it_never_finished(scenes):
    scene = three_of_which_two_are_flat(scenes)
    hold(scene, p10=5 * GIB, p11=HELD, p12=HELD)
    scene.exited("r/50.1", OOM)
    (learned,) = [run.followed for run in scene.core.remember().runs]
    assert learned.grown[-1].levels[-1].bytes == 5 * GIB
    assert learned.grown[-1].took_s >= max(one.took_s for one in learned.grown)


# -- kept over everything --------------------------------------------------------------------------


def test_all_of_it_is_remembered(scenes):
    scene = three_of_which_two_are_flat(scenes)
    line = msgspec.json.encode(scene.core.remember())
    other = CheckedCore()
    other.handle(msgspec.json.decode(line, type=Event))
    for held in ((HELD, HELD, 2 * GIB), (5 * GIB, HELD, 2 * GIB), (5 * GIB, HELD, 2 * GIB)):
        now = dict(zip((10, 11, 12), held, strict=True))
        actions = scene.sample(sum(held), now, after_s=STEP_S)
        assert other.handle(scene.core.events[-1]) == actions
    assert other.remember() == scene.core.remember()


def test_a_clock_set_back_changes_no_age(scenes):
    scene, other = two_flat(scenes), two_flat(scenes)
    scene.now_s -= 7200.0
    for one in (scene, other):
        one.runs(52, pid=12)
        for _ in range(3):
            hold(one, p10=HELD, p11=HELD, p12=HELD)
    assert promises(scene) == promises(other)


def test_while_the_machine_slept_nobody_grew_older(scenes):
    scene = taught(scenes())
    scene.runs(50, pid=10)
    hold(scene, p10=HELD)
    hold(scene, p10=HELD, after_s=9 * 3600.0)
    assert promises(scene) == {"r/50.1": FIRST}
    scene.exited("r/50.1")
    scene.sample()
    (learned,) = [run.followed for run in scene.core.remember().runs]
    assert len(learned.grown) == 8  # its ages are not sure


def test_a_device_that_cannot_tell_processes_apart_gets_full_promises_back(scenes):
    scene = two_flat(scenes)
    scene.sample(6 * GIB, None, after_s=STEP_S)
    assert set(promises(scene).values()) == {FIRST}


def test_two_runs_learn_each_for_itself(scenes):
    scene = taught(scenes(budget(CARD), runs=(Run(id="r"), Run(id="s"))))
    (attempt,) = starts(scene.offer(0, "s"))
    scene.started(attempt.id, 10)
    for _ in range(9):
        scene.poll(reading(HELD, {10: HELD}), after_s=STEP_S)
    assert promises(scene) == {"s/0.1": FIRST}
