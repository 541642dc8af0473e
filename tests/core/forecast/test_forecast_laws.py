"""What holds for all parameters and all histories."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from trainings import GB, told, trials

from scheduler.core.forecast import Observation
from scheduler.core.forecast.conformal import reach
from scheduler.core.forecast.history import History
from scheduler.core.forecast.quantile import upper

values = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=4), st.just(10**400)
)
mixes = st.dictionaries(st.sampled_from("abcdef"), values, max_size=6)
observations = st.builds(
    Observation,
    params=mixes,
    bytes=st.integers(0, 2**70),
    ran_out=st.booleans(),
    version=st.sampled_from(["", "b"]),
)
few = settings(max_examples=10, deadline=None)
SEEN = list(trials(3, 45))


@few
@given(st.lists(observations, min_size=1, max_size=25), mixes)
def test_anything_is_answered_with_a_promise_not_below_what_is_expected(seen, params):
    forecaster = told(*seen)
    for said in (forecaster.forecast(params), forecaster.forecast(None)):
        assert said is not None
        assert said.bytes >= said.expected_bytes >= 0
    forecaster.belief()


@few
@given(mixes)
def test_a_model_answers_anything_too(params):
    said = MODEL.forecast(SEEN[0].params | params)
    assert said is not None
    assert said.bytes >= said.expected_bytes > 0


@few
@given(st.lists(observations, min_size=12, max_size=20))
def test_the_same_history_gives_the_same_forecasts(seen):
    one, other = told(*seen), told(*seen)
    assert one.forecast(seen[0].params) == other.forecast(seen[0].params)
    assert one.belief() == other.belief()


@few
@given(st.integers(5, 25), st.floats(0.001, 0.3), st.floats(0.001, 0.3))
def test_who_allows_fewer_overruns_is_promised_no_less(count, one, other):
    small, large = sorted((one, other))
    careful, bold = told(*SEEN[:count], share=small), told(*SEEN[:count], share=large)
    for seen in SEEN[:5]:
        more, less = careful.forecast(seen.params), bold.forecast(seen.params)
        assert more is not None
        assert less is not None
        assert more.bytes >= less.bytes


@few
@given(st.integers(1, 20), st.integers(0, 44), st.integers(1, 20))
def test_running_out_never_lowers_the_forecast_for_the_same_parameters(count, which, gigabytes):
    forecaster, params = told(*SEEN[:count]), SEEN[which].params
    for _ in range(3):
        before = forecaster.forecast(params)
        bound = Observation(params=params, bytes=gigabytes * GB, ran_out=True)
        forecaster.add(bound)
        after = forecaster.forecast(params)
        assert before is not None
        assert after is not None
        assert after.bytes >= before.bytes
        assert after.bytes > bound.bytes


@given(
    st.lists(st.floats(-4, 8), max_size=120),
    st.floats(0.001, 0.4),
    st.floats(0.001, 0.4),
)
def test_margins_grow_as_the_share_shrinks(errors, one, other):
    small, large = sorted((one, other))
    assert reach(errors, small) >= reach(errors, large) >= 0


@given(st.lists(st.floats(1, 1e12), min_size=1, max_size=120), st.floats(0.001, 0.4))
def test_the_quantile_is_beyond_enough_of_the_peaks(peaks, share):
    assert sum(one > upper(peaks, share) for one in peaks) <= share * len(peaks)


def test_what_is_kept_is_bounded():
    history = History(None)
    for number in range(1_200):
        params = {"x": number}
        history.add(Observation(params=params, bytes=GB, ran_out=number % 2 == 0), None)
    assert len(history) == 500
    assert len(history.seen()) <= 300
    assert history.floor({"x": 0}) == 0
    assert history.floor({"x": 1_198}) > GB


MODEL = told(*SEEN)
