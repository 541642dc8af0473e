"""One attempt, from the line of ``optimize`` to the end of its process.

The same for a forked attempt and for a script that was run again. Not here: how the process came
to be (``template``, ``rerun``) and what the host does with what it hears (``serve``).
"""

from __future__ import annotations

import os
import pickle
import signal
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NoReturn

import msgspec
import optuna

from scheduler import Stopped
from scheduler.machine.room import insist, is_disks, obstacle, wait_for_room
from scheduler.study import inside
from scheduler.study.attempt import stopping
from scheduler.study.attempt.own_peak import OwnPeak
from scheduler.study.attempt.prepare import leave, prepare
from scheduler.study.attempt.standins import StandInPruner, StandInSampler, StandInStorage
from scheduler.study.channel import Go, HostGone, Line
from scheduler.study.keeping import outcome
from scheduler.study.keeping.record import WARM
from scheduler.study.offered import reporting

Objective = Callable[[optuna.Trial], Any]


def run(
    line: Line,
    go: Go,
    objective: Objective,
    catch: tuple[type[Exception], ...],
    studies: list[optuna.Study],
) -> NoReturn:
    """Run the objective once and end the process. *studies* are the script's, in their order."""
    code = 1
    try:
        insist(lambda: redirect_output(go.log), Path(go.log).parent)
        prepare(go)
        study = attach(line, go, studies)
        code = _run(line, go, objective, catch, study)
    except HostGone:
        pass  # nobody is left to hear it; the host's resume puts the trial back
    except BaseException:
        sys.excepthook(*sys.exc_info())
    leave(code)


def redirect_output(log: str) -> None:
    """Standard output and error go to the attempt's log; there is nothing to read from."""
    sys.stdout.flush()
    sys.stderr.flush()
    file = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.dup2(file, 1)
    os.dup2(file, 2)
    os.close(nothing)
    os.close(file)


def attach(line: Line, go: Go, studies: list[optuna.Study]) -> optuna.Study:
    """Put every study of the script on stand-ins; returns the one that is optimized."""
    for handle in go.studies:
        if handle.index < len(studies):
            storage = StandInStorage(line, handle.index)
            inside.put_on_storage(studies[handle.index], storage, handle.study_id, handle.name)
    study = studies[go.study]
    study.sampler = StandInSampler(line, go)
    study.pruner = StandInPruner(line)
    inside.set_in_optimize_loop(study, True)
    inside.set_stop_flag(study, False)
    return study


def _run(
    line: Line,
    go: Go,
    objective: Objective,
    catch: tuple[type[Exception], ...],
    study: optuna.Study,
) -> int:
    """The exit code; below zero for the signal to end by."""
    storage = inside.storage_of(study)
    assert isinstance(storage, StandInStorage)
    storage.know(go.trial)
    trial = optuna.Trial(study, inside.trial_id_of(go.trial))
    if WARM in go.trial.system_attrs:
        inside.choose_fixed(trial, partial(line.ask, "setting"))
    reporting.begin(trial)
    peak = OwnPeak(on_host=go.on_host)
    error: BaseException | None = None
    try:
        with stopping.raised_in_objective():
            value = objective(trial)
        result = outcome.returned(trial.number, value)
    except HostGone:
        raise
    except BaseException as raised:
        error, folder = raised, Path(go.outcome).parent
        if is_disks(raised) and obstacle(folder) is not None:
            wait_for_room(folder)
            return -signal.SIGTERM  # no fault of its own: no outcome, it comes back
        result = outcome.raised(trial.number, raised, catch)
        if result.state == "failed" and not isinstance(raised, Stopped):
            print(result.traceback, file=sys.stderr, end="")
        if result.state == "failed" and stopping.was_received():
            return -signal.SIGTERM  # whatever went wrong while it saved: no outcome, it comes back
    result = msgspec.structs.replace(result, peak_bytes=peak.read())
    insist(lambda: outcome.write_down(result, Path(go.outcome)), Path(go.outcome).parent)
    line.ask("finish", result, _pickled(error))
    stopping.end_at_once()
    return 0 if result.state != "failed" else 1


def _pickled(error: BaseException | None) -> bytes | None:
    """For the host to raise again; None where an exception cannot travel.

    One that claims to be of a module that is not loaded would have pickle load it.
    """
    if type(error).__module__ not in sys.modules:
        return None
    try:
        text = pickle.dumps(error)
        pickle.loads(text)
    except Exception:
        return None
    return text
