"""A number in a file is read, or it is said what stood there instead. Never a wrong number."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from probes.number import Unread, parse_number, read_number, read_text
from tests.probes.samples import let_in


@given(st.integers(min_value=0, max_value=2**64 - 1))
def test_what_the_kernel_prints_is_read_back(number: int) -> None:
    assert parse_number(f"{number}\n".encode()) == number


@given(st.binary(max_size=80))
def test_anything_else_is_refused_or_is_those_digits(text: bytes) -> None:
    try:
        number = parse_number(text)
    except ValueError:
        return
    assert number == int(text.strip().decode("ascii"))
    assert number >= 0


@pytest.mark.parametrize(
    ("content", "seen"),
    [
        ("", "is empty"),
        ("\n", "is empty"),
        ("N/A\n", "'N/A' is not a number"),
        ("-1\n", "'-1' is not a number"),
        ("1.5\n", "'1.5' is not a number"),
        ("0x10\n", "'0x10' is not a number"),
        ("12 34\n", "'12 34' is not a number"),
        ("9" * 33, "is not a number"),
        ("\xff\xfe", "is not a number"),
    ],
)
def test_the_sentence_names_the_file_and_what_stood_there(
    tmp_path: Path, content: str, seen: str
) -> None:
    path = tmp_path / "mem_info_vram_used"
    path.write_text(content, encoding="latin-1")
    with pytest.raises(Unread) as caught:
        read_number(str(path))
    assert str(caught.value).startswith(f"{path}: ")
    assert str(caught.value).endswith(seen)


def test_gone_and_forbidden_are_told_apart(
    tmp_path: Path, nobody: Callable[[Callable[[], object]], object]
) -> None:
    with pytest.raises(Unread) as caught:
        read_number(str(tmp_path / "nothing"))
    assert (caught.value.gone, caught.value.forbidden) == (True, False)
    assert str(caught.value).endswith("no such file or directory")
    let_in(tmp_path)
    closed = tmp_path / "closed"
    closed.write_text("1\n")
    closed.chmod(0)

    def look() -> tuple[str, bool, bool]:
        try:
            return str(read_number(str(closed))), False, False
        except Unread as unread:
            return unread.seen, unread.gone, unread.forbidden

    assert nobody(look) == ("permission denied", False, True)


def test_a_folder_in_the_place_of_a_file_is_unread(tmp_path: Path) -> None:
    with pytest.raises(Unread, match="is a directory"):
        read_number(str(tmp_path))


def test_a_text_longer_than_one_read_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "vmstat"
    path.write_text("x" * 100_000)
    assert len(read_text(str(path))) == 100_000


def test_the_error_pickles() -> None:
    assert str(pickle.loads(pickle.dumps(Unread("/a", "is empty")))) == "/a: is empty"
