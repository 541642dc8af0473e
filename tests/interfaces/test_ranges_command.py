"""``scheduler ranges``: a table and a picture that fit; and the files that `--ranges` takes."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import optuna
import pytest

from scheduler.interfaces.errors import BadInput
from scheduler.interfaces.ranges import RangesReport, picture, ranges_lines
from scheduler.interfaces.ranges_input import parse_ranges, read_ranges
from scheduler.strategies.ranges import Limits, Range, Row, Seen, narrowed, table

Scheduler = Callable[..., Any]
LR = Range(kind="float", low=1e-5, high=1e-1, log=True)
OPT = Range(kind="categorical", choices=("adam", "sgd", "lion", "rmsprop"))


def rows() -> tuple[Row, ...]:
    trials = [
        Seen(
            value=-abs(k - 20.0),
            params={"lr": 10 ** (-5 + 4 * (k + 0.5) / 41), "opt": "adam" if k > 12 else "sgd"},
            ranges={"lr": LR, "opt": OPT},
        )
        for k in range(41)
    ]
    return table(trials)


def test_the_picture_has_the_best_where_they_lie() -> None:
    lr, opt = rows()
    assert picture(lr, 41) == "·" * 9 + "=" * 6 + "#" * 11 + "=" * 6 + "·" * 9
    assert picture(opt, 40) == "#" * 10 + "·" * 10 + "=" * 20


def test_a_parameter_that_stays_as_it_is_is_drawn_and_says_why() -> None:
    full = Range(kind="int", low=1, high=1, step=1)
    row = Row(
        name="n", full=full, limits=None, because="it has one value only", trials=9, best=(1,),
        kept_share=1.0,
    )  # fmt: skip
    assert picture(row, 10) == "#" * 10
    lines = list(ranges_lines(RangesReport(study="s", trials=9, parameters=(row,)), 80))
    assert "n stays as it is: it has one value only" in lines


@pytest.mark.parametrize("width", [40, 80, 200])
def test_it_fits(width: int) -> None:
    long = [Row(**{f: getattr(row, f) for f in row.__struct_fields__}) for row in rows()]
    report = RangesReport(study="s" * 100, trials=41, parameters=tuple(long))
    assert max(map(len, ranges_lines(report, width))) <= width


def test_what_is_printed_for_programs_is_taken_as_a_file(
    state: Path, scheduler: Scheduler, tmp_path: Path
) -> None:
    url = f"sqlite:///{tmp_path}/s.db"
    study = optuna.create_study(study_name="old", storage=url)
    for k in range(20):
        distribution = optuna.distributions.FloatDistribution(1e-5, 1e-1, log=True)
        study.add_trial(
            optuna.trial.create_trial(
                value=float(k),
                params={"lr": 10 ** (-5 + k / 5)},
                distributions={"lr": distribution},
            )
        )
    shown = scheduler("ranges", "--storage", url, "old")
    assert "where the best 25 % of 20 finished trials lie" in shown.out
    assert "lr  [####" in shown.out.replace("#=", "##").replace("=#", "##")
    printed = scheduler("ranges", "--storage", url, "old", "--json").out
    assert json.loads(printed)["parameters"][0]["best"][0] == 1e-5

    path = tmp_path / "ranges.json"
    path.write_text(printed)
    found = read_ranges(str(path))
    assert found["lr"]["low"] == 1e-5
    assert 1e-4 < found["lr"]["high"] < 1e-2


def test_a_study_that_is_not_there(state: Path, scheduler: Scheduler, tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/s.db"
    optuna.create_study(study_name="two", storage=url, directions=["minimize", "minimize"])
    for arguments, code, said in (
        ((), 2, "name a run, or a study"),
        (("x",), 2, "there is no run x"),
        (("--storage", url, "one"), 1, "there are: two"),
        (("--storage", url, "two"), 2, "study two has several objectives"),
        (("--storage", f"{url}x", "two"), 2, "there is no file"),
    ):
        answer = scheduler("ranges", *arguments)
        assert answer.code == code
        assert said in answer.err


def test_ranges_by_hand() -> None:
    found = parse_ranges(
        {"lr": [1e-4, 1e-2], "opt": ["adam", None], "batch": {"choices": [16, 64]}, "n": [3]}
    )
    assert found["lr"] == Limits(low=1e-4, high=1e-2, choices=(1e-4, 1e-2))
    assert narrowed(LR, found["lr"]) == Range(kind="float", low=1e-4, high=1e-2, log=True)
    assert found["opt"] == Limits(choices=("adam", None))
    assert found["batch"] == Limits(choices=(16, 64))
    assert parse_ranges({"x": {"low": 3}})["x"] == Limits(low=3)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "cannot be read as JSON"),
        ("[]", "wanted: an object with parameters"),
        ("{}", "wanted: an object with parameters"),
        ('{"lr": [2, 1]}', "lr: from 2 to 1 there is nothing; the lower end comes first"),
        ('{"lr": 3}', "lr: 3: wanted: [low, high]"),
        ('{"lr": []}', "lr: []: wanted: [low, high]"),
        ('{"lr": {"low": "a"}}', 'lr: "a" is no end of a range'),
        ('{"lr": {"from": 1}}', "wanted: [low, high]"),
        ('{"lr": {"low": null}}', "lr: nothing is said of it"),
        ('{"opt": [["a"]]}', "opt: a choice is a text, a number, true, false or null"),
        ('{"parameters": [3]}', "is not what `scheduler ranges --json` prints"),
        ('{"parameters": []}', "none of its parameters is narrowed"),
    ],
)
def test_what_is_wrong_with_a_file_is_said(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "ranges.json"
    path.write_text(text)
    with pytest.raises(BadInput) as error:
        read_ranges(str(path))
    assert said in str(error.value)
    assert str(path) in str(error.value)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"there is no file 'none\.json'"):
        read_ranges("none.json")
