"""``scheduler.report`` and ``scheduler.should_prune``: no ``trial`` has to be passed around.

In an attempt its trial is known to all threads. Under plain Python it is looked for on the stack.
Imports neither Optuna nor anything else that takes time.
"""

from __future__ import annotations

import os
import threading
from typing import Any

from scheduler.study.offered import current

_attempts: Any = None  #: the trial of the attempt that this process is
_pid = 0  #: the process that it belongs to, not one that the objective has forked
_turn = threading.RLock()  #: between a trial's last step and its next; a signal may come between


def begin(trial: Any) -> None:
    """This process runs *trial*, an ``optuna.Trial``, from now on."""
    global _attempts, _pid
    _attempts, _pid = trial, os.getpid()


def report(value: float, step: int | None) -> None:
    """See ``scheduler.report``."""
    trial = _trial("report")
    with _turn:
        if step is None:
            last = current.last_step(trial)
            step = 0 if last is None else last + 1
        trial.report(value, step)


def should_prune() -> bool:
    """See ``scheduler.should_prune``."""
    return bool(_trial("should_prune").should_prune())


def _trial(asked: str) -> Any:
    """An objective may run a study of its own, so the nearest on the stack comes first."""
    if _attempts is not None and os.getpid() != _pid:
        raise RuntimeError(
            f"scheduler.{asked}() was called in a process that the objective has started; only the "
            "objective's own process can speak for its trial, so hand the value over to it"
        )
    found = current.trial_on_the_stack() or _attempts or current.stored_trial_on_the_stack()
    if found is None:
        found = current.trial_of_other_threads()
    if found is None:
        raise RuntimeError(
            f"scheduler.{asked}() found no trial here; call it inside the objective, in its own "
            "process. Where several trials run in threads of one process (n_jobs), call it in the "
            "thread of the objective, or use trial.report and trial.should_prune"
        )
    return found
