"""What an attempt writes down is what the host reads, and what Optuna makes of it is the same."""

from __future__ import annotations

import math
import tempfile
from pathlib import Path
from typing import Any

import optuna
import pytest
from hypothesis import given
from hypothesis import strategies as st
from optuna.exceptions import TrialPruned

from scheduler.study.keeping import outcome
from scheduler.study.keeping.outcome import Outcome, Unfit

NUMBERS = st.floats(allow_nan=True, allow_infinity=True)
THINGS = st.one_of(NUMBERS, st.none(), st.text(max_size=5), st.integers(-(2**70), 2**70))


def same(one: Any, other: Any) -> bool:
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, float) and isinstance(other, float) and math.isnan(one):
        return math.isnan(other)
    return type(one) is type(other) and one == other


@given(value=st.one_of(THINGS, st.lists(THINGS, max_size=4), st.binary(max_size=3)))
def test_what_is_written_is_read(value: Any) -> None:
    """Any value survives the file: no number turns into text, no text into a number."""
    written = outcome.returned(3, value)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "0-3.json"
        outcome.write_down(written, path)
        assert path.stat().st_mode & 0o077 == 0
        found = outcome.read(path)
        assert [entry.name for entry in Path(folder).iterdir()] == ["0-3.json"]
    assert found is not None
    assert same(found.value, written.value), (found, written)
    assert found.shown == repr(value)
    assert found.number == 3


@given(value=st.one_of(NUMBERS, st.none(), st.lists(st.one_of(NUMBERS, st.none()), max_size=3)))
def test_optuna_makes_the_same_of_it(value: Any) -> None:
    """State, values and the sentence why not, for a value and for what stands in its place."""
    from optuna.study._tell import _tell_with_warning

    told = []
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    for told_value in (value, outcome.returned(0, value).value):
        study = optuna.create_study()
        study.ask()
        told.append(repr(_tell_with_warning(study, 0, told_value, suppress_warning=True)))
    assert told[0] == told[1]


def test_pruned_is_no_failure() -> None:
    """Its message is the exception's text, as Optuna's log line has it."""
    found = outcome.raised(0, TrialPruned("at step 3"), ())
    assert (found.state, found.message) == ("pruned", "at step 3")


def test_exceptions_are_named_with_bases_and_causes_but_not_context() -> None:
    """An error raised while an OOM was handled is the user's; one raised *from* it is the OOM's."""
    try:
        try:
            raise MemoryError("no more")
        except MemoryError as error:
            raise RuntimeError("failed") from error
    except RuntimeError as error:
        caused = outcome.raised(0, error, ())
    assert "builtins.RuntimeError" in caused.exception
    assert "builtins.Exception" in caused.exception
    assert "builtins.MemoryError" in caused.exception
    try:
        try:
            raise MemoryError("no more")
        except MemoryError:
            raise KeyError("another thing")  # noqa: B904  (the point of the test)
    except KeyError as error:
        handled = outcome.raised(0, error, ())
    assert "builtins.MemoryError" not in handled.exception


def test_catch_is_judged_here() -> None:
    """By class and by base class."""
    assert outcome.raised(0, KeyError("x"), (LookupError,)).caught
    assert not outcome.raised(0, KeyError("x"), (ValueError,)).caught
    assert not outcome.raised(0, SystemExit(1), (Exception,)).caught


def test_an_exception_that_cannot_be_shown() -> None:
    """A user's ``__str__`` and ``__repr__`` may raise."""

    class Awkward(Exception):
        def __str__(self) -> str:
            raise ValueError("no")

        __repr__ = __str__

    found = outcome.raised(0, Awkward(), ())
    assert found.state == "failed"
    assert found.shown == "Awkward"


def test_an_unfit_value_is_shown_as_it_was() -> None:
    """Optuna's sentence is the one it would have written."""
    assert repr(Unfit("<object>")) == "<object>"
    with pytest.raises(TypeError):
        float(Unfit("1"))  # type: ignore[arg-type]


def test_half_a_file_is_no_outcome(tmp_path: Path) -> None:
    """Nor is one that is not there."""
    path = tmp_path / "0-0.json"
    assert outcome.read(path) is None
    outcome.write_down(Outcome(number=0, state="complete", value=1.0), path)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    assert outcome.read(path) is None
