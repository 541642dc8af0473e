"""How many trials are asked ahead, and what becomes of those that are too big."""

from __future__ import annotations

import msgspec

from scheduler.core.actions import Refuse
from scheduler.core.candidates import (
    DOUBTFUL_COUNTS,
    DRAW_FREELY_AFTER,
    LOOKAHEAD,
    STOP_AFTER,
    TRY_EVERY,
    Candidates,
)
from scheduler.core.forecast.observation import Forecast
from scheduler.core.model import Trial

OVERRAN = Trial(run="r", number=1, want_bytes=100, overruns=1, attempts=1)


def forecast(size: int, expected: int | None = None, **more: str) -> Forecast:
    return Forecast(
        bytes=size, expected_bytes=expected or size, level=more.get("level", "quantile")
    )


def test_parameters_are_asked_for_ahead_only_where_memory_depends_on_them() -> None:
    assert Candidates().room(needs_params=False) == 1
    assert Candidates().room(needs_params=True) == LOOKAHEAD


def test_every_tenth_refused_candidate_is_tried() -> None:
    """One at a time: it needs a device for itself."""
    candidates = Candidates()
    tried = [number for number in range(1, 31) if candidates.refused(number)]
    assert tried == [TRY_EVERY]
    candidates.ended(TRY_EVERY, fits=False)
    assert candidates.refused(31)


def test_one_that_is_sure_not_to_fit_is_tried_less_often() -> None:
    candidates = Candidates()
    count = TRY_EVERY * DOUBTFUL_COUNTS
    assert [n for n in range(1, count + 1) if candidates.refused(n, doubtful=False)] == [count]


def test_refused_in_a_row_parameters_are_drawn_freely_until_one_fits() -> None:
    candidates = Candidates()
    for number in range(DRAW_FREELY_AFTER):
        assert not candidates.draws_freely
        candidates.refused(number)
    assert candidates.draws_freely
    candidates.started(99)
    assert not candidates.draws_freely


def test_nothing_fits_and_the_run_stops_when_what_is_tried_has_shown_it() -> None:
    candidates = Candidates()
    tried = [n for n in range(STOP_AFTER) if candidates.refused(n, "wants 9, there are 8")]
    candidates.started(tried[0])
    assert candidates.stops is None
    assert candidates.room(needs_params=True) == 0
    candidates.ended(tried[0], fits=False)
    assert candidates.stops is not None
    assert "wants 9, there are 8" in candidates.stops


def test_one_that_fits_although_it_was_refused_lets_the_run_go_on() -> None:
    candidates = Candidates()
    (tried,) = [n for n in range(STOP_AFTER) if candidates.refused(n)]
    candidates.ended(tried, fits=True)
    assert candidates.stops is None
    assert candidates.room(needs_params=True) == LOOKAHEAD


def test_who_overran_comes_back_with_what_has_been_learned_meanwhile() -> None:
    candidates = Candidates()
    assert candidates.returned(OVERRAN, forecast(300)).want_bytes == 300
    assert candidates.returned(OVERRAN, forecast(80)) == OVERRAN  # it is seen to need more
    assert candidates.returned(OVERRAN, None) == OVERRAN


def test_who_is_to_be_alone_or_did_not_overrun_comes_back_as_it_is() -> None:
    candidates = Candidates()
    alone = msgspec.structs.replace(OVERRAN, alone=True)
    pressed = msgspec.structs.replace(OVERRAN, overruns=0, contentions=1)
    for one in (alone, pressed):
        assert candidates.returned(one, forecast(300)) == one


def test_who_overran_is_not_kept_waiting_for_more_than_there_is() -> None:
    """For a margin: by the model it gets little more than is expected, by the peaks of all as much
    as it was to have anyway."""
    candidates = Candidates()
    refuse = Refuse(run="r", trial=0, want_bytes=300, most_bytes=200, because="")
    candidates.answer(Trial(run="r", number=0), refuse, None)
    assert candidates.returned(OVERRAN, forecast(300)).want_bytes == 100
    by_model = candidates.returned(OVERRAN, forecast(300, expected=150, level="model"))
    assert by_model.want_bytes is not None
    assert 150 <= by_model.want_bytes <= 200
