"""``auto``: who goes is lower than all that ended best, for long; nothing else matters to it."""

from __future__ import annotations

import math
from collections.abc import Callable

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scheduler.strategies.auto import STRETCHES, Auto, Prune, Setting, notches, verdict
from scheduler.strategies.curves import Curve, curve

STEPS = 20
UP = Setting(direction="maximize")
DOWN = Setting(direction="minimize")
numbers = st.integers(-1000, 1000).map(float)
values = st.lists(numbers, min_size=STEPS, max_size=STEPS)
FEW = settings(max_examples=40)
studies = st.lists(values, min_size=UP.startup, max_size=12)


def ended(trial: int, reported: list[float]) -> Curve:
    return curve(trial, enumerate(reported), final=reported[-1], state="complete")


def history(study: list[list[float]]) -> list[Curve]:
    return [ended(trial, reported) for trial, reported in enumerate(study)]


def pruned_at(reported: list[float], auto: Auto) -> int | None:
    """Step of the first verdict; None: it goes on to its end."""
    for step in range(len(reported)):
        so_far = curve(99, enumerate(reported[: step + 1]))
        if isinstance(auto.verdict(so_far, step), Prune):
            return step
    return None


def each(study: list[list[float]], change: Callable[[float], float]) -> list[list[float]]:
    return [[change(value) for value in reported] for reported in study]


def rising(to: float, by: int = STEPS) -> list[float]:
    return [to * min(1.0, (step + 1) / by) for step in range(STEPS)]


@FEW
@given(studies)
def test_as_good_as_every_finished_one_at_every_step_is_never_pruned(
    study: list[list[float]],
) -> None:
    best = [max(column) for column in zip(*study, strict=True)]
    for margin in (0.0, -0.25, 1.0):
        setting = msgspec.structs.replace(UP, margin=margin)
        assert pruned_at(best, Auto(history(study), setting)) is None


@FEW
@given(studies, values)
def test_the_mirrored_direction_gives_mirrored_verdicts(
    study: list[list[float]], reported: list[float]
) -> None:
    mirrored = Auto(history(each(study, lambda v: -v)), DOWN)
    assert pruned_at(reported, Auto(history(study), UP)) == pruned_at(
        [-value for value in reported], mirrored
    )


@FEW
@given(studies, values, st.sampled_from([0.25, 2.0, 1024.0]))
def test_the_scale_of_values_does_not_matter(
    study: list[list[float]], reported: list[float], scale: float
) -> None:
    scaled = Auto(history(each(study, lambda v: scale * v + 64)), UP)
    assert pruned_at(reported, Auto(history(study), UP)) == pruned_at(
        [scale * value + 64 for value in reported], scaled
    )


@FEW
@given(studies, values)
def test_a_larger_margin_prunes_no_earlier(study: list[list[float]], reported: list[float]) -> None:
    wide = msgspec.structs.replace(UP, margin=1.0)
    first = pruned_at(reported, Auto(history(study), UP))
    later = pruned_at(reported, Auto(history(study), wide))
    assert later is None or (first is not None and first <= later)


def test_nobody_goes_before_enough_are_known() -> None:
    study = history([rising(10.0 + number) for number in range(UP.startup)])
    assert pruned_at([-5.0] * STEPS, Auto(study[:-1], UP)) is None
    assert pruned_at([-5.0] * STEPS, Auto(study, UP)) == 1


def test_a_dip_is_forgiven_and_a_long_one_is_not() -> None:
    auto = Auto(history([rising(10.0 + number) for number in range(8)]), UP)
    dip = rising(18.0)
    dip[10] = -50.0
    assert pruned_at(dip, auto) is None
    dip[11] = -50.0
    assert pruned_at(dip, auto) == 11


def test_where_the_best_start_slowly_nobody_goes_early() -> None:
    slow = [0.0] * 15 + [20.0] * 5
    quick = [rising(5.0 + number / 10, by=3) for number in range(8)]
    assert pruned_at([0.1] * STEPS, Auto(history(quick), UP)) is not None
    with_one = history([*quick, slow])
    at = pruned_at([0.1] * STEPS, Auto(with_one, UP))
    assert at is not None
    assert at >= 15


