"""Lines for a terminal: as wide as it is, coloured only where there is one."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scheduler.interfaces.paint import (
    PLAIN,
    Column,
    Paint,
    columns,
    cut,
    flow,
    for_stdout,
    length,
    printable,
    words,
)

RED = Paint(True)


def test_colours_take_no_room_and_can_be_left_out() -> None:
    assert RED("red", "held") == "\x1b[31mheld\x1b[0m"
    assert length(RED("red", "held")) == 4
    assert PLAIN("red", "held") == "held"
    assert RED("red", "") == ""


@pytest.mark.parametrize(
    ("is_terminal", "variables", "expected"),
    [
        (True, {}, True),
        (False, {}, False),
        (True, {"NO_COLOR": "1"}, False),
        (True, {"NO_COLOR": ""}, True),
        (True, {"TERM": "dumb"}, False),
    ],
)
def test_colours_are_for_terminals_that_want_them(
    monkeypatch: pytest.MonkeyPatch, is_terminal: bool, variables: dict[str, str], expected: bool
) -> None:
    for name in ("NO_COLOR", "TERM"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("sys.stdout.isatty", lambda: is_terminal)
    assert for_stdout().on is expected


@given(st.text(), st.integers(20, 100))
def test_words_lose_nothing_and_fit(text: str, width: int) -> None:
    lines = list(words(text, width, "  next    ", " " * 10))
    assert " ".join(lines).split() == ["next", *printable(text).split()]
    for line in lines:
        assert len(line) <= width or len(line.split()) <= 2  # one word that is too long
        assert line.isprintable()


@given(st.text(alphabet="ab ", min_size=1), st.integers(20, 60), st.integers(1, 3))
def test_words_that_are_too_many_end_with_a_sign(text: str, width: int, most: int) -> None:
    whole = list(words(text, width, "- ", "  "))
    lines = list(words(text, width, "- ", "  ", most))
    assert len(lines) == min(len(whole), most)
    assert (lines[-1].endswith("…")) == (len(whole) > most)
    assert all(len(line) <= width for line in lines) or any(len(line) > width for line in whole)


def test_a_painted_label_does_not_make_a_line_shorter() -> None:
    plain = list(words("a b c d e f g h i j", 12, "x  ", "  "))
    painted = list(words("a b c d e f g h i j", 12, RED("red", "x") + "  ", "  "))
    assert [re.sub(r"\x1b\[\d+m", "", line) for line in painted] == plain


def test_what_would_steer_a_terminal_is_not_let_through() -> None:
    assert printable("a\x1b[2Jb\nc\td\x07") == "a [2Jb c d"


def test_parts_flow_and_are_never_broken() -> None:
    parts = ["free 1.0 GiB", "reserve 1.0 GiB", "strangers 2.0 GiB"]
    assert list(flow(parts, 35)) == ["  free 1.0 GiB   reserve 1.0 GiB", "  strangers 2.0 GiB"]
    assert list(flow([RED("red", part) for part in parts], 35))[1] == f"  {RED('red', parts[2])}"


SHOWN = (
    Column(name="trial", cells=("13", "-"), left=True),
    Column(name="step", cells=("-", "-"), keep=8),
    Column(name="peak", cells=("2.0 GiB", "-"), keep=3),
    Column(name="held", cells=("2.0 GiB", "-")),
    Column(name="params", cells=("lr 0.01, width 16, momentum 0.9", "-"), keep=2, left=True),
)


def test_columns_are_left_out_before_lines_get_too_long() -> None:
    assert list(columns(SHOWN, 80)) == [
        "  trial     peak     held  params",
        "  13     2.0 GiB  2.0 GiB  lr 0.01, width 16, momentum 0.9",
        "  -            -        -  -",
    ]
    assert list(columns(SHOWN, 50))[1] == "  13     2.0 GiB  2.0 GiB  lr 0.01, width 16, mom…"
    assert list(columns(SHOWN, 40))[1] == "  13     2.0 GiB  2.0 GiB"
    assert list(columns(SHOWN, 22))[1] == "  13     2.0 GiB"
    assert all(len(line) <= 10 for line in columns(SHOWN, 10))


@given(st.text(max_size=30), st.integers(1, 40))
def test_what_is_cut_fits(text: str, width: int) -> None:
    assert len(cut(text, width)) <= width
    assert cut(text, width) == text or cut(text, width).endswith("…")
