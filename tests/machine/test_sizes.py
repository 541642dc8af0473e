"""Sizes as people write them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scheduler.machine.sizes import format_size, parse_size

GIB = 1 << 30


@pytest.mark.parametrize(
    ("text", "size_bytes"),
    [
        ("6GiB", 6 * GIB),
        ("6gib", 6 * GIB),
        ("6G", 6 * GIB),
        ("6GB", 6_000_000_000),
        ("512MiB", 512 << 20),
        ("1.5GiB", 3 * GIB // 2),
        ("1TiB", 1 << 40),
        ("64K", 64 << 10),
        ("123456", 123456),
        ("123456B", 123456),
        ("0", 0),
    ],
)
def test_forms_that_are_taken(text: str, size_bytes: int) -> None:
    assert parse_size(text) == size_bytes


@pytest.mark.parametrize(
    "text", ["lots", "6 GB", "", "-1", "-1GiB", "GiB", "6GiBs", "6iB", "1e9", "nan", "1.5", "٦GB"]
)
def test_others_are_refused_with_the_forms(text: str) -> None:
    with pytest.raises(ValueError, match=r'"6GiB", "6GB", "6G", "512MiB" or a number of bytes'):
        parse_size(text)


@pytest.mark.parametrize(
    ("size_bytes", "text"),
    [(None, "unknown"), (0, "0"), (5, "5 B"), (512 << 20, "512 MiB"), (6 * GIB, "6.0 GiB")],
)
def test_what_people_read(size_bytes: int | None, text: str) -> None:
    assert format_size(size_bytes) == text


@given(st.integers(0, 1 << 50))
def test_what_is_shown_can_be_typed_and_is_near(size_bytes: int) -> None:
    typed = parse_size(format_size(size_bytes).replace(" ", ""))
    assert abs(typed - size_bytes) <= max(size_bytes * 0.06, 1 << 20)
