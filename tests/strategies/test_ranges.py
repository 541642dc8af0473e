"""Where the best trials lie: ranges on their scale and grid, and what is too little to tell."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scheduler.strategies.ranges import (
    MARGIN,
    WORTH,
    Limits,
    Range,
    Row,
    Seen,
    best_of,
    holds,
    kept_share,
    limits_of,
    narrowed,
    table,
    widened,
)

LR = Range(kind="float", low=1e-5, high=1e-1, log=True)
UNIT = Range(kind="float", low=0.0, high=1.0)
TENTHS = Range(kind="float", low=0.0, high=1.0, step=0.1)
LAYERS = Range(kind="int", low=1, high=9, step=1)
BATCH = Range(kind="int", low=16, high=512, step=16)
OPT = Range(kind="categorical", choices=("adam", "sgd", None))


def trial(value: float | None, ranges: dict[str, Range], **params: object) -> Seen:
    return Seen(value=value, params=params, ranges={name: ranges[name] for name in params})


def only_row(full: Range, values: list[tuple[object, float | None]]) -> Row:
    (row,) = table([trial(value, {"x": full}, x=x) for x, value in values])
    return row


def peak(full: Range, xs: list[float], best: float) -> Row:
    """Trials at *xs*, the better the nearer they are to *best* on the range's scale."""
    place = math.log if full.log else float
    return only_row(full, [(x, -abs(place(x) - place(best))) for x in xs])


def test_the_best_quarters_span_and_a_margin_on_either_side() -> None:
    row = peak(UNIT, [k / 39 for k in range(40)], best=0.5)
    assert row.limits is not None
    low, high = min(row.best), max(row.best)
    assert len(row.best) == 10
    assert row.limits.low == pytest.approx(low - MARGIN)
    assert row.limits.high == pytest.approx(high + MARGIN)
    assert row.kept_share == pytest.approx(high - low + 2 * MARGIN)
    assert (row.trials, row.because) == (40, None)


def test_a_logarithmic_range_is_narrowed_by_its_logarithm() -> None:
    row = peak(LR, [10 ** (-5 + k / 10) for k in range(41)], best=1e-3)
    assert row.limits is not None
    assert math.log10(row.limits.low) == pytest.approx(-3.5 - 4 * MARGIN)
    assert math.log10(row.limits.high) == pytest.approx(-2.5 + 4 * MARGIN)


def test_it_never_leaves_the_full_range() -> None:
    row = peak(UNIT, [k / 39 for k in range(40)], best=0.0)
    assert row.limits is not None
    assert row.limits.low == 0.0


@pytest.mark.parametrize("full", [LAYERS, BATCH, TENTHS])
def test_a_grid_is_kept(full: Range) -> None:
    count = round((full.high - full.low) / full.step)
    xs = [full.low + k * full.step for k in range(count + 1)]
    row = peak(full, xs * 4, best=full.low)
    assert row.limits is not None
    place = (row.limits.high - full.low) / full.step
    assert place == pytest.approx(round(place))
    assert isinstance(row.limits.high, int if full.kind == "int" else float)
    assert row.limits.high < full.high


def test_decimal_steps_stay_decimal() -> None:
    row = peak(TENTHS, [k / 10 for k in range(11)] * 4, best=0.0)
    assert str(row.limits.high) in {"0.3", "0.4"}


def test_categories_that_occur_among_the_best_stay_and_those_tried_too_seldom() -> None:
    full = Range(kind="categorical", choices=("good", "bad", "rare", "never"))
    tried = [("good", 1.0)] * 10 + [("bad", 0.0)] * 10 + [("rare", 0.0)] * 2
    row = only_row(full, list(tried))
    assert row.limits == Limits(choices=("good", "rare", "never"))
    assert row.kept_share == 0.75


def test_too_few_complete_trials_narrow_nothing_and_say_so() -> None:
    row = only_row(UNIT, [(0.5, 1.0)] * 9 + [(0.1, None)] * 30)
    assert row.limits is None
    assert row.because == "9 complete trials; 10 are needed"
    assert row.kept_share == 1.0


def test_where_the_best_lie_all_over_it_nothing_is_narrowed() -> None:
    row = only_row(UNIT, [(x / 10, float(x in (0, 5, 10))) for x in range(11)] * 3)
    assert row.limits is None
    assert row.because == "the best lie all over it"


def test_pruned_and_diverged_trials_count_and_are_never_the_best() -> None:
    seen = [trial(float(k), {"x": UNIT}, x=k / 20) for k in range(10)]
    bad = [trial(v, {"x": UNIT}, x=0.9) for v in (None, math.inf, math.nan)] * 10
    best = best_of([*bad, *seen])
    assert [one.value for one in best] == [9, 8, 7, 6, 5, 4, 3, 2, 1, 0]
    assert all(one.params["x"] < 0.9 for one in best)


