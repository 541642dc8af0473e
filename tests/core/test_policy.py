from __future__ import annotations

import msgspec
from scene import CARD, GIB, budget, reading, trial

from scheduler.core.ledger import Claim, balance
from scheduler.core.model import Budget, Rule, Run
from scheduler.core.places import Place, Queue, Room, Waiting
from scheduler.core.policy import OVERTAKEN, could_run, is_too_big, next_start, place


def room(
    here: Budget | None = None, used: int | None = 0, promises: tuple[int, ...] = (), **more: object
) -> Room:
    here = here or budget()
    said = reading(used, key=here.device.key, total=here.device.total_bytes)
    fields = {
        "problem": said.problem,
        "attempts": len(promises),
        "empty": not promises,
        "alone": False,
        "at_most": None,
        "rests": False,
        **more,
    }
    claims = [Claim(promise, 0) for promise in promises]
    return Room(budget=here, account=balance(said, claims, baseline_bytes=None), **fields)


def queue(*trials, run: Run = Run(id="r"), active: int = 0, most: int | None = 14 * GIB) -> Queue:  # noqa: B008 - frozen
    waiting = [Waiting(trial=one, since_s=0.0) for one in trials]
    return Queue(run=run, active=active, most_bytes=most, waiting=waiting)


def answer(one, *rooms: Room, **more: object):
    return place(one, queue(one, **more), rooms)


def why(one, *rooms: Room, **more: object) -> str:
    return answer(one, *rooms, **more).why


def test_the_promise_is_the_trials_own_want_else_its_runs_else_the_devices():
    run = Run(id="r", promise_bytes=3 * GIB)
    assert answer(trial(), room()).promise_bytes == 6 * GIB
    assert answer(trial(), room(), run=run).promise_bytes == 3 * GIB
    assert answer(trial(want_bytes=GIB), room(), run=run).promise_bytes == GIB


def test_the_device_with_the_most_headroom_is_taken():
    rooms = room(budget("a"), 4 * GIB), room(budget("b"), 1 * GIB), room(budget("c"), 2 * GIB)
    assert answer(trial(), *rooms).room.key == "b"
    assert answer(trial(), *rooms, run=Run(id="r", device="a")).room.key == "a"


def test_a_promise_fits_to_the_last_byte_and_no_further():
    assert isinstance(answer(trial(), room(used=8 * GIB)), Place)
    assert why(trial(), room(used=8 * GIB + 1)) == "memory"


def test_a_runs_own_reserve_is_the_one_that_counts_for_it():
    run = Run(id="r", reserve_bytes=1 * GIB)
    assert isinstance(answer(trial(), room(used=9 * GIB), run=run), Place)


def test_unknown_admits_nothing():
    assert why(trial(), room(used=None)) == "silent"
    assert why(trial(alone=True), room(used=None)) == "silent"
    assert next_start(queue(trial()), [room(used=None)]) is None


def test_why_a_device_refuses():
    assert why(trial(), room(promises=(GIB,), at_most=1)) == "limit"
    limited = room(budget(max_attempts=1), promises=(GIB,))
    assert why(trial(), limited) == "limit"
    assert isinstance(answer(trial(), limited, run=Run(id="r", max_attempts=2), active=1), Place)
    assert (
        why(trial(), room(promises=(GIB,), at_most=1), run=Run(id="r", max_attempts=2)) == "limit"
    )
    assert why(trial(), room(rests=True)) == "resting"
    assert why(trial(), room(alone=True, promises=(GIB,))) == "alone"
    assert why(trial(), room(drained_for=("r", 9))) == "drained"
    assert why(trial(want_bytes=15 * GIB), room()) == "too_big"
    assert why(trial(alone=True), room(promises=(GIB,))) == "neighbours"
    assert why(trial(), room(), run=Run(id="r", max_attempts=2), active=2) == "own_limit"
    assert why(trial(), room(), run=Run(id="r", device="b")) == "no_device"
    assert why(trial()) == "no_device"


def test_the_most_hopeful_of_several_refusals_is_told():
    full, silent = room(budget("a"), 12 * GIB), room(budget("b"), None)
    assert why(trial(), silent, full) == "memory"
    small = room(budget("c", total=4 * GIB))
    assert why(trial(), small, silent) == "silent"
    assert why(trial(), small) == "too_big"


def test_a_trial_that_must_be_alone_gets_all_that_is_left_of_an_empty_device():
    given = answer(trial(alone=True, want_bytes=6 * GIB), room(used=1 * GIB))
    assert (given.promise_bytes, given.alone) == (13 * GIB, True)


def test_alone_waits_until_there_is_no_less_than_it_failed_with():
    failed = trial(alone=True, want_bytes=6 * GIB)
    assert why(failed, room(used=9 * GIB)) == "memory"
    assert isinstance(answer(failed, room(used=8 * GIB)), Place)


def test_alone_takes_nearly_all_there_ever_is_where_it_failed_with_more():
    failed = trial(alone=True, want_bytes=13 * GIB)
    assert isinstance(answer(failed, room(used=4 * GIB), most=10 * GIB), Place)
    assert why(failed, room(used=6 * GIB), most=10 * GIB) == "memory"


