"""Run an Optuna script's trials side by side, as many as the device's measured memory allows.

A script needs nothing of this to run. What it may use, so that a trial that is stopped can go on
later where it was:

    checkpoint_dir()   a folder of the trial's own, the same for all its attempts
    Stopped            raised in an objective whose attempt is told to end

and anywhere under its objective, without passing ``trial`` around:

    report(value, step)  as ``trial.report``
    should_prune()       as ``trial.should_prune``
    Rolling              a statistic of a loop's last values, reported when it is defined
    RollingSharpe        mean over standard deviation of the last episodes' rewards

Importing this costs nothing: what it needs is imported when it is called.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

    from scheduler.study.offered.rolling import Rolling, RollingSharpe

__all__ = ["Rolling", "RollingSharpe", "Stopped", "checkpoint_dir", "report", "should_prune"]


def __getattr__(name: str) -> Any:
    if name in ("Rolling", "RollingSharpe"):
        from scheduler.study.offered import rolling

        return getattr(rolling, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


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
    from scheduler.study.offered import checkpoints

    return checkpoints.folder()


def report(value: float, step: int | None = None) -> None:
    """Report an intermediate value of the trial that this code runs for, as ``trial.report`` does.

    It works in any function and any thread that the objective calls, in an attempt and under
    plain Python, and needs no ``trial``. A study that the objective runs itself gets what its own
    objective reports. *step* None: one more than the largest that the trial has reported, 0 at
    first. A trial that goes on from a checkpoint counts from 0 again, so give the step there. A
    step that was reported already is ignored with a warning, as ever.

        def train(model, epochs):
            for epoch in range(epochs):
                scheduler.report(one_epoch(model), epoch)
                if scheduler.should_prune():
                    raise optuna.TrialPruned

    Raises RuntimeError where there is no trial, and in processes that the objective has started
    (data loaders' workers, ranks), and what ``trial.report`` raises.
    """
    from scheduler.study.offered import reporting

    reporting.report(value, step)


def should_prune() -> bool:
    """Whether the trial that this code runs for should end here; raise ``optuna.TrialPruned`` then.

    As ``trial.should_prune``; where it finds the trial, and what it raises, is as for ``report``.
    """
    from scheduler.study.offered import reporting

    return reporting.should_prune()
