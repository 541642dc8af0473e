from __future__ import annotations

from collections import Counter

import pytest

from scheduler.core.model import Run
from scheduler.simulate.what_if import Setting, play_orders, prospect
from scheduler.simulate.workload import CardSpec, Drawn, Job, ParamRange, Workload

GIB = 1 << 30
RANGES = Drawn(
    count=5,
    peak_bytes=(GIB, GIB),
    duration_s=(100.0, 200.0),
    params={
        "batch": ParamRange(low=16, high=256, log=True, whole=True, bytes_each=1 << 20),
        "rate": ParamRange(low=1e-4, high=1e-1, log=True, seconds_each=10.0),
    },
    curve=((0.0, 0.5), (0.5, 0.5), (0.5, 1.0)),
    steps=10,
    pruned_share=0.5,
    pruned_at=(0.25, 0.25),
)


def test_parameters_drive_memory():
    for job in RANGES.jobs(50, seed=3):
        assert job.peak_bytes == GIB + job.params["batch"] * (1 << 20)
        assert 16 <= job.params["batch"] <= 256
        assert isinstance(job.params["batch"], int)


def test_a_pruned_trial_is_the_first_part_of_the_same_one():
    cut, whole = RANGES.jobs(40, 3), RANGES.jobs(40, 3, pruning=False)
    assert Counter(one.outcome for one in whole) == {"complete": 40}
    pruned = [
        (one, other) for one, other in zip(cut, whole, strict=True) if one.outcome == "pruned"
    ]
    assert 10 < len(pruned) < 30
    for one, other in pruned:
        assert one.duration_s == pytest.approx(other.duration_s / 4)
        assert one.steps == 2
        late_s = 0.9 * one.duration_s
        assert one.script().held_bytes(late_s) == pytest.approx(other.script().held_bytes(late_s))


def test_trials_that_are_given_keep_their_order_only_with_the_first_seed():
    jobs = tuple(Job(peak_bytes=n, duration_s=1.0) for n in range(20))
    given = Workload(cards=(), trials=jobs)
    assert given.jobs(20, 0) == jobs
    assert given.jobs(20, 1) == given.jobs(20, 1) != jobs
    assert sorted(given.jobs(20, 1), key=lambda one: one.peak_bytes) == list(jobs)
    assert len(given.jobs(50, 0)) == 50


def test_without_pruning_a_pruned_trial_takes_as_long_as_a_whole_one():
    jobs = (
        Job(peak_bytes=GIB, duration_s=100.0),
        Job(peak_bytes=2 * GIB, duration_s=10.0, outcome="pruned"),
    )
    whole = Workload(cards=(), trials=jobs).jobs(2, 0, False)
    assert [(one.peak_bytes // GIB, one.duration_s, one.outcome) for one in whole] == [
        (1, 100.0, "complete"),
        (2, 100.0, "complete"),
    ]


def test_a_second_card_halves_it_and_ranges_are_over_orders():
    jobs = tuple(Job(peak_bytes=9 * GIB, duration_s=60.0 + 10 * n) for n in range(12))
    given = Workload(cards=(), trials=jobs)
    card = CardSpec(total_bytes=16 * GIB, promise_bytes=10 * GIB)

    def told(cards: int):
        both = tuple(card.card(number) for number in range(cards))
        setting = Setting(name=str(cards), cards=both, run=Run(id="simulated"), n_trials=12)
        return prospect(setting, list(play_orders(setting, given.jobs, 4)))

    one, two = told(1), told(2)
    assert one.makespan_s == pytest.approx(sum(job.duration_s for job in jobs), rel=0.02)
    assert one.low_s <= one.makespan_s <= one.high_s
    assert two.makespan_s < 0.6 * one.makespan_s
    assert (one.orders, one.unfinished, one.too_big) == (4, 0, 0)


def test_what_no_card_can_take_is_not_waited_for_for_ever():
    """A promise of 6 GiB on a card of 4: the run would wait until its user sees to it."""
    given = Workload(cards=(), trials=(Job(peak_bytes=GIB, duration_s=60.0),) * 3)
    cards = (CardSpec(total_bytes=4 * GIB, promise_bytes=6 * GIB).card(0),)
    setting = Setting(name="", cards=cards, run=Run(id="simulated"), n_trials=3)
    it = prospect(setting, list(play_orders(setting, given.jobs, 1)))
    assert (it.unfinished, it.makespan_s, it.trials_an_hour) == (3, 0, 0)