def test_a_want_that_nobody_can_promise_goes_alone_if_it_was_learned():
    learned = trial(want_bytes=14 * GIB, attempts=1)
    assert answer(learned, room(used=1 * GIB), most=13 * GIB).alone
    assert why(trial(want_bytes=14 * GIB), room(used=1 * GIB), most=13 * GIB) == "memory"


def test_a_learned_want_of_about_all_there_lately_was_does_not_wait_for_the_rest():
    learned = trial(want_bytes=int(12.5 * GIB), attempts=1)
    assert answer(learned, room(used=2 * GIB), most=13 * GIB).alone
    assert why(learned, room(used=2 * GIB), most=14 * GIB) == "memory"


def test_a_trial_that_fits_starts_though_the_one_before_it_does_not():
    waiting = queue(trial(0, want_bytes=9 * GIB), trial(1, want_bytes=2 * GIB))
    found = next_start(waiting, [room(used=10 * GIB)])
    assert (found.trial.number, found.passed) == (1, 1)


def test_of_those_that_want_the_same_the_first_starts():
    assert next_start(queue(trial(0), trial(1)), [room()]).trial.number == 0


def number_of(waiting: Queue, *rooms: Room) -> int | None:
    found = next_start(waiting, rooms)
    return None if found is None else found.trial.number


def test_the_largest_that_fits_starts_and_the_smaller_take_what_is_left():
    waiting = queue(*(trial(n, want_bytes=n * GIB) for n in (3, 9, 5, 11)))
    assert number_of(waiting, room()) == 11
    assert number_of(waiting, room(used=4 * GIB)) == 9
    assert number_of(waiting, room(used=6 * GIB)) == 5
    assert number_of(waiting, room(used=12 * GIB)) is None


def test_one_that_comes_back_goes_before_a_larger_new_one():
    waiting = queue(trial(0, want_bytes=2 * GIB, attempts=1), trial(1, want_bytes=9 * GIB))
    assert number_of(waiting, room()) == 0


def test_one_that_was_overtaken_too_often_goes_before_a_larger_one():
    waiting = queue(*(trial(n, want_bytes=n * GIB) for n in (3, 9)))
    small, large = waiting.waiting
    small = msgspec.structs.replace(small, overtaken=OVERTAKEN)
    assert number_of(msgspec.structs.replace(waiting, waiting=[small, large]), room()) == 3


def test_an_empty_device_is_worth_more_than_a_tight_fit():
    tight, empty = room(budget("a"), promises=(8 * GIB,)), room(budget("b"), 2 * GIB)
    assert answer(trial(), tight, empty).room.key == "b"


def test_of_devices_with_as_many_neighbours_the_tightest_is_taken():
    sizes = {"a": 2, "b": 7, "c": 9}
    rooms = [room(budget(key), promises=(size * GIB,)) for key, size in sizes.items()]
    assert answer(trial(), *rooms).room.key == "b"
    crowded = room(budget("d"), promises=(4 * GIB, 4 * GIB))
    assert answer(trial(), rooms[0], crowded).room.key == "a"


def test_of_empty_devices_the_smallest_that_is_large_enough_is_taken():
    rooms = room(budget("a", total=24 * GIB)), room(budget("b"))
    assert answer(trial(), *rooms).room.key == "b"
    assert answer(trial(want_bytes=15 * GIB), *rooms).room.key == "a"


def test_only_a_new_trials_forecast_is_too_big():
    most = 14 * GIB
    assert is_too_big(trial(want_bytes=most + 1), most)
    assert not is_too_big(trial(want_bytes=most), most)
    assert not is_too_big(trial(want_bytes=most + 1), None)
    assert not is_too_big(trial(), 1)
    assert not is_too_big(trial(want_bytes=most + 1, attempts=1), most)
    assert not is_too_big(trial(want_bytes=most + 1, alone=True), most)


def test_a_drained_device_takes_the_one_it_is_drained_for_though_others_want_the_same():
    small, big = trial(0, want_bytes=4 * GIB), trial(1, want_bytes=4 * GIB)
    waiting = queue(small, big)
    waiting = msgspec.structs.replace(
        waiting,
        waiting=[waiting.waiting[0], msgspec.structs.replace(waiting.waiting[1], overtaken=8)],
    )
    assert number_of(waiting, room(drained_for=("r", 1))) == 1


def test_could_run_is_about_the_device_without_us():
    full = room(used=2 * GIB, promises=(6 * GIB, 6 * GIB))
    assert could_run(trial(), Run(id="r"), full, 14 * GIB)
    assert not could_run(trial(want_bytes=13 * GIB), Run(id="r"), full, 14 * GIB)
    assert not could_run(trial(), Run(id="r", device="other"), full, 14 * GIB)
    assert not could_run(trial(), Run(id="r"), room(used=None), None)
    assert could_run(trial(alone=True), Run(id="r"), full, 12 * GIB)
    paused = Rule(source="you", max_attempts=0, because="")
    assert not could_run(trial(), Run(id="r"), room(rules=(paused,)), 14 * GIB)
    window = Rule(source="window", reserve_bytes=12 * GIB, because="")
    assert not could_run(trial(), Run(id="r"), room(rules=(window,)), 14 * GIB)
    assert full.key == CARD
