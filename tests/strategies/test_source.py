"""What an Optuna script says of itself, read from its text."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scheduler.strategies.source import Written, read_source

SCRIPT = """
import optuna as op, torch
from functools import partial

def objective(trial, data=None):
    rate = trial.suggest_float("rate", 1e-5, 1e-1, log=True)
    layers = trial.suggest_int("layers", 1, MOST, step=2)
    for i in range(layers):
        trial.suggest_int(f"width{i}", low=8, high=64)
    kind = trial.suggest_categorical("kind", ["adam", "sgd"])
    old = trial.suggest_loguniform("old", 1, 10)
    for step in range(10):
        trial.report(rate, step)
        if trial.should_prune():
            raise op.TrialPruned
    return rate

study = op.create_study(direction="maximize", pruner=op.pruners.MedianPruner(5, 10))
study.optimize(partial(objective, data=1), 100, timeout=3600)
"""


def test_a_script_is_read() -> None:
    source = read_source(SCRIPT)
    assert [(one.name.value, one.kind) for one in source.suggestions] == [
        ("rate", "float"),
        ("layers", "int"),
        (None, "int"),
        ("kind", "categorical"),
        ("old", "float"),
    ]
    rate, layers, width, kind, old = source.suggestions
    assert rate.arguments["log"] == Written("True", True)
    assert layers.arguments["high"] == Written("MOST")
    assert (width.name.text, width.arguments["high"].value) == ("f'width{i}'", 64)
    assert kind.arguments["choices"].value == ["adam", "sgd"]
    assert old.arguments["log"].value is True
    (study,) = source.studies
    assert study.arguments["pruner"].text == "op.pruners.MedianPruner(5, 10)"
    (optimize,) = source.optimizes
    assert (optimize.arguments["n_trials"].value, optimize.line) == (100, 19)
    assert (source.reports, source.asks, source.saves, source.uses_torch) == (
        True,
        True,
        False,
        True,
    )


def test_what_others_call_optimize_is_not_optunas() -> None:
    text = "from scipy import optimize\noptimize(f, 3)\nmodel.optimize(0.5)\nmodel.optimize()\n"
    assert read_source(text).optimizes == ()


@pytest.mark.parametrize("text", ["x = (", "\0", "(" * 5000])
def test_what_is_not_python_is_a_syntax_error(text: str) -> None:
    with pytest.raises(SyntaxError):
        read_source(text)


@given(st.text() | st.lists(st.sampled_from(SCRIPT.splitlines())).map("\n".join))
def test_any_text_is_read_or_refused(text: str) -> None:
    with contextlib.suppress(SyntaxError):
        read_source(text)
