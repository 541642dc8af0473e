"""Who prunes, as the command line and the configuration say it: wrong words end before a run."""

from __future__ import annotations

from importlib import util
from typing import Any

import click
import msgspec
import pytest

from scheduler.interfaces.errors import BadInput
from scheduler.interfaces.strategy_options import OPTIONS, read_asked
from scheduler.machine.config.settings import Config
from scheduler.machine.config.strategies import PruningSettings
from scheduler.strategies.asked import PruningAsked

PATIENT = PruningSettings(strategy="patient", arguments={"patience": 3}, controls=0.2)


def read(*words: str, pruning: PruningSettings | None = None) -> PruningAsked:
    """What these options ask for, over a configuration."""
    config = msgspec.structs.replace(Config(), pruning=pruning or PruningSettings())
    found: list[PruningAsked] = []

    def command(**given: Any) -> None:
        found.append(read_asked({"n_trials": None, **given}, config).pruning)

    options: Any = command
    for option in OPTIONS:
        options = option(options)
    click.command()(options).main(list(words), standalone_mode=False)
    return found[0]


def test_the_files_arguments_are_those_of_the_files_strategy() -> None:
    assert read() == PruningAsked()
    assert read(pruning=PATIENT) == PruningAsked(
        strategy="patient", arguments={"patience": 3}, controls=0.2
    )
    assert read("--pruning", "median", pruning=PATIENT).arguments == {}


def test_arguments_on_the_command_line_come_first_and_are_numbers_where_they_can_be() -> None:
    words = ("--pruning-argument", "patience=5", "--pruning-argument", "min_delta=1e-3")
    assert read(*words, pruning=PATIENT).arguments == {"patience": 5, "min_delta": 0.001}
    halving = ("--pruning", "halving", "--pruning-argument", "min_resource=auto")
    assert read(*halving).arguments == {"min_resource": "auto"}


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("median", "n_startup=3"), "no argument 'n_startup'; it takes n_startup_trials, n_warm"),
        (("percentile", "percentile=120"), "percentile of pruning percentile is 120; it takes"),
        (("patient", "patience"), "say NAME=VALUE"),
    ],
)
def test_a_wrong_argument_is_named_with_those_that_exist(words: tuple[str, str], said: str) -> None:
    name, argument = words
    with pytest.raises(BadInput, match=said):
        read("--pruning", name, "--pruning-argument", argument)


def test_in_the_configuration_too() -> None:
    wrong = PruningSettings(strategy="median", arguments={"warmup": 3})
    with pytest.raises(BadInput, match=r"'warmup'.*see \[pruning\] in the configuration"):
        read(pruning=wrong)
    nobodys = PruningSettings(arguments={"patience": 3})
    with pytest.raises(BadInput, match="patience is an argument of a pruner; say which"):
        read(pruning=nobodys)


def test_wilcoxon_wants_scipy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(util, "find_spec", lambda name: None)
    with pytest.raises(BadInput, match=r"needs scipy\. Install it: .* -m pip install scipy"):
        read("--pruning", "wilcoxon")
