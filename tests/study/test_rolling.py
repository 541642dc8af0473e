"""Statistics of a loop's last values: when they are defined, what they are, what is reported."""

from __future__ import annotations

import math
import pickle
from typing import Any

import numpy as np
import optuna
import pytest
from hypothesis import given
from hypothesis import strategies as st

import scheduler

REWARDS = st.lists(st.floats(-1e6, 1e6), min_size=6, max_size=20)


class Told(optuna.pruners.BasePruner):
    """Prunes at *step*, and keeps what it was asked with."""

    def __init__(self, step: int | None = None) -> None:
        self.step = step
        self.asked: list[int | None] = []

    def prune(self, study: optuna.Study, trial: optuna.trial.FrozenTrial) -> bool:
        self.asked.append(trial.last_step)
        return trial.last_step == self.step


def reported(objective: Any, pruner: optuna.pruners.BasePruner | None = None) -> dict[int, float]:
    study = optuna.create_study(pruner=pruner)
    study.optimize(objective, n_trials=1)
    return study.trials[0].intermediate_values


@given(REWARDS)
def test_the_sharpe_ratio_is_numpys_mean_over_numpys_std(rewards: list[float]) -> None:
    ratio = scheduler.RollingSharpe()
    for reward in rewards:
        ratio.add(reward)
    spread = np.std(rewards)
    if spread > 1e-9 * max(map(abs, rewards)):
        assert ratio.value == pytest.approx(np.mean(rewards) / spread, rel=1e-6, abs=1e-9)


def test_it_is_undefined_before_the_minimum_and_while_all_are_equal() -> None:
    """But for rounding, by which 0.1 + 0.2 is more than 0.3: a ratio of 1e16 would be the best for
    ever."""
    ratio = scheduler.RollingSharpe(window=10, minimum=3)
    assert [ratio.add(reward) for reward in (1, 2)] == [None, None]
    assert ratio.add(3) == pytest.approx(2 / np.std([1, 2, 3]))
    assert [ratio.add(reward) for reward in (0.3, 0.1 + 0.2) * 5][-1] is None
    assert ratio.value is None
    assert np.std([0.3, 0.1 + 0.2] * 5) > 0
    zeros = scheduler.RollingSharpe()
    assert [zeros.add(0) for _ in range(30)] == [None] * 30


def test_only_the_last_values_count() -> None:
    rolling = scheduler.Rolling(window=3)
    assert [rolling.add(value) for value in (9, 1, 2, 3, 4)] == [9, 5, 4, 2, 3]
    assert rolling.count == 5


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_a_value_that_is_no_number_is_divergence_while_it_is_in_the_window(bad: float) -> None:
    """Not "undefined": that would hide it from the pruner."""
    ratio = scheduler.RollingSharpe(window=3, minimum=2)
    values = [ratio.add(reward) for reward in (1, bad, 2, 3, 4)]
    assert [value is not None and math.isnan(value) for value in values] == [0, 1, 1, 1, 0]


def test_any_statistic_and_any_number() -> None:
    best = scheduler.Rolling(window=5, minimum=2, statistic=max)
    assert [best.add(value) for value in (np.float32(1), np.array(3), True)] == [None, 3, 3]


@pytest.mark.parametrize(
    ("window", "minimum", "every"), [(0, 0, 1), (5, 6, 1), (5, 0, 1), (5, 1, 0)]
)
def test_what_cannot_be_is_refused(window: int, minimum: int, every: int) -> None:
    with pytest.raises(ValueError, match=f"window={window}"):
        scheduler.Rolling(window, minimum, every=every)


def test_it_travels_with_a_checkpoint() -> None:
    ratio = scheduler.RollingSharpe(window=3, minimum=2)
    ratio.add(1)
    again = pickle.loads(pickle.dumps(ratio))
    assert again.add(3) == 2.0
    assert again.count == 2


def test_a_loop_reports_what_is_defined_at_its_own_steps() -> None:
    """Episode 5 is step 5 in every trial, whenever its ratio was first defined."""

    def objective(trial: optuna.Trial) -> float:
        ratio = scheduler.RollingSharpe(window=4, minimum=2)
        for reward in (1, 1, 1, 2, 3):
            assert not ratio.report(reward)
        assert ratio.value is not None
        return ratio.value

    pruner = Told()
    values = reported(objective, pruner)
    assert list(values) == pruner.asked == [3, 4]
    assert values[4] == pytest.approx(np.mean([1, 1, 2, 3]) / np.std([1, 1, 2, 3]))


def test_a_loop_ends_where_the_pruner_says_so_and_may_report_more_rarely() -> None:
    def objective(trial: optuna.Trial) -> float:
        rolling = scheduler.Rolling(window=5, every=10)
        for episode in range(100):
            if rolling.report(episode):
                raise optuna.TrialPruned
        return 0.0

    assert list(reported(objective, Told(29))) == [9, 19, 29]