def test_a_too_good_first_report_protects_nobody() -> None:
    study = [[99.0, *rising(10.0 + number)[1:]] for number in range(8)]
    hopeless = [99.0] + [-5.0] * (STEPS - 1)
    assert pruned_at(hopeless, Auto(history(study), UP)) == 2


def test_one_that_diverged_goes_and_does_not_count_among_the_best() -> None:
    study = [rising(10.0 + number) for number in range(8)]
    broken = [*rising(18.0)[:5], *[math.nan] * 15]
    auto = Auto([*history(study), ended(8, broken)], UP)
    assert pruned_at(broken, auto) == 6


def test_curves_at_other_steps_and_of_other_lengths_are_compared() -> None:
    sparse = [
        curve(n, [(s, v) for s, v in enumerate(rising(10.0 + n)) if s % 3 == n % 3 or s == 19],
              final=10.0 + n, state="complete")
        for n in range(9)
    ]  # fmt: skip
    auto = Auto([*sparse, ended(9, rising(12.0) + [12.0] * 400)], UP)
    assert pruned_at(rising(19.0), auto) is None
    assert pruned_at([-1.0] * STEPS, auto) is not None


def test_long_curves_are_looked_at_in_stretches_so_one_odd_report_is_nothing() -> None:
    study = [curve(n, ((s, s * (1 + n / 10)) for s in range(5000)), final=5000.0 * (1 + n / 10),
                   state="complete") for n in range(8)]  # fmt: skip
    auto = Auto(study, UP)
    assert len(auto.ends) <= STRETCHES
    low = curve(9, ((s, -1.0 if s % 7 else 9e9) for s in range(3000)))
    assert isinstance(auto.verdict(low, 2999), Prune)
    high = curve(9, ((s, 2.0 * s if s % 7 else -9e9) for s in range(3000)))
    assert not isinstance(auto.verdict(high, 2999), Prune)


def test_the_last_report_prunes_nobody_and_pruned_trials_teach_nothing() -> None:
    study = history([rising(10.0 + number) for number in range(8)])
    auto = Auto(study, UP)
    assert not isinstance(auto.verdict(ended(9, [-5.0] * STEPS), STEPS - 1), Prune)
    gone = [curve(50 + n, [(0, 1e9)], state="pruned") for n in range(3)]
    assert Auto([*study, *gone], UP).thresholds == pytest.approx(auto.thresholds)


def test_it_says_what_was_seen_and_what_was_wanted() -> None:
    study = history(each([rising(10.0 + number) for number in range(8)], lambda v: -v))
    said = verdict(curve(9, enumerate([5.0] * 6)), 5, study, DOWN)
    assert isinstance(said, Prune)
    assert said.level == 5.0
    assert said.threshold < 0
    assert "none of the 4 best was this high for so long" in said.because


def test_half_as_long_is_enough_where_early_order_was_the_order_of_the_ends() -> None:
    longer = msgspec.structs.replace(UP, patience=0.4)
    ordered = [rising(10.0 + number) for number in range(UP.order_startup)]
    assert Auto(history(ordered), longer).patience == 4
    assert Auto(history(ordered[:-1]), longer).patience == 8
    crossed = [[*reported[:15], *([40.0 - reported[-1]] * 5)] for reported in ordered]
    assert Auto(history(crossed), longer).patience == 8
    flat = [[0.0] * 15 + reported[15:] for reported in ordered]
    assert Auto(history(flat), longer).patience == 8


def test_in_its_second_half_a_trial_goes_only_where_it_is_far_below() -> None:
    study = [[10.0 + number] * STEPS for number in range(8)]  # the best four: 14 to 17
    auto = Auto(history(study), UP)
    assert pruned_at([13.5] * STEPS, auto) == 1
    assert pruned_at([15.0] * 8 + [13.5] * 12, auto) == 9
    assert pruned_at([15.0] * 9 + [13.5] * 11, auto) is None
    assert pruned_at([15.0] * 9 + [11.0] * 11, auto) == 10


@FEW
@given(studies, values)
def test_no_milder_notch_prunes_earlier(study: list[list[float]], reported: list[float]) -> None:
    found = [pruned_at(reported, Auto(history(study * 2), one)) for one in notches("maximize")]
    at = [STEPS if step is None else step for step in found]
    assert at == sorted(at)
