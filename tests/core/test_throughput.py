"""How many at once is found by what gets done, on a card where neighbours cost something."""

from __future__ import annotations

from collections.abc import Callable
from statistics import median

import msgspec
import pytest
from contended import Card
from scene import assert_replays

from scheduler.core.core import Core
from scheduler.core.events import Event, Joined, Left, Limited, Offered, Progressed, Vanished
from scheduler.core.memory import Remembered
from scheduler.core.model import Run, Trial
from scheduler.core.throughput import Throughput


def totals(*of: float) -> Callable[[int], float]:
    """Of 1, 2, 3, ... at once; the last holds for more."""
    return lambda count: of[min(count, len(of)) - 1] if count else 0.0


#: Pairs as measured on real cards, for trials that use it wholly; the third is an extrapolation.
THIRD_HARMS = totals(1, 1.44, 1.32, 1.0)
GROWS = totals(1, 2, 3, 4, 5, 6, 7, 8)


def learned(card: Card) -> Throughput:
    (device,) = card.core.remember().devices
    return device.throughput


@pytest.mark.parametrize(("places", "seeds"), [(3, 10), (4, 5)])
def test_within_20_trials_it_does_as_well_as_with_the_best_number(places: int, seeds: int) -> None:
    """At the median. That it is tried again whether that still holds is part of it."""
    reached = []
    for seed in range(seeds):
        card = Card(THIRD_HARMS, places=places, seed=seed)
        card.until(42)
        reached.append(card.mean_total(20, 42) / 1.44)
    assert median(reached) >= 0.95


def test_on_a_plateau_where_no_single_neighbour_harms_fewer_are_found_to_do_more() -> None:
    """Four to seven at once do the same, two do 1.44 times that."""
    reached = []
    for seed in range(3):
        card = Card(THIRD_HARMS, places=7, seed=seed)
        card.until(45)
        assert learned(card).at_most in (2, 3), f"seed {seed}"
        reached.append(card.mean_total(20, 45) / 1.44)
    assert median(reached) >= 0.9


def test_a_search_ends_as_soon_as_it_is_likely_that_neighbours_pay() -> None:
    card = Card(GROWS, places=8, noise=0.02, spread=0.1)
    while learned(card).test is None:
        card.step()
    test = learned(card).test
    assert test is not None
    assert (test.company, test.fewer) == (8, 4)
    while learned(card).test is not None:
        card.step()
    assert card.now_s < test.until_s
    card.until(60)
    assert learned(card).searched[8].times == 1
    assert card.mean_total(20, 60) >= 0.95 * 8


@pytest.mark.parametrize(("places", "seeds"), [(4, 10), (8, 4)])
def test_where_each_neighbour_pays_none_leaves_however_noisy(places: int, seeds: int) -> None:
    for seed in range(seeds):
        card = Card(GROWS, places=places, seed=seed, noise=0.25, bias=0.25, spread=0.6)
        card.until(6 * places)
        assert card.changes == [], f"seed {seed}"
        assert learned(card).at_most is None


def test_where_the_total_stays_the_same_nothing_is_lost_by_looking() -> None:
    card = Card(totals(1, 1.44, 1.44), places=3, noise=0.02)
    card.until(40)
    assert card.mean_total(5, 40) >= 0.99 * 1.44


def test_trials_that_slow_down_by_themselves_are_not_held_against_their_neighbours() -> None:
    card = Card(totals(1, 1.8, 2.5), places=3, drift=1.0)
    card.until(40)
    assert card.changes == []


def test_it_is_told_with_its_numbers_and_tried_again_ever_later() -> None:
    card = Card(totals(1, 1.6, 1.28), places=3)
    while len(card.changes) < 3:
        card.step()
    lowered, again, back = card.changes[:3]
    assert (lowered.what, lowered.before, lowered.after) == ("concurrency", "no limit", "2 at once")
    assert lowered.because.startswith("3 at once do 0.")
    assert "measured" in lowered.evidence
    assert (again.before, again.after) == ("2 at once", "3 at once")
    assert again.because == "tried again after 30 finished trials"
    assert back.after == "2 at once"
    assert learned(card).wait == 60
    (device,) = card.core.view().devices
    assert {gain.at_once: gain.ratio < 1 for gain in device.gains} == {2: False, 3: True}


