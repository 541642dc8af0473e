"""What the core decided, as entries for the chronicle. Pure.

The reasons are the core's own words (``core.reasons``); here is only who it happened to.
"""

from __future__ import annotations

from scheduler.core.actions import Action, Halt, Hold, Note, Refuse, Settle, Start, Stop
from scheduler.core.model import Change, Trial
from scheduler.machine.chronicle.entries import Draft, Kind

#: Changes that come with a Stop or a Settle, which say the same.
_SAID_BESIDE = frozenset({"stopped", "capacity"})
_WORDS = {"concurrency": "at once", "fault": "GPU fault"}


def entries_of(action: Action) -> tuple[Draft, ...]:
    """What people are told of *action*; nothing where another action says it."""
    match action:
        case Start():
            return (_started(action),)
        case Hold(run=run, trial=number, because=because):
            text = f"trial {number} of {run} does not start yet: {because}"
            return (Draft(kind="trial", what="held", text=text, run=run, trial=number),)
        case Refuse(run=run, trial=number, because=because):
            text = f"trial {number} of {run} is too big, and is not tried: {because}"
            return (Draft(kind="trial", what="too big", text=text, run=run, trial=number),)
        case Stop(attempt=attempt, because=because):
            text = f"{_name(attempt.trial)} is stopped on {attempt.device}: {because}"
            return (_of_trial(attempt.trial, attempt.device, "stopped", text),)
        case Settle():
            return (_settled(action),)
        case Halt(run=run, because=because):
            text = f"{run} starts no more trials: {because}"
            return (Draft(kind="run", what="halted", text=text, run=run),)
        case Note(change=change):
            return () if change.what in _SAID_BESIDE else (_changed(change),)
    return ()


def _started(start: Start) -> Draft:
    trial, device = start.attempt.trial, start.attempt.device
    again = f", attempt {trial.attempts + 1}" if trial.attempts else ""
    text = f"{_name(trial)} is started on {device}{again}: {start.because}"
    return _of_trial(trial, device, "started", text)


def _settled(settle: Settle) -> Draft:
    trial, device = settle.attempt.trial, settle.attempt.device
    because = settle.verdict.because
    match settle.settlement:
        case "done" if settle.verdict.kind == "finished":
            return _of_trial(trial, device, "finished", f"{_name(trial)} is finished: {because}")
        case "again":
            return _of_trial(trial, device, "put back", f"{_name(trial)} is put back: {because}")
        case "capacity":
            text = f"{_name(trial)} is too big for {device}: {because}"
            return _of_trial(trial, device, "too big", text)
        case _:
            return _of_trial(trial, device, "failed", f"{_name(trial)} has failed: {because}")


def _changed(change: Change) -> Draft:
    about = "" if change.run is None else f" for {change.run}"
    if change.trial is not None:
        about = f" for trial {change.trial} of {change.run}"
    kind: Kind = "change"
    what = _WORDS.get(change.what, change.what)
    text = f"{what} on {change.device}{about}: {change.before} -> {change.after}"
    if change.what == "service":
        kind, what = "device", change.after
        text = f"{change.device} is {change.after}{about}"
    return Draft(
        kind=kind,
        what=what,
        text=f"{text}: {change.because}",
        run=change.run,
        trial=change.trial,
        device=change.device,
    )


def _of_trial(trial: Trial, device: str, what: str, text: str) -> Draft:
    return Draft(
        kind="trial", what=what, text=text, run=trial.run, trial=trial.number, device=device
    )


def _name(trial: Trial) -> str:
    return f"trial {trial.number} of {trial.run}"
