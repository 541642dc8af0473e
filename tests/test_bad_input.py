"""Bad input to the real command, with this machine as it is: one sentence, exit code 2.

The rest of what can be asked wrongly is in ``tests/interfaces/test_run_command.py``; what a script
does wrong by itself is in ``tests/study/test_scripts.py``.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from script_runs import VARIABLE, Result, Runner

pytestmark = pytest.mark.processes

OBJECTIVE = """
    from pathlib import Path

    def objective(trial):
        Path("ran").touch()
        return 0
"""


def refused(result: Result) -> str:
    """What was said, in a sentence of ours."""
    assert result.code == 2, str(result)
    assert "Traceback" not in result.err
    assert result.out == ""
    return result.err


@pytest.mark.parametrize(
    ("storage", "seen"),
    [
        ("sqlite:////no/such/folder/s.db", "unable to open database file"),
        ("study.db", "Could not parse"),
        ("redis://here", "RedisStorage is removed"),
        ("nosuch://me:secret@here/s", "nosuch://me:***@here/s"),
    ],
)
def test_a_storage_that_cannot_be_opened(run_script: Runner, storage: str, seen: str) -> None:
    """Given on the command line, it is the command line's fault: no traceback, nothing run."""
    run_script.write(OBJECTIVE, "training.py")
    options = ("--storage", storage, "--n-trials", "3")
    result = run_script(None, *options, target="training:objective")
    said = refused(result)
    assert "the storage " in said
    assert "cannot be opened" in said
    assert seen in said
    assert "such as sqlite:///study.db" in said
    assert "secret" not in said
    assert list((run_script.state / "runs").iterdir()) == []
    assert list(run_script.own.glob("*.db")) == []
    assert not (run_script.own / "ran").exists()


def test_more_memory_than_this_machine_has(run_script: Runner) -> None:
    """What was asked for, and what each device has."""
    said = refused(run_script("", "--device", "host", "--memory-per-trial", "90000GiB"))
    assert "a trial is to get 90000.0 GiB, and host has" in said
    assert "kept free" in said
    assert not run_script.state.exists()


def test_a_device_that_is_not_here(run_script: Runner) -> None:
    """The message lists those that are."""
    said = refused(run_script("", "--device", "0000:ff:1f.7"))
    assert "there is no device '0000:ff:1f.7' here" in said
    assert "host (host RAM)" in said
    assert not run_script.state.exists()


@pytest.mark.parametrize("where", ["/proc/nowhere/state", "/dev/null", "/dev/null/state"])
def test_a_state_folder_that_cannot_be(run_script: Runner, where: str) -> None:
    """Nobody can make it, root included: which it is, and how to name another."""
    said = refused(run_script("", environment={VARIABLE: where}))
    assert where in said
    assert f"Set {VARIABLE} to another folder" in said


def test_an_optuna_that_is_too_old(run_script: Runner, tmp_path: Path) -> None:
    """It is not even imported; which is needed, and how this Python gets it."""
    site = tmp_path / "site"
    (site / "optuna").mkdir(parents=True)
    (site / "optuna/__init__.py").write_text("raise AssertionError('it was imported')")
    (site / "optuna-4.6.0.dist-info").mkdir()
    metadata = "Metadata-Version: 2.1\nName: optuna\nVersion: 4.6.0\n"
    (site / "optuna-4.6.0.dist-info/METADATA").write_text(metadata)
    said = refused(run_script("", environment={"PYTHONPATH": str(site)}))
    assert "Optuna 4.6.0 is too old; 5.0 or later is needed" in said
    assert "-m pip install 'optuna>=5.0'" in said
    assert not run_script.state.exists()
