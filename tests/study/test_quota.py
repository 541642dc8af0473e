"""How many trials may begin."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from scheduler.study.serving.quota import Quota


@given(n_trials=st.integers(0, 20), begun=st.integers(0, 30))
def test_as_many_begin_as_were_asked_for(n_trials: int, begun: int) -> None:
    """Those of earlier lives count; none begins beyond the number."""
    quota = Quota(n_trials, None, begun)
    here = 0
    while quota.may_begin(0.0):
        quota.begin(0.0)
        here += 1
    assert here == max(0, n_trials - begun)


def test_without_limits_only_a_stop_ends_it() -> None:
    """The first reason to stop is the one that is kept."""
    quota = Quota(None, None)
    assert quota.may_begin(1e9)
    quota.stop("first")
    quota.stop("second")
    assert not quota.may_begin(0.0)
    assert quota.stopped == "first"


def test_timeout_counts_from_the_first_start() -> None:
    """However late that is; a retry's start counts too, a second start does not move it."""
    quota = Quota(None, 10.0)
    assert quota.may_begin(1000.0)
    assert quota.deadline_s is None
    quota.started(1000.0)
    quota.begin(1005.0)
    assert quota.deadline_s == 1010.0
    assert quota.may_begin(1009.9)
    assert not quota.may_begin(1010.0)


def test_no_time_is_no_trial() -> None:
    """``timeout=0`` runs nothing, as in Optuna."""
    assert not Quota(None, 0.0).may_begin(0.0)
    assert not Quota(5, -1.0).may_begin(0.0)
