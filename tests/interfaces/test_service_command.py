"""``scheduler service``: the unit, and what is said where there is no systemd to talk to."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from scheduler.interfaces.service import NAME, unit_path, unit_text
from scheduler.machine.state import StateFolder

Scheduler = Callable[..., Any]


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home without a running systemd."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "none"))
    return tmp_path


def test_installed_and_removed_again(scheduler: Scheduler, state: StateFolder) -> None:
    said = scheduler("service", "install")
    assert said.code == 0
    assert f"wrote {unit_path()}" in said.out
    assert f"systemctl --user enable --now {NAME}" in said.out
    assert "loginctl enable-linger" in said.out
    text = unit_path().read_text()
    assert f'Environment="SCHEDULER_STATE_DIR={state.path}"' in text
    for line in ("Type=notify", "KillMode=process", "OOMPolicy=continue"):
        assert f"\n{line}\n" in text
    said = scheduler("service", "uninstall")
    assert said.code == 0
    assert f"systemctl --user disable --now {NAME}" in said.out
    assert not unit_path().exists()
    assert "nothing to do" in scheduler("service", "uninstall").out


def test_a_folder_that_cannot_be_written_is_told(scheduler: Scheduler, home: Path) -> None:
    (home / "config").touch()
    said = scheduler("service", "install")
    assert said.code == 1
    assert "scheduler.service cannot be written: " in said.err


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="no systemd-analyze here")
@pytest.mark.parametrize("path", ["/usr/bin/env", "/tmp/a b/%i $HOME \"x\" 'y' \\z"])
def test_systemd_takes_it(tmp_path: Path, path: str) -> None:
    """Names with spaces, specifiers and quotes too; that the program is not there is another
    matter."""
    unit = tmp_path / NAME
    unit.write_text(unit_text("/usr/bin/env", {"SCHEDULER_STATE_DIR": path, "NONE": None}))
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", str(unit)], capture_output=True, text=True
    )
    assert NAME not in done.stderr, done.stderr
    assert done.returncode == 0, done.stderr


def test_a_python_with_odd_letters_stays_one_word() -> None:
    assert 'ExecStart="/a b/100%%/$$x/\\"q\\"" -P -m' in unit_text('/a b/100%/$x/"q"', {})
