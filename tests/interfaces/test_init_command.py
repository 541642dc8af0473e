"""``scheduler init`` on real files, and what `run --settings` makes of them."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from scheduler.interfaces.cli import group
from scheduler.machine.config.loading import load, load_settings
from scheduler.machine.config.reading import ConfigError

SCRIPT = """\
import optuna
study = optuna.create_study(storage="postgresql://me:secret@host/db")
study.optimize(lambda trial: trial.suggest_float("x", 0, 1), n_trials=1000)
"""


@pytest.fixture
def script(tmp_path: Path) -> Path:
    path = tmp_path / "train.py"
    path.write_text(SCRIPT)
    return path


def init(*words: object) -> Result:
    return CliRunner().invoke(group, ["init", *map(str, words)])


def test_a_file_is_written_that_changes_nothing_by_itself(script: Path) -> None:
    said = init(script)
    assert said.exit_code == 0
    assert "x: float 0 .. 1" in said.output
    assert "scheduler.report" in said.output, "it reports nothing, and is told how to"
    path = script.with_suffix(".toml")
    assert "secret" not in path.read_text()
    assert set(tomllib.loads(path.read_text())) == {"run", "pruning", "ranges", "budget"}
    base = load()
    assert load_settings(path, base) == base.config


def test_every_line_of_it_can_be_put_in_force(script: Path) -> None:
    init(script)
    path = script.with_suffix(".toml")
    lines = path.read_text().splitlines()
    path.write_text("\n".join(line.removeprefix("# ") if " = " in line else line for line in lines))
    config = load_settings(path, load())
    assert (config.run.max_attempts, config.budget.floor) == (3, 0.15)
    assert config.ranges.use is True


def test_nothing_is_written_over(script: Path) -> None:
    path = script.with_suffix(".toml")
    path.write_text("mine")
    said = init(script)
    assert (said.exit_code, "--force" in said.output) == (2, True)
    assert path.read_text() == "mine"
    assert init(script, "--force").exit_code == 0


@pytest.mark.parametrize(
    ("text", "told"), [("x = (", "line 1 is not Python"), ("\0", "not Python")]
)
def test_what_is_no_script_is_told(tmp_path: Path, text: str, told: str) -> None:
    path = tmp_path / "a.py"
    path.write_text(text)
    said = init(path)
    assert (said.exit_code, told in said.output) == (2, True)
    assert not path.with_suffix(".toml").exists()


def test_settings_go_below_the_environment_and_above_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine, runs = tmp_path / "config.toml", tmp_path / "train.toml"
    mine.write_text("[run]\nmax_trials = 1\n[pruning]\nlimit = 0.2\ncontrols = 0.3\n")
    mine.chmod(0o600)
    runs.write_text("[pruning]\nlimit = 0.1\n[budget]\nfloor = 1.0\n")
    monkeypatch.setenv("SCHEDULER_BUDGET_FLOOR", "2.0")
    config = load_settings(runs, load(mine))
    assert (config.pruning.limit, config.pruning.controls) == (0.1, 0.3)
    assert (config.run.max_attempts, config.budget.floor) == (1, 2.0)


@pytest.mark.parametrize(
    ("text", "told"),
    [("[notify]\nurls = []\n", "notify"), ("[prunning]\n", '"pruning"?'), ("x", "is not TOML")],
)
def test_settings_that_are_wrong_are_told(tmp_path: Path, text: str, told: str) -> None:
    path = tmp_path / "train.toml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=told.replace("?", r"\?")):
        load_settings(path, load())
    with pytest.raises(ConfigError, match="cannot be read"):
        load_settings(tmp_path / "none.toml", load())
