"""What is asked for of forecasts, by options and by the configuration."""

from __future__ import annotations

from pathlib import Path

import pytest

from scheduler.interfaces.errors import BadInput
from scheduler.interfaces.memory_options import read_memory_from
from scheduler.interfaces.run import command
from scheduler.machine.config.loading import load
from scheduler.machine.config.written import parse_percent, write_percent
from scheduler.machine.state import VARIABLE


@pytest.mark.parametrize(("text", "share"), [("2%", 0.02), ("0.5 %", 0.005), (".1", 0.1)])
def test_a_share_is_written_either_way(text: str, share: float) -> None:
    assert parse_percent(text) == pytest.approx(share)
    assert parse_percent(write_percent(share)) == pytest.approx(share)
    given = command.make_context("run", ["--overrun", text, "train.py"]).params
    assert given["overrun"] == pytest.approx(share)


@pytest.mark.parametrize("text", ["0", "0%", "60%", "2", "two", "-1%", "nan", ""])
def test_no_share_at_all_and_more_than_half_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not a share"):
        parse_percent(text)


def test_the_configuration_takes_both(tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    for written, share in (('"5%"', 0.05), ("0.01", 0.01)):
        path.write_text(f"[run]\noverrun = {written}\n")
        path.chmod(0o600)
        assert load(path, {}).config.run.overrun_share == share
    assert load(path, {"SCHEDULER_RUN_OVERRUN": "3%"}).config.run.overrun_share == 0.03


def test_a_run_to_start_from_must_be_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, str(tmp_path))
    (tmp_path / "runs" / "train-1").mkdir(parents=True)
    assert read_memory_from("train-1") == "train-1"
    assert [read_memory_from(word) for word in (None, "auto", "none")] == ["auto", "auto", "none"]
    with pytest.raises(BadInput, match="no run 'train-9'"):
        read_memory_from("train-9")
