"""The forms of the configuration's values."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scheduler.machine.config import forms
from scheduler.machine.config.written import (
    Hours,
    mask_url,
    parse_clock,
    parse_days,
    parse_duration,
    parse_hours,
    write_days,
    write_duration,
    write_hours,
    write_size,
)
from scheduler.machine.sizes import parse_size


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("30", 30),
        ("90s", 90),
        ("1.5 s", 1.5),
        ("5min", 300),
        ("5m", 300),
        ("2h", 7200),
        ("1d", 86400),
    ],
)
def test_durations(text: str, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["", "-1s", "soon", "1 week", "5 M", "٣s", "inf", "nan"])
def test_other_durations_are_refused_with_the_forms(text: str) -> None:
    with pytest.raises(ValueError, match='"90s", "5min"'):
        parse_duration(text)


@pytest.mark.parametrize(
    ("text", "days"),
    [
        ("daily", (0, 1, 2, 3, 4, 5, 6)),
        ("mon-fri", (0, 1, 2, 3, 4)),
        ("sat,sun", (5, 6)),
        ("Sunday", (6,)),
        ("fri-mon", (0, 4, 5, 6)),
        ("weekend, wed", (2, 5, 6)),
        ("tue - thu", (1, 2, 3)),
        ("mon-mon", (0,)),
    ],
)
def test_days(text: str, days: tuple[int, ...]) -> None:
    assert parse_days(text) == days


@pytest.mark.parametrize("text", ["", "0-4", "mo-fr", "mondays", "mon-", "-", "mon,,tue", "1"])
def test_numbers_and_other_names_are_no_days(text: str) -> None:
    with pytest.raises(ValueError, match="day"):
        parse_days(text)


@given(st.sets(st.integers(0, 6), min_size=1))
def test_days_that_are_shown_can_be_typed(days: set[int]) -> None:
    assert parse_days(write_days(sorted(days))) == tuple(sorted(days))


def test_hours() -> None:
    assert parse_hours("09:00-18:30") == Hours(540, 1110)
    assert parse_hours("22:00 - 6:00") == Hours(1320, 360)
    assert parse_hours("00:00-24:00") == Hours(0, 1440)
    assert write_hours(Hours(1320, 360)) == "22:00-06:00"


@pytest.mark.parametrize(
    "text", ["9-18", "09:00", "09:60-10:00", "24:01-03:00", "24:00-03:00", "09:00-09:00", "a-b", ""]
)
def test_other_hours_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"hours|00:00-24:00|time of day"):
        parse_hours(text)


def test_a_clock_has_no_25th_hour() -> None:
    assert parse_clock("8:05") == 485
    with pytest.raises(ValueError, match="time of day"):
        parse_clock("25:00")


@given(st.integers(0, 1 << 50))
def test_sizes_that_are_shown_are_exact(size_bytes: int) -> None:
    assert parse_size(write_size(size_bytes)) == size_bytes


@given(st.integers(0, 10**6))
def test_durations_that_are_shown_can_be_typed(seconds: int) -> None:
    assert parse_duration(write_duration(seconds)) == pytest.approx(seconds, rel=1e-4)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("discord://123456/t0ken", "discord://***"),
        ("https://discord.com/api/webhooks/123456/t0ken", "https://discord.com/***"),
        ("tgram://t0ken/chat", "tgram://***"),
        ("json://user:t0ken@127.0.0.1:8080/t0ken?t0ken", "json://127.0.0.1:8080/***"),
        ("json://[t0ken", "json://***"),
        ("json://host:t0ken/", "json://***"),
        ("t0ken", "***"),
        ("t0ken t0ken://x", "***"),
    ],
)
def test_of_an_address_only_what_is_no_secret_is_shown(url: str, shown: str) -> None:
    assert mask_url(url) == shown


@given(st.text())
def test_masking_takes_everything(text: str) -> None:
    mask_url(text)


def test_an_address_is_masked_where_it_is_shown_by_accident() -> None:
    (url,) = forms.URLS.read(["discord://123456/t0ken"])
    assert str(url) == "discord://123456/t0ken"
    assert repr((url,)) == "('discord://***',)"


def test_true_is_no_number_and_one_is_not_true() -> None:
    for form, value in ((forms.count(0), True), (forms.SIZE, True), (forms.choice(True, "x"), 1)):
        with pytest.raises((TypeError, ValueError)):
            form.read(value)


FORMS = [one for one in vars(forms).values() if isinstance(one, forms.Form)]
FORMS += [forms.count(0, 19), forms.choice(True, "on request"), forms.words("a", "b")]
_TOML = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=5,
)


@given(st.sampled_from(FORMS), _TOML)
def test_whatever_stands_there_is_taken_or_refused_and_can_be_shown(
    form: forms.Form, value: object
) -> None:
    try:
        taken = form.read(value)
    except (TypeError, ValueError):
        return
    json.dumps(form.write(taken))


@given(st.sampled_from(FORMS), st.text())
def test_so_it_is_in_a_variable(form: forms.Form, text: str) -> None:
    try:
        form.read(form.from_text(text))
    except (TypeError, ValueError):
        return
