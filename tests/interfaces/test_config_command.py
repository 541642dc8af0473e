"""``scheduler config check``, and the document that is made from the same table."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path

import pytest

from scheduler.interfaces import config_reference
from scheduler.machine.config.loading import load
from scheduler.machine.config.settings import SECTIONS, keys_of

DOCUMENT = Path(__file__).parents[2] / "docs" / "config.md"


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "config.toml"
    path.touch(0o600)
    monkeypatch.setenv("SCHEDULER_CONFIG", str(path))
    return path


def test_every_key_is_shown_with_where_it_came_from(scheduler, file, monkeypatch):
    monkeypatch.setenv("SCHEDULER_ATTEMPTS_NICE", "5")
    file.write_text('[queue]\nruns_at_once = 2\n[[windows]]\nhours = "09:00-18:00"\nmax_trials = 1')
    said = scheduler("config", "check")
    assert (said.code, said.err) == (0, "")
    rows = {" ".join(line.split()) for line in said.out.splitlines()}
    assert {
        str(file),
        "[queue]",
        "runs_at_once 2 the file",
        "nice 5 $SCHEDULER_ATTEMPTS_NICE",
        "reserve - (10 %, on a GPU at least 512MiB) default",
        "[windows.1]",
        'hours "09:00-18:00" the file',
        'days "daily" default',
        'digest "08:00" default',
    } <= rows
    for section in set(SECTIONS) - {"devices", "windows"}:
        for key in keys_of(SECTIONS[section]):
            assert any(row.startswith(f"{key.name} ") for row in rows), key.name
    assert max(map(len, said.out.splitlines()[1:])) <= 100


def test_without_a_file_it_says_so(scheduler, monkeypatch, tmp_path):
    monkeypatch.delenv("SCHEDULER_CONFIG", raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    said = scheduler("config", "check")
    assert said.code == 0
    path = tmp_path / "gpu-trial-scheduler" / "config.toml"
    assert said.out.startswith(f"there is no {path}: the defaults hold\n")


def test_mistakes_end_with_2(scheduler, file):
    file.write_text('[run]\nreserv = "1GiB"\n[atempts]\n')
    said = scheduler("config", "check")
    assert (said.code, said.out) == (2, "")
    assert said.err == (
        "2 mistakes in the configuration:\n"
        f'  {file}, line 3: atempts is not a section that is known; wanted: "attempts"?\n'
        f'  {file}, line 2: run.reserv is not a key that is known; wanted: "reserve"?\n'
    )


def test_json(scheduler, file):
    file.write_text('[run]\nreserve = "1GiB"\n')
    found = json.loads(scheduler("config", "check", "--json").out)
    assert (found["right"], found["path"], found["found"]) == (True, str(file), True)
    assert {
        "key": "run.reserve", "value": "1GiB", "origin": f"the file {file}", "unset": None
    } in found["values"]  # fmt: skip
    file.write_text("[run]\nreserve = false\n")
    said = scheduler("config", "check", "--json")
    assert said.code == 2
    (problem,) = json.loads(said.out)["problems"]
    assert (problem["key"], problem["line"]) == ("run.reserve", 2)


def test_secrets_are_not_shown(scheduler, file):
    file.write_text('[notify]\nurls = ["discord://1234/t0ken", "json://u:t0ken@nas:81/t0ken"]')
    for arguments in ((), ("--json",)):
        said = scheduler("config", "check", *arguments)
        assert "t0ken" not in said.out + said.err
        assert "json://nas:81/***" in said.out


def test_what_is_right_and_will_not_work_is_warned_of(scheduler, file):
    pytest.importorskip("apprise")
    file.write_text('[notify]\nurls = ["nosuch://t0ken"]\n[devices."0000:ff:1f.7"]\nuse = true\n')
    said = scheduler("config", "check")
    assert said.code == 0
    assert "warning: notify.urls, URL 1: nosuch://*** is no URL that apprise knows" in said.out
    assert "warning: there is no device 0000:ff:1f.7 here; there are: " in said.out


def test_the_document_is_up_to_date():
    assert DOCUMENT.read_text() == config_reference.reference(), (
        "run: python -m scheduler.interfaces.config_reference > docs/config.md"
    )


def test_the_documents_examples_are_a_configuration(tmp_path):
    text = config_reference.reference()
    lines = [line.strip() for line in text.splitlines() if line.startswith("    ")]
    example = "\n".join(line for line in lines if not line.startswith("scheduler "))
    path = tmp_path / "config.toml"
    path.write_text(example)
    path.chmod(0o600)
    found = load(path, {})
    assert set(found.origins.values()) == {f"the file {path}"}
    assert set(tomllib.loads(example)) == set(SECTIONS)
