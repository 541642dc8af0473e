"""Settings in text, and whether a value suits a parameter: what is taken, what is refused, how."""

from __future__ import annotations

import pytest

from scheduler.strategies.fitting import Fit, Unfit, fit, unknown_names
from scheduler.strategies.ranges import Range
from scheduler.strategies.warm_start import (
    Setting,
    WrongText,
    distinct,
    parse_settings,
    parse_value,
    same,
)

BEST_TRIAL = """{"number": 4, "value": 2.8, "datetime_start": "2026-01-02 03:04:05",
    "params": {"lr": 0.001, "layers": 3}, "state": "COMPLETE"}"""
FRAME = """,number,value,params_lr,params_optimizer,state
0,0,0.5,0.01,adam,COMPLETE
1,1,,0.02,sgd,FAIL
2,2,0.4,0.03,,COMPLETE
"""


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ('{"lr": 0.1, "on": true, "kind": null}', [{"lr": 0.1, "on": True, "kind": None}]),
        ('[{"lr": 1}, {"lr": 2}]', [{"lr": 1}, {"lr": 2}]),
        (BEST_TRIAL, [{"lr": 0.001, "layers": 3}]),
        ('{"best_value": 1, "best_params": {"lr": 0.1}}', [{"lr": 0.1}]),
        ('[{"number": 0, "params_lr": 0.1, "state": "COMPLETE"}]', [{"lr": 0.1}]),
        (
            '{"run": "a-1", "trials": [{"number": 0, "state": "failed", "params": {"a": 1}},'
            ' {"number": 1, "state": "complete", "params": {"a": 2}}]}',
            [{"a": 2}],
        ),
        ("lr,kind\n1e-3,adam\n\n2,sgd\n", [{"lr": 1e-3, "kind": "adam"}, {"lr": 2, "kind": "sgd"}]),
        ("lr;kind\n1e-3;a,b\n", [{"lr": 1e-3, "kind": "a,b"}]),
        (FRAME, [{"lr": 0.01, "optimizer": "adam"}, {"lr": 0.03}]),
    ],
)
def test_what_people_have_at_hand_is_taken(text: str, wanted: list[dict[str, object]]) -> None:
    assert [one.params for one in parse_settings(text, "best")] == wanted


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            '{"lr": }',
            "best.txt, line 1, column 8: this is no JSON: Expecting value; wanted: a JSON",
        ),
        ("[1]", "best.txt, setting 1: the number 1 where a JSON object with a value for each"),
        ('[{"a": 1}, {}]', "best.txt, setting 2: it names no parameter"),
        (
            '{"adam": {"lr": 1}}',
            "best.txt: adam is an object; a number, text, true, false, null or",
        ),
        ('{"lr": NaN}', "best.txt: NaN is no value of a parameter; a finite number was wanted"),
        ('{"lr": 1e999}', "best.txt: lr is the number inf; a number"),
        ('{"lr": 1, "lr": 2}', "best.txt: 'lr' is there twice in one object"),
        ("[]", "best.txt: there is no setting in it"),
        ("", "best.txt: there is no setting in it"),
        ("lr,kind\n1\n", "best.txt, line 2: 1 cells below 2 names (lr, kind)"),
        (
            "0.1,3\n0.2,4\n",
            "best.txt, line 1: a header of parameters' names was wanted; seen '0.1'",
        ),
        ("lr,kind,lr\n1,a,2\n", "best.txt, line 1: the column lr is there twice"),
    ],
)
def test_what_is_wrong_is_said_with_its_place(text: str, said: str) -> None:
    with pytest.raises(WrongText) as found:
        parse_settings(text, "best.txt")
    assert str(found.value).startswith(said)


def test_a_cell_is_what_it_looks_like() -> None:
    """Text that only begins like a number is text, and so is what is no finite number."""
    cells = ["3", "-3", "3.0", "1e-3", ".5", "True", "false", "3a", "nan", "inf", "1_000", "a"]
    found = [parse_value(cell) for cell in cells]
    assert found == [3, -3, 3.0, 1e-3, 0.5, True, False, "3a", "nan", "inf", "1_000", "a"]
    assert [type(one) for one in found[:3]] == [int, int, float]


