"""Run an Optuna script's trials side by side, as many as the device's measured memory allows.

A script needs nothing of this to run. What it may use, so that a trial that is stopped can go on
later where it was:

    checkpoint_dir()   a folder of the trial's own, the same for all its attempts
    Stopped            raised in an objective whose attempt is told to end

Importing this costs nothing: what it needs is imported when it is called.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["Stopped", "checkpoint_dir"]


class Stopped(SystemExit):
    """Raised once in an objective's main thread, by SIGTERM: the trial comes back later.

    ``finally`` and ``with`` have until the grace time is over (30 s unless configured) to save
    what the next attempt is to find in ``checkpoint_dir()``; then the process is killed. It is a
    ``SystemExit``, so that ``except Exception`` lets it pass. An objective that catches it and
    returns a value ends the trial with that value.

    An objective that sets its own handler for SIGTERM gets that instead. Objectives that do not
    run in the main thread end at once.
    """


def checkpoint_dir() -> Path:
    """A folder in which the current trial keeps what its next attempt needs.

    Under ``scheduler run`` it is the same for all attempts of a trial and empty for the first. It
    is readable by its user only, and removed when the trial has its final outcome: what is to stay
    must be copied elsewhere. Write to another name there and rename, so that a kill leaves no half
    of a file:

        def objective(trial):
            path = scheduler.checkpoint_dir() / "last.pt"
            state = torch.load(path) if path.exists() else start(trial)
            for step in range(state["step"], STEPS):
                ...
                torch.save(state, path.with_suffix(".part"))
                path.with_suffix(".part").replace(path)

    Under plain Python it is a temporary folder of the running trial, gone when the process ends,
    so that the same script runs unchanged; where no trial of Optuna's is on the stack it is a new
    one for each call.

    Raises RuntimeError under ``scheduler run`` outside of an objective: there is no trial.
    """
    from scheduler.study import checkpoints

    return checkpoints.folder()
