from __future__ import annotations

import pytest

from scheduler.interfaces.errors import BadInput
from scheduler.interfaces.run import command
from scheduler.interfaces.strategy_options import read_asked
from scheduler.machine.config.settings import Config
from scheduler.machine.config.strategies import BudgetSettings
from scheduler.strategies.asked import BudgetAsked


def asked(*words: str, **configured: object) -> BudgetAsked:
    """What a run with these options is to do, where the file says what is *configured*."""
    given = command.make_context("run", [*words, "train.py"]).params
    config = Config(budget=BudgetSettings(**configured))
    return read_asked(given, config).budget


def test_nothing_is_asked_for_by_itself() -> None:
    assert asked() == BudgetAsked()


def test_an_option_is_before_the_file() -> None:
    told = asked("--target", "0.9", "--floor", "-3", target=0.5, patience=7)
    assert told == BudgetAsked(target=0.9, floor=-3.0, patience=7)


def test_target_and_patience_go_together() -> None:
    assert asked("--target", "0.9", "--patience", "50").patience == 50


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("--target", "nan"), "--target nan: no trial's value can be compared"),
        (("--floor", "inf"), "--floor inf: no trial's value can be compared"),
        (("--extend-to", "600"), "--extend-to goes with --floor VALUE"),
        (
            ("--floor", "0.1", "--n-trials", "400", "--extend-to", "400"),
            "--extend-to 400 is not beyond --n-trials 400",
        ),
    ],
)
def test_what_cannot_be_meant_is_refused(words: tuple[str, ...], says: str) -> None:
    with pytest.raises(BadInput, match=says):
        asked(*words)


def test_a_preset_does_not_go_on_to_less_than_was_asked_for() -> None:
    told = asked("--preset", "fast", "--n-trials", "1000", "--floor", "0.1")
    assert told.extend_to is None
    assert asked("--preset", "fast", "--floor", "0.1").extend_to == 600


def test_a_file_speaks_for_many_runs_and_is_not_refused_for_one() -> None:
    told = asked("--n-trials", "1000", floor=0.1, extend_to=600)
    assert told.extend_to == 600
    assert asked(extend_to=600).floor is None
