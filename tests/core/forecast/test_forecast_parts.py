"""The pieces that a forecast is made of, each by itself."""

from __future__ import annotations

import math
import random

import numpy as np
import pytest

from scheduler.core.forecast import process
from scheduler.core.forecast.conformal import FOLLOWED_SHARE, followed, reach
from scheduler.core.forecast.descent import lowest
from scheduler.core.forecast.drift import Watch
from scheduler.core.forecast.features import encoding
from scheduler.core.forecast.observation import key_of
from scheduler.core.forecast.quantile import student, upper


@pytest.mark.parametrize(
    ("freedom", "value"), [(1, 15.895), (2, 4.849), (3, 3.482), (5, 2.757), (20, 2.197)]
)
def test_student_is_that_of_the_tables(freedom, value):
    assert student(0.98, freedom) == pytest.approx(value, rel=0.03)


def test_a_few_peaks_are_exceeded_no_more_often_than_allowed():
    """Drawn anew each time, since of one draw it is a matter of luck."""
    chance, over = random.Random(3), 0
    for _ in range(2_000):
        peaks = [chance.lognormvariate(0, 0.1) * 1e9 for _ in range(13)]
        over += peaks[-1] > upper(peaks[:-1], 0.02)
    assert over / 2_000 < 0.025


def test_margins_keep_what_they_promise():
    chance, over = random.Random(4), 0
    for _ in range(500):
        errors = [chance.gauss(0, 1) for _ in range(61)]
        over += errors[-1] > reach(errors[:-1], 0.05)
    assert over / 500 <= 0.05


def test_a_broken_promise_widens_the_next_and_kept_ones_take_it_back():
    once = followed(0.0, broken=True)
    assert once > 0.2
    after = once
    for _ in range(round(1 / FOLLOWED_SHARE)):
        after = followed(after, broken=False)
    assert after == pytest.approx(0.0, abs=0.01)
    assert followed(0.0, broken=False) == 0.0


def test_three_far_errors_in_a_row_are_a_drift_and_one_is_none():
    watch = Watch().seen(40.0)
    assert watch.trials == 0
    watch = watch.seen(40.0).seen(40.0)
    assert watch.trials == 3
    down = Watch().seen(0.5).seen(-9.0).seen(-9.0).seen(-9.0)
    assert down.trials == 3


def test_errors_of_both_signs_are_none():
    chance, watch = random.Random(1), Watch()
    for _ in range(1_000):
        watch = watch.seen(chance.gauss(0, 1))
        assert watch.trials == 0


def test_a_group_for_each_parameter_that_varies():
    seen = [
        {"batch": 16 * 2**i, "depth": i, "act": "ab"[i % 2], "seed": 3, "name": f"run {i}"}
        for i in range(8)
    ]
    seen[0]["rank"] = 4
    how = encoding(seen, np.arange(8.0))
    assert how.names == ("act", "batch", "depth", "rank")
    assert how.dropped == ("name",)
    batch = next(one for one in how.groups if one.name == "batch")
    assert batch.log
    act, batches, depths, rank = how.rows(seen)
    assert (act.shape, rank.shape) == ((8, 2), (8, 2))
    assert batches[:, 0] == pytest.approx(np.linspace(-1, 1, 8))
    assert depths[:, 0] == pytest.approx(np.linspace(-1, 1, 8))


def test_of_many_parameters_those_stay_that_tell_something():
    chance = random.Random(2)
    seen = [{f"p{i:02}": chance.random() for i in range(30)} for _ in range(60)]
    how = encoding(seen, np.array([one["p17"] + one["p23"] for one in seen]))
    assert len(how.names) == 16
    assert {"p17", "p23"} <= set(how.names)
    assert not how.is_strange(seen[0])


def test_a_search_ends_at_the_lowest_point():
    def valley(at):
        slope = np.array([2 * (at[0] - 3) - 40 * at[0] * (at[1] - at[0] ** 2), 0.0])
        slope[1] = 20 * (at[1] - at[0] ** 2)
        return float((at[0] - 3) ** 2 + 10 * (at[1] - at[0] ** 2) ** 2), slope

    assert lowest(valley, np.array([-1.0, 1.0]), 200) == pytest.approx([3, 9], rel=0.05)


def sample(count: int, seed: int = 0) -> process.Data:
    chance = np.random.default_rng(seed)
    rows = [chance.uniform(-1, 1, (count, 1)), chance.uniform(-1, 1, (count, 2))]
    target = np.sin(2 * rows[0][:, 0]) + chance.normal(0, 0.05, count)
    return process.Data(rows=rows, target=target, noise=np.ones(count))


def test_the_gradient_is_that_of_the_cost():
    data, at = sample(15), np.array([-1.0, 0.3, -0.5, 0.2, -3.0])
    apart = process._across(data.rows, data.rows)
    _, gradient = process._slope(data, apart, at)
    for i in range(len(at)):
        step = np.zeros_like(at)
        step[i] = 1e-5
        high, low = process._slope(data, apart, at + step), process._slope(data, apart, at - step)
        assert gradient[i] == pytest.approx((high[0] - low[0]) / 2e-5, rel=1e-3, abs=1e-4)


def test_left_out_is_what_it_would_be_without_the_trial():
    data = sample(12)
    learned = process.first_guess(2)
    off, variance = process.condition(data, learned).left_out()
    others = np.arange(12) != 5
    without = process.condition(data.of(others), learned)
    mean, spread = without.predict([one[5:6] for one in data.rows])
    # The middle of the columns, which the linear part is counted from, moves a little without it.
    assert data.target[5] - mean[0] == pytest.approx(off[5], abs=0.02)
    assert spread[0] + without.noise == pytest.approx(variance[5], rel=0.1)


def test_what_does_not_matter_is_given_no_weight():
    learned = process.learn(sample(60), process.first_guess(2), 60)
    assert learned[0] > learned[1] + math.log(10)


def test_parameters_are_the_same_in_any_order_but_not_of_another_type():
    assert key_of({"a": 1, "b": "x"}) == key_of({"b": "x", "a": 1})
    assert len({key_of({"a": value}) for value in (1, 1.0, True, "1", None)}) == 5
