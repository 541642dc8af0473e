"""What a run's user keeps as it is: how many at once, and what a trial is promised."""

from __future__ import annotations

import msgspec
import pytest
from scene import CARD, CRASHED, GIB, OOM, OWN_CAP, Scene, assert_replays, budget, starts, trial

from scheduler.core.actions import Note, Settle, Start
from scheduler.core.events import Limited
from scheduler.core.model import Attempt, Run, Trial, Verdict
from scheduler.core.retry import Ending, Sequel, changes, follow

KEEPS_CONCURRENCY = Run(id="r", fixed=("concurrency",))
CAPPED = Verdict(kind="device_oom", because="its own cap", own_cap=True)
CROWDED = Verdict(kind="device_oom", because="out of memory")


def ending(verdict: Verdict, *, of: Trial | None = None, **fields: object) -> Ending:
    attempt = Attempt(
        id="r/0.1",
        trial=of or trial(),
        device=CARD,
        promise_bytes=6 * GIB,
        cap_bytes=6 * GIB,
        started_at_s=0.0,
        alone=bool(fields.pop("alone", False)),
    )
    shown: dict[str, object] = {
        "peak_bytes": 5 * GIB,
        "company": 1,
        "strangers_grew": False,
        "stopped": None,
        "most_bytes": 14 * GIB,
        "keeps_promise": True,
        **fields,
    }
    return Ending(attempt=attempt, verdict=verdict, **shown)


def what_follows(verdict: Verdict, **fields: object) -> Sequel:
    return follow(ending(verdict, **fields))


def test_a_trial_that_needs_more_than_a_fixed_promise_is_told_too_big():
    """Where it may be promised more, the same end makes it come back with half as much again."""
    sequel = what_follows(CAPPED, company=3)
    assert (sequel.rung, sequel.settlement, sequel.again) == ("capacity", "capacity", None)
    assert what_follows(CAPPED, company=3, keeps_promise=False).rung == "overrun"
    (change,) = changes(ending(CAPPED, company=3), sequel, at_s=1.0)
    assert (change.before, change.after) == (
        "6.0 GiB, which is fixed",
        "does not fit, told to the sampler",
    )


def test_one_that_ran_out_alone_for_no_seen_reason_is_too_big_too():
    assert what_follows(CROWDED).rung == "capacity"
    assert what_follows(CROWDED, keeps_promise=False).rung == "alone"


def test_one_that_its_neighbours_pressed_comes_back_to_the_same_promise():
    again = what_follows(CROWDED, company=3, peak_bytes=6 * GIB).again
    assert again is not None
    assert (again.want_bytes, again.contentions, again.alone) == (6 * GIB, 1, False)
    assert changes(ending(CROWDED, company=3), what_follows(CROWDED, company=3), at_s=1.0) == ()
    last = what_follows(CROWDED, of=again, company=3).again
    assert last is not None
    assert last.alone


def test_alone_on_a_smaller_device_it_is_not_tried_with_more():
    of = trial(want_bytes=6 * GIB, alone=True, contentions=2)
    assert what_follows(CROWDED, of=of, alone=True).rung == "capacity"
    assert what_follows(CROWDED, of=of, alone=True, keeps_promise=False).rung == "more_room"


@pytest.mark.parametrize("company", [1, 2, 3])
@pytest.mark.parametrize("verdict", [CAPPED, CROWDED])
def test_the_ladder_of_a_fixed_promise_ends(verdict: Verdict, company: int):
    of, seen = trial(), 0
    while (
        again := what_follows(verdict, of=of, company=company, alone=of.alone).again
    ) is not None:
        of, seen = again, seen + 1
        assert of.want_bytes in (None, 6 * GIB)
        assert seen < 10


def three_on_a_card(
    *runs: Run, of: tuple[str, ...] = ("r", "r", "r")
) -> tuple[Scene, list[Attempt]]:
    scene = Scene(budget(promise=4 * GIB), runs=runs)
    scene.sample(0)
    attempts = [scene.runs(number, 100 + number, run=run) for number, run in enumerate(of)]
    scene.sample(9 * GIB, {100 + number: 3 * GIB for number in range(3)})
    return scene, attempts


def limit_of(scene: Scene) -> int | None:
    (card,) = scene.core.view().devices
    return card.at_most


def test_a_run_that_keeps_its_concurrency_halves_nothing():
    scene, attempts = three_on_a_card(KEEPS_CONCURRENCY)
    said = scene.exited(attempts[2].id, OOM)
    assert limit_of(scene) is None
    assert not [one for one in said if isinstance(one, Note) and one.change.what == "concurrency"]


def test_beside_another_runs_attempts_it_does():
    """Those would pay for it: the neighbours come first."""
    scene, attempts = three_on_a_card(KEEPS_CONCURRENCY, Run(id="q"), of=("q", "r", "r"))
    (settled,) = [a for a in scene.exited(attempts[2].id, OOM) if isinstance(a, Settle)]
    scene.sample(6 * GIB, {100: 3 * GIB, 101: 3 * GIB})
    assert limit_of(scene) == 1
    assert settled.again is not None
    assert starts(scene.again(settled.again)) == []


def test_what_was_learned_does_not_hold_for_it_where_it_is_by_itself():
    scene, attempts = three_on_a_card(Run(id="r"))
    (settled,) = [a for a in scene.exited(attempts[2].id, OOM) if isinstance(a, Settle)]
    scene.sample(6 * GIB, {100: 3 * GIB, 101: 3 * GIB})
    assert limit_of(scene) == 1
    assert settled.again is not None
    assert starts(scene.again(settled.again)) == []
    said = scene.handle(Limited(at_s=scene.now_s, run="r", fixed=("concurrency",)))
    assert [one.trial.number for one in starts(said)] == [2]
    assert_replays(scene.core)


def test_it_never_starts_more_than_there_is_room_for():
    scene, _ = three_on_a_card(KEEPS_CONCURRENCY)
    assert starts(scene.offer(3)) == []


def test_a_limit_of_the_users_that_changes_holds_from_then_on():
    """What runs beyond a lower one finishes, and the priority stays the one that was set."""
    scene = Scene(budget(promise=GIB), runs=(Run(id="r", max_attempts=1, priority=3),))
    scene.sample(0)
    scene.runs(0, 100)
    assert starts(scene.offer(1)) == []
    said = scene.handle(Limited(at_s=scene.now_s, run="r", max_attempts=2))
    assert [one.attempt.trial.number for one in said if isinstance(one, Start)] == [1]
    assert not scene.handle(Limited(at_s=scene.now_s, run="r", max_attempts=1))
    (run,) = scene.core.view().runs
    assert run.run == Run(id="r", max_attempts=1, priority=3)
    assert scene.handle(Limited(at_s=scene.now_s, run="nobody", max_attempts=1)) == ()
    assert_replays(scene.core)


def test_a_run_of_an_older_journal_keeps_nothing():
    old = msgspec.json.decode(b'{"id":"r"}', type=Run)
    assert (old.keeps_promise, old.keeps_concurrency) == (False, False)


def test_a_crash_is_nothing_of_memory():
    """A fixed promise makes it no capacity."""
    scene = Scene(runs=(Run(id="r", fixed=("promise",)),))
    scene.sample(0)
    attempt = scene.runs(0, 100)
    said = scene.exited(attempt.id, CRASHED)
    assert [one.settlement for one in said if isinstance(one, Settle)] == ["again"]
    attempt = scene.runs(1, 101)
    said = scene.exited(attempt.id, OWN_CAP)
    assert [one.settlement for one in said if isinstance(one, Settle)] == ["capacity"]