def test_the_same_setting() -> None:
    """A number that a table has rounded is the same; a boolean is no number, text no choice."""
    assert same({"a": 1, "b": "x"}, {"b": "x", "a": 1.000001})
    assert not same({"a": 1.0}, {"a": 1.001})
    assert not same({"a": 1}, {"a": True})
    assert not same({"a": 1}, {"a": "1"})
    assert not same({"a": 1}, {"a": 1, "b": 2})
    assert same({"a": [1, 2]}, {"a": (1, 2)})
    settings = [Setting(params={"a": x}, source=str(x)) for x in (1, 2, 1.0)]
    assert [one.source for one in distinct(settings)] == ["1", "2"]


RATE = Range(kind="float", low=1e-5, high=0.1, log=True)
LAYERS = Range(kind="int", low=1, high=9, step=2)
UNITS = Range(kind="int", low=16, high=512, step=1)
DROP = Range(kind="float", low=0.0, high=0.5, step=0.1)
KIND = Range(kind="categorical", choices=("adam", "sgd", None, "1", (64, 64), True))


@pytest.mark.parametrize(
    ("full", "value", "wanted"),
    [
        (RATE, 0.01, 0.01),
        (RATE, 0.10000000000000002, 0.1),
        (LAYERS, 3.0, 3),
        (DROP, 0.3, 0.3),
        (DROP, 0.30000000000000004, 0.3),
        (KIND, "sgd", "sgd"),
        (KIND, None, None),
        (KIND, "None", None),
        (KIND, 1, "1"),
        (KIND, [64, 64], (64, 64)),
        (KIND, True, True),
    ],
)
def test_what_suits_is_taken_as_the_parameter_has_it(
    full: Range, value: object, wanted: object
) -> None:
    found = fit("p", value, full)
    assert isinstance(found, Fit)
    assert found.value == pytest.approx(wanted) if isinstance(wanted, float) else True
    assert type(found.value) is type(wanted)


@pytest.mark.parametrize(
    ("full", "value", "said", "is_kind", "nearest"),
    [
        (RATE, 0.5, "p is 0.5, outside of its range: 1e-05 to 0.1", False, 0.1),
        (RATE, "high", "p is 'high', a number is wanted: 1e-05 to 0.1", True, None),
        (RATE, True, "p is True, a number is wanted: 1e-05 to 0.1", True, None),
        (LAYERS, 4, "p is 4, which is between its steps: 1 to 9, step 2", False, 5),
        (LAYERS, 11, "p is 11, outside of its range: 1 to 9, step 2", False, 9),
        (UNITS, 32.5, "p is 32.5, a whole number is wanted: 16 to 512", True, 32),
        (UNITS, "32", "p is '32', a whole number is wanted: 16 to 512", True, None),
        (DROP, 0.25, "p is 0.25, which is between its steps: 0 to 0.5, step 0.1", False, 0.2),
        (
            KIND,
            "adamw",
            "p is 'adamw', which is none of its choices: 'adam', 'sgd', No",
            True,
            None,
        ),
        (KIND, 0, "p is 0, which is none of its choices", True, None),
    ],
)
def test_what_does_not_suit_is_said_in_a_sentence(
    full: Range, value: object, said: str, is_kind: bool, nearest: object
) -> None:
    found = fit("p", value, full)
    assert isinstance(found, Unfit)
    assert found.problem.startswith(said)
    assert (found.is_kind, found.nearest) == (is_kind, nearest)


def test_unknown_names_are_said_beside_those_that_are_meant() -> None:
    known = {"lr", "layers", "dropout"}
    assert unknown_names(["lr", "dropout"], known) is None
    said = unknown_names(["lr", "droput", "z"], known)
    assert said == (
        "the objective does not suggest droput (did you mean dropout?), z;"
        " it suggests dropout, layers, lr"
    )
    assert unknown_names(["a"], ()) == "the objective does not suggest a; it suggests nothing"
