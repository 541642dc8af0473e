"""The audit: which trials are controls, which of them mattered, what pruning saved."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scheduler.strategies.audit import audit, is_control
from scheduler.strategies.curves import Curve, curve


def trial(number: int, state: str, final: float | None = None, reports: int = 10) -> Curve:
    return curve(
        number,
        [(step, 0.0) for step in range(reports)],
        final=final,
        state=state,  # type: ignore[arg-type]
        took_s=float(reports),
    )


def study(controls: list[float], complete: int = 20, pruned: int = 0) -> list[Curve]:
    """Complete trials end with 0, 1, 2 and so on, then come the others."""
    ends = [trial(n, "complete", float(n)) for n in range(complete)]
    gone = [trial(1000 + n, "pruned", reports=2) for n in range(pruned)]
    return ends + gone + [trial(500 + n, "control", end) for n, end in enumerate(controls)]


def test_controls_are_always_the_same_and_as_many_as_asked_for() -> None:
    chosen = [is_control(7, number, 0.08) for number in range(10_000)]
    assert chosen == [is_control(7, number, 0.08) for number in range(10_000)]
    assert 720 <= sum(chosen) <= 880
    assert chosen != [is_control(8, number, 0.08) for number in range(10_000)]
    assert not any(is_control(7, number, 0.0) for number in range(100))
    assert all(is_control(7, number, 1.0) for number in range(100))


def test_of_the_first_verdicts_more_are_left_out() -> None:
    def share(before: int) -> float:
        return sum(is_control(n, n, 0.08, before=before) for n in range(4000)) / 4000

    assert share(0) == pytest.approx(1 / 2, abs=0.03)
    assert share(3) == pytest.approx(1 / 5, abs=0.03)
    assert share(100) == pytest.approx(0.08, abs=0.02)


@given(st.integers(), st.integers(0, 10**6), st.floats(0, 1), st.integers(0, 100))
def test_a_control_stays_one_with_a_larger_share(
    seed: int, number: int, share: float, before: int
) -> None:
    assert is_control(seed, number, share) <= is_control(seed, number, share, before=before)


def test_a_control_that_ended_among_the_best_mattered() -> None:
    found = audit(study([29.5, 28.5, 3.0], complete=30), "maximize")
    assert (found.controls, found.false, found.records) == (3, 2, 1)
    assert found.value_lost == 0.5
    assert audit(study([3.0]), "maximize").value_lost == 0.0


def test_a_control_that_was_the_best_of_its_time_mattered_though_better_ones_came() -> None:
    early = [trial(500, "control", 0.5), *study([], complete=30)]
    found = audit([trial(400, "complete", 0.0), *early], "maximize")
    assert (found.false, found.records) == (1, 1)


def test_it_is_the_same_the_other_way_round() -> None:
    turned = [
        curve(
            one.trial, [], final=None if one.final is None else -one.final, state=one.state
        )
        for one in study([29.5, 28.5, 3.0], complete=30)
    ]  # fmt: skip
    found = audit(turned, "minimize")
    assert (found.false, found.records, found.value_lost) == (2, 1, 0.5)


def test_the_decile_is_of_all_trials_and_controls_stand_for_the_pruned_ones() -> None:
    """Of 100 trials 80 got a verdict. Ten are in the decile, not the best ten of what is left."""
    controls = [10.5] + [-1.0] * 7
    found = audit(study(controls, complete=20, pruned=72), "maximize")
    assert found.finished == 100
    assert found.false == 0
    assert audit(study([18.5, *controls[1:]], pruned=72), "maximize").false == 1


def test_controls_of_an_earlier_notch_do_not_count() -> None:
    found = audit(study([19.5, 1.0]), "maximize", since=501)
    assert (found.controls, found.false) == (1, 0)


@pytest.mark.parametrize("end", [None, float("nan")])
def test_a_control_without_an_end_that_counts_did_not_matter(end: float | None) -> None:
    found = audit([trial(0, "control", end)], "maximize")
    assert (found.controls, found.false, found.value_lost) == (1, 0, None)


def test_without_controls_nothing_is_known() -> None:
    found = audit(study([], pruned=20), "maximize")
    assert (found.low, found.high) == (0.0, 1.0)
    assert "to tell what it lost" in found.sentence()
    assert audit([], "maximize").sentence() == "nothing has been pruned"


def test_what_pruning_saved() -> None:
    """20 whole trials of 10 s, 20 that stopped after 2 of 10 reports: 160 s of 400."""
    found = audit(study([], pruned=20), "maximize")
    assert (found.saved_share, found.saved_of) == (0.4, "time")
    untimed = [*study([], pruned=20), curve(9999, [], state="pruned")]
    assert audit(untimed, "maximize").saved_of == "steps"


def test_the_sentence() -> None:
    found = audit(study([0.5] * 23, complete=100, pruned=200), "maximize")
    assert found.sentence() == (
        "pruning saved 50 % of the time; 0 of 23 controls would have mattered, "
        "at most 12 % with 95 % confidence"
    )


@given(st.integers(1, 40))
def test_more_clean_controls_narrow_the_interval(count: int) -> None:
    def high(controls: int) -> float:
        return audit(study([-1.0] * controls, pruned=50), "maximize").high

    assert high(count + 1) < high(count)