def test_a_conditional_parameter_rests_on_the_trials_that_have_it() -> None:
    ranges = {"x": UNIT, "momentum": UNIT}
    without = [trial(100.0 + k, ranges, x=k / 20) for k in range(20)]
    having = [trial(-abs(k / 20 - 0.3), ranges, x=0.5, momentum=k / 20) for k in range(20)]
    rows = {row.name: row for row in table([*without, *having])}
    assert rows["x"].trials == 40
    assert rows["momentum"].trials == 20
    assert rows["momentum"].limits is not None
    assert holds(narrowed(UNIT, rows["momentum"].limits) or UNIT, 0.3)


def test_a_range_that_a_script_moves_counts_from_end_to_end() -> None:
    moved = [Range(kind="float", low=0.0, high=1.0 + k) for k in range(20)]
    rows = table([trial(float(k), {"x": it}, x=0.5) for k, it in enumerate(moved)])
    assert (rows[0].full.low, rows[0].full.high) == (0.0, 20.0)


def test_where_a_parameter_has_become_another_kind_the_last_one_counts() -> None:
    old = [trial(9.0, {"x": OPT}, x="sgd")] * 20
    new = [trial(float(k), {"x": UNIT}, x=k / 19) for k in range(20)]
    (row,) = table([*old, *new])
    assert (row.full, row.trials) == (UNIT, 20)


@pytest.mark.parametrize(
    ("full", "limits", "left"),
    [
        (UNIT, Limits(low=0.5, high=3.0), (0.5, 1.0)),
        (LAYERS, Limits(low=2.5, high=4.5), (3, 4)),
        (BATCH, Limits(low=100, high=200), (112, 192)),
        (TENTHS, Limits(low=0.25, high=0.65), (0.3, 0.6)),
        (UNIT, Limits(high=0.5), (0.0, 0.5)),
        (UNIT, Limits(low=2.0, high=3.0), None),
        (BATCH, Limits(low=17, high=31), None),
        (UNIT, Limits(choices=("adam",)), None),
        (OPT, Limits(low=0, high=1), None),
    ],
)
def test_limits_of_somebodys_own_are_held_against_the_range(full, limits, left) -> None:
    found = narrowed(full, limits)
    assert (None if found is None else (found.low, found.high)) == left


def test_of_categories_those_named_stay_in_the_ranges_order() -> None:
    found = narrowed(OPT, Limits(choices=(None, "adam", "lion")))
    assert found is not None
    assert found.choices == ("adam", None)
    assert narrowed(OPT, Limits(choices=("lion",))) is None


def test_a_pair_of_numbers_is_two_categories_where_the_parameter_has_categories() -> None:
    pair = Limits(low=16, high=64, choices=(16, 64))
    found = narrowed(Range(kind="categorical", choices=(16, 32, 64)), pair)
    assert found is not None
    assert found.choices == (16, 64)
    assert narrowed(BATCH, pair) == Range(kind="int", low=16, high=64, step=16)


def test_widening_doubles_to_one_side_and_ends_with_the_full_range() -> None:
    limits: Limits | None = Limits(low=0.4, high=0.6)
    limits = widened(UNIT, limits, "high")
    assert limits is not None
    assert (limits.low, limits.high) == (0.4, pytest.approx(0.8))
    for _ in range(4):
        limits = limits and widened(UNIT, limits, "low")
        limits = limits and widened(UNIT, limits, "high")
    assert limits is None


@st.composite
def trials(draw: st.DrawFn) -> list[Seen]:
    full = draw(st.sampled_from([LR, UNIT, TENTHS, LAYERS, BATCH, OPT]))
    if full.choices:
        value: st.SearchStrategy[object] = st.sampled_from(full.choices)
    elif full.step is not None:
        count = round((full.high - full.low) / full.step)
        value = st.integers(0, count).map(lambda k: full.low + k * full.step)
    else:
        value = st.floats(full.low, full.high)
    score = st.none() | st.floats(-10, 10)
    pairs = draw(st.lists(st.tuples(value, score), min_size=1, max_size=60))
    return [trial(score, {"x": full}, x=x) for x, score in pairs]


@given(trials())
def test_the_best_are_inside_and_the_rest_is_within_the_full_range(them: list[Seen]) -> None:
    (row,) = table(them)
    limits = limits_of([row]).get("x")
    if limits is None:
        assert row.because
        return
    less = narrowed(row.full, limits)
    assert less is not None
    assert all(holds(less, value) or holds_nearly(less, value) for value in row.best)
    assert 0 < kept_share(row.full, limits) <= WORTH
    if not row.full.choices:
        assert row.full.low <= less.low <= less.high <= row.full.high


def holds_nearly(less: Range, value: float) -> bool:
    """Steps of a tenth are not exact in binary."""
    return less.low - 1e-9 <= value <= less.high + 1e-9