def test_a_core_that_takes_a_shortened_journal_goes_on_alike() -> None:
    card = Card(totals(1, 1.6, 1.28), places=3, checked=True)
    card.until(8)
    remembered = card.core.remember()
    assert learned(card).courses
    again = Core()
    again.handle(msgspec.json.decode(msgspec.json.encode(remembered), type=Remembered))
    count = len(card.core.events)
    card.until(20)
    for event, said in zip(card.core.events[count:], card.core.said[count:], strict=True):
        assert again.handle(event) == said
    assert_replays(card.core)


def test_a_clock_set_back_changes_no_rate() -> None:
    card = Card(totals(1, 1.6, 1.28), places=3)
    card.until(4)
    before = learned(card)
    card.now_s -= 5000
    card.polled_s -= 5000
    for going in card.going.values():
        going.told_s -= 5000
    card.poll()
    after = learned(card)
    assert [one.stays for one in after.courses.values()] == [
        one.stays for one in before.courses.values()
    ]
    card.until(16)
    assert learned(card).at_most == 2


@pytest.mark.parametrize("run", [Run(id="r", fixed=("concurrency",)), Run(id="r", max_attempts=3)])
def test_a_run_whose_user_has_said_how_many_is_left_alone(run: Run) -> None:
    card = Card(totals(1, 1.0, 0.7), places=3, run=run)
    card.until(25)
    assert card.changes == []
    assert learned(card).limit is None


def test_a_limit_goes_when_its_user_keeps_the_number() -> None:
    card = Card(totals(1, 1.6, 1.28), places=3)
    card.until(16)
    assert learned(card).at_most == 2
    card.say(Limited(at_s=card.now_s, run="r", fixed=("concurrency",)))
    while len(card.going) < 3:
        card.step()
        assert len(card.done_at) == 16, "before another one ends"


def test_what_was_learned_of_a_run_that_is_gone_does_not_hold_for_the_next() -> None:
    card = Card(totals(1, 1.6, 1.28), places=3)
    card.until(16)
    assert learned(card).at_most == 2
    card.say(Left(at_s=card.now_s, run="r"))
    for id in list(card.going):
        del card.going[id]
        card.say(Vanished(at_s=card.now_s, attempt=id))
    card.now_s += 5
    card.poll()
    card.say(Joined(at_s=card.now_s, run=Run(id="q")))
    for number in range(3):
        card.say(Offered(at_s=card.now_s, trial=Trial(run="q", number=number)))
    card.poll()
    assert [one.attempt.trial.run for one in card.going.values()] == ["q", "q", "q"]
    assert card.changes[-1].after == "no limit"
    assert card.changes[-1].because == "what was measured was another run's"


def test_a_test_holds_one_place_and_says_so() -> None:
    card = Card(GROWS, places=3, noise=0.0)
    while learned(card).test is None:
        card.step()
    (device,) = card.core.view().devices
    assert (device.at_most, device.is_tested) == (2, True)
    (waiting, _) = card.core.view().runs[0].waiting
    assert waiting.because is not None
    assert waiting.because.endswith("for a while, to see whether one more pays")
    began_s = card.now_s
    while learned(card).test is not None:
        card.step()
    assert card.now_s - began_s < 600.0
    while len(card.going) < 3:
        card.step()


def test_without_reports_it_goes_by_how_long_trials_take() -> None:
    card = Card(totals(1, 1.44, 1.1), places=3, reports=0, spread=0.1)
    card.until(100)
    assert learned(card).at_most == 2


def test_without_reports_a_neighbour_that_pays_stays() -> None:
    card = Card(GROWS, places=4, reports=0, spread=0.4)
    card.until(120)
    assert card.changes == []
    assert card.mean_total(20, 120) >= 0.92 * 4


def test_what_is_told_of_attempts_that_nobody_knows_has_no_effect() -> None:
    card = Card(GROWS, places=2)
    card.until(1)
    before = learned(card)
    events: list[Event] = [
        Progressed(at_s=card.now_s, attempt="r/99.1", reports=5),
        Progressed(at_s=card.now_s, attempt=next(iter(card.going)), reports=0),
    ]
    for event in events:
        card.say(event)
    assert learned(card) == before
