from __future__ import annotations

import msgspec
import pytest
from scene import CARD, GIB, trial

from scheduler.core.model import Attempt, Trial, Verdict
from scheduler.core.retry import Ending, changes, follow, number_of

OOM = Verdict(kind="device_oom", because="out of memory")
CAPPED = Verdict(kind="device_oom", because="out of memory", own_cap=True)
STOPPED = Verdict(kind="stopped", because="others need it")


def ending(
    verdict: Verdict = OOM,
    *,
    of: Trial | None = None,
    promise: int = 6 * GIB,
    alone: bool = False,
    attempt_number: int = 1,
    **more: object,
) -> Ending:
    of = of or trial()
    attempt = Attempt(
        id=f"r/0.{attempt_number}",
        trial=of,
        device=CARD,
        promise_bytes=promise,
        cap_bytes=promise,
        started_at_s=0.0,
        alone=alone,
    )
    fields = {
        "peak_bytes": 4 * GIB,
        "company": 1,
        "strangers_grew": False,
        "stopped": None,
        "most_bytes": 14 * GIB,
        **more,
    }
    return Ending(attempt=attempt, verdict=verdict, **fields)


def what_follows(*args, **kwargs):
    sequel = follow(ending(*args, **kwargs))
    return sequel.rung, sequel.settlement, sequel.again


@pytest.mark.parametrize("kind", ["finished", "user_error"])
def test_what_the_attempt_did_itself_is_done(kind):
    assert what_follows(Verdict(kind=kind, because="")) == ("done", "done", None)


def test_a_wrong_set_up_halts_the_run_and_counts_nothing():
    unset = Verdict(kind="configuration", because="No HIP GPUs are available")
    of = trial(want_bytes=5 * GIB, unexplained=1, faults=1, attempts=1)
    rung, settlement, again = what_follows(unset, of=of, attempt_number=2)
    assert (rung, settlement) == ("halted", "again")
    assert again == msgspec.structs.replace(of, attempts=2)


def test_in_a_set_up_that_has_served_another_trial_it_is_the_users_own_error():
    unset = Verdict(kind="configuration", because="No HIP GPUs are available")
    assert what_follows(unset, follows_catch=True) == ("done", "done", None)


def test_a_gpu_fault_of_its_own_is_tried_once_more():
    """It takes its neighbours along each time, so one bad trial makes at most two."""
    fault = Verdict(kind="gpu_fault", because="Memory access fault")
    rung, settlement, again = what_follows(fault, was_killed=True)
    assert (rung, settlement) == ("faulted", "again")
    assert again == trial(want_bytes=6 * GIB, faults=1, attempts=1)
    assert what_follows(fault, of=again, attempt_number=2) == ("failed", "failed", None)


def test_one_that_was_taken_along_comes_back_whatever_its_tries():
    fault = Verdict(kind="gpu_fault", because="taken along")
    of = trial(want_bytes=6 * GIB, unexplained=2, faults=1, attempts=3)
    rung, settlement, again = what_follows(fault, of=of, taken_along=True, attempt_number=4)
    assert (rung, settlement) == ("taken_along", "again")
    assert again == msgspec.structs.replace(of, attempts=4)


def test_one_that_made_way_comes_back_with_room_for_what_it_held():
    rung, settlement, again = what_follows(STOPPED, stopped="strangers")
    assert (rung, settlement) == ("stopped", "again")
    assert again == trial(want_bytes=6 * GIB, attempts=1)
    *_, again = what_follows(STOPPED, stopped="strangers", peak_bytes=7 * GIB)
    assert again.want_bytes == 7 * GIB


def test_one_that_made_way_alone_comes_back_alone_with_the_same_want():
    of = trial(alone=True, want_bytes=5 * GIB, attempts=2)
    *_, again = what_follows(
        STOPPED, of=of, promise=13 * GIB, alone=True, stopped="strangers", attempt_number=3
    )
    assert again == trial(alone=True, want_bytes=5 * GIB, attempts=3)


@pytest.mark.parametrize(("was_killed", "tries"), [(False, 2), (True, 5)])
def test_an_end_that_nobody_can_explain_is_tried_some_times_more(was_killed, tries):
    """A crash may be the trial's own; SIGKILL is always somebody else's."""
    verdict = Verdict(kind="unknown_kill", because="signal")
    outcomes = [
        what_follows(verdict, of=trial(unexplained=n), was_killed=was_killed)[:2]
        for n in range(tries + 1)
    ]
    assert outcomes == [("unexplained", "again")] * tries + [("failed", "failed")]


def test_an_overrun_comes_back_with_a_quarter_more_than_it_reached_then_with_half_as_much():
    rung, _, again = what_follows(CAPPED, company=3)
    assert (rung, again) == ("overrun", trial(want_bytes=int(7.5 * GIB), overruns=1, attempts=1))
    *_, again = what_follows(OOM, peak_bytes=8 * GIB, company=3)
    assert again == trial(want_bytes=10 * GIB, overruns=1, attempts=1)
    *_, again = what_follows(CAPPED, of=again, company=3)
    assert (again.want_bytes, again.alone) == (9 * GIB, False)


def test_what_a_cap_above_the_promise_let_it_reach_counts():
    capped = ending(CAPPED, company=3)
    attempt = msgspec.structs.replace(capped.attempt, cap_bytes=int(6.4 * GIB))
    again = follow(msgspec.structs.replace(capped, attempt=attempt)).again
    assert again.want_bytes == int(1.25 * int(6.4 * GIB))


