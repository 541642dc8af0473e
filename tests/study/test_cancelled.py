"""A run that is cancelled keeps nothing for trials that will not come back."""

from __future__ import annotations

import pytest
from script_runs import Runner

pytestmark = pytest.mark.processes

SAVES = """
    import pathlib, time
    import optuna, scheduler

    def objective(trial):
        (scheduler.checkpoint_dir() / "last.pt").touch()
        pathlib.Path("saved").touch()
        while True:
            time.sleep(0.01)

    optuna.create_study().optimize(objective, n_trials=1)
"""


def test_its_checkpoints_are_removed_by_its_host(scripts: Runner) -> None:
    """Interrupted, it would keep them: see ``test_checkpoints``."""
    going = scripts.begin(SAVES)
    going.wait_for_files("saved")
    (run,) = (path.name for path in (scripts.state / "runs").iterdir())
    done = scripts.command("cancel", run)
    assert done.returncode == 0, done.stderr
    result = going.wait()
    assert result.status.state == "cancelled"
    assert not (scripts.state / "runs" / run / "checkpoints").exists()