def test_one_that_was_stopped_for_its_broken_promise_is_an_overrun():
    rung, _, again = what_follows(STOPPED, stopped="overrun", peak_bytes=8 * GIB)
    assert (rung, again.want_bytes) == ("overrun", 10 * GIB)


def test_an_overrun_that_nobody_can_promise_more_goes_alone():
    rung, _, again = what_follows(CAPPED, promise=12 * GIB)
    assert (rung, again.alone, again.want_bytes) == ("overrun", True, 12 * GIB)


def test_an_overrun_that_wants_about_all_there_lately_was_goes_alone():
    """Else it would wait for the last hundred MiB that somebody has taken meanwhile."""
    *_, again = what_follows(CAPPED, most_bytes=8 * GIB)
    assert (again.alone, again.want_bytes) == (True, 6 * GIB)
    *_, again = what_follows(CAPPED, most_bytes=9 * GIB)
    assert (again.alone, again.want_bytes) == (False, int(7.5 * GIB))


def test_the_third_overrun_goes_alone():
    *_, again = what_follows(CAPPED, of=trial(overruns=2))
    assert again == trial(want_bytes=6 * GIB, overruns=3, alone=True, attempts=1)


def test_contention_comes_back_with_the_same_or_room_for_its_peak():
    rung, _, again = what_follows(OOM, company=2)
    assert (rung, again) == ("contention", trial(want_bytes=6 * GIB, contentions=1, attempts=1))
    *_, again = what_follows(OOM, company=2, peak_bytes=6 * GIB)
    assert again.want_bytes == int(7.5 * GIB)


def test_strangers_that_grew_are_company_too():
    assert what_follows(OOM, strangers_grew=True)[0] == "contention"
    assert what_follows(STOPPED, stopped="unclear")[0] == "contention"


def test_the_second_contention_goes_alone():
    *_, again = what_follows(OOM, of=trial(contentions=1), company=2)
    assert again == trial(want_bytes=6 * GIB, contentions=2, alone=True, attempts=1)


def test_without_a_cap_and_without_company_the_next_is_alone():
    rung, _, again = what_follows(OOM)
    assert (rung, again) == ("alone", trial(want_bytes=6 * GIB, alone=True, attempts=1))


def test_alone_with_nearly_all_there_is_is_capacity():
    of = trial(alone=True)
    assert what_follows(OOM, of=of, alone=True, promise=13 * GIB) == ("capacity", "capacity", None)
    assert what_follows(
        STOPPED, of=of, alone=True, promise=13 * GIB, peak_bytes=14 * GIB, stopped="overrun"
    ) == ("capacity", "capacity", None)


def test_alone_with_much_less_than_there_is_tries_again_with_more():
    of = trial(alone=True, want_bytes=6 * GIB)
    rung, _, again = what_follows(OOM, of=of, alone=True, promise=8 * GIB)
    assert (rung, again.want_bytes, again.alone) == ("more_room", 10 * GIB, True)


def test_alone_and_squeezed_by_strangers_is_tried_five_times():
    def rung(contentions: int, **more: object) -> str:
        of = trial(alone=True, contentions=contentions)
        return what_follows(OOM, of=of, alone=True, promise=13 * GIB, strangers_grew=True, **more)[
            0
        ]

    assert [rung(n) for n in (0, 4, 5)] == ["squeezed", "squeezed", "capacity"]
    assert rung(0, peak_bytes=14 * GIB) == "capacity"


def test_every_ladder_ends():
    """Whatever the memory verdict, a trial of its own ends after a bounded number of attempts."""
    for company in (1, 2):
        for verdict in (OOM, CAPPED):
            of, tries, promise, alone = trial(), 0, 6 * GIB, False
            while True:
                tries += 1
                sequel = follow(
                    ending(verdict, of=of, company=company, promise=promise, alone=alone)
                )
                if sequel.again is None:
                    break
                of, alone = sequel.again, sequel.again.alone
                promise = 14 * GIB if alone else of.want_bytes
                assert tries < 10
            assert sequel.settlement == "capacity"


def test_what_is_written_down():
    def written(*args, **kwargs):
        end = ending(*args, **kwargs)
        return [(c.what, c.before, c.after) for c in changes(end, follow(end), at_s=1.0)]

    assert written(CAPPED) == [("promise", "6.0 GiB", "7.5 GiB")]
    assert written(OOM) == [("alone", "6.0 GiB, with neighbours", "all that is left, alone")]
    assert written(OOM, of=trial(alone=True), alone=True, promise=13 * GIB) == [
        ("capacity", "13.0 GiB, alone", "does not fit, told to the sampler")
    ]
    assert written(OOM, company=2) == []
    assert written(OOM, company=2, peak_bytes=6 * GIB) == [("promise", "6.0 GiB", "7.5 GiB")]
    assert written(STOPPED, stopped="strangers") == []
    fault = Verdict(kind="gpu_fault", because="Memory access fault")
    assert written(fault) == [("fault", "running", "is tried once more")]
    assert written(fault, of=trial(faults=1)) == [("fault", "running", "failed")]
    assert written(fault, taken_along=True) == [
        ("fault", "running", "comes back, not counted against it")
    ]


def test_attempts_are_counted_on_from_the_id():
    *_, again = what_follows(OOM, attempt_number=7)
    assert again.attempts == 7
    assert (number_of("a.b/3.12"), number_of("a"), number_of("")) == (12, 0, 0)


def test_follow_leaves_the_trial_as_it_was():
    end = ending(OOM)
    before = msgspec.json.encode(end)
    follow(end)
    assert msgspec.json.encode(end) == before
