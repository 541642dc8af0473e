"""What a run tells the outside: its status file and one line of progress on the terminal.

Not here: Optuna's own log lines, which are printed as ever.
"""

from __future__ import annotations

import contextlib
import math
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TextIO

import msgspec
from optuna.trial import FrozenTrial, TrialState

from scheduler.core.model import Change
from scheduler.machine import changes
from scheduler.machine.room import disk_allowing
from scheduler.machine.runs import Best, LiveTrial, RunStatus, write_whole
from scheduler.machine.sizes import format_duration
from scheduler.study.keeping.record import CAPACITY, KNOWN, PUT_BACK, UNRUN, WITHDRAWN
from scheduler.study.wall_clock import WallClock

WRITE_EVERY_S = 0.5
SAY_EVERY_S = 30.0  #: where the progress line cannot be drawn over itself
CHANGES_KEPT = 200
TIMES_KEPT = 256  #: of trials' ends and durations


class Board:
    """Holds the status, writes it when it has changed, draws the progress line."""

    def __init__(
        self,
        path: Path,
        status: RunStatus,
        terminal: TextIO = sys.stderr,
        clock: WallClock | None = None,
    ) -> None:
        self.status = status
        self._path = path
        self._terminal = terminal
        self._clock = clock or WallClock()
        self._began_s: dict[int, float] = {}  #: of those that run, by Optuna's number; steady
        self._live = terminal.isatty()
        self._unrecorded: list[Change] = []  #: that the record of changes has not taken yet
        self._drawn = False
        self._dirty = True
        self._written_s = 0.0
        self._said_s = time.monotonic()
        self._said = ""
        #: Asked when the status is written, so that no report pays for it.
        self.live: Callable[[], dict[str, LiveTrial]] | None = None

    def set(self, **fields: Any) -> None:
        """Change fields of the status."""
        if "running" in fields:
            now_s = self._clock.steady_s()
            numbers = fields["running"].values()
            self._began_s = {number: self._began_s.get(number, now_s) for number in numbers}
        changed = msgspec.structs.replace(self.status, **fields)
        if changed != self.status:
            self.status = changed
            self._dirty = True

    def count(self, trial: FrozenTrial) -> None:
        """Count a trial that has reached a final state, or an attempt that was put back."""
        field = counted_as(trial)
        if field is None:
            return
        self._follow_clock()
        now = self.status
        counted: dict[str, Any] = {field: getattr(now, field) + 1}
        if counts_as_done(trial):
            counted["finished_at_s"] = (*now.finished_at_s, time.time())[-TIMES_KEPT:]
            took_s = self._took_s(trial)
            if took_s is not None:
                counted["durations_s"] = (*now.durations_s, took_s)[-TIMES_KEPT:]
        self.set(**counted)

    def _took_s(self, trial: FrozenTrial) -> float | None:
        """As ``duration_s``, by a clock that nobody sets where the trial was seen to run.

        The story this prevents: 1. two trials run for a minute, 2. the clock is put right by five
        hours, 3. both have taken five hours, and the run seems to need a month.
        """
        took_s, began_s = duration_s(trial), self._began_s.get(trial.number)
        return took_s if took_s is None or began_s is None else self._clock.steady_s() - began_s

    def _follow_clock(self) -> None:
        """Moves what is remembered along with a clock that was set."""
        step_s = self._clock.set_by_s()
        if not step_s:
            return
        began_s = self.status.started_at_s
        self.set(
            started_at_s=None if began_s is None else began_s + step_s,
            finished_at_s=tuple(at_s + step_s for at_s in self.status.finished_at_s),
        )

    def started(self) -> None:
        """An attempt starts; the first one of this life is when the pace begins to count."""
        self.set(hold=None)
        if self.status.started_at_s is None:
            self.set(started_at_s=time.time())

    def note(self, change: Change) -> None:
        """Write *change* down for good, and show it among the latest."""
        self._unrecorded.append(change)
        self._record()
        self.set(changes=(*self.status.changes, change)[-CHANGES_KEPT:])

    def _record(self) -> None:
        """What a full disk does not take is tried again with the next status."""
        with contextlib.suppress(OSError):
            while self._unrecorded:
                changes.append(self._path.parent, self._unrecorded[0])
                del self._unrecorded[0]

    def warn(self, text: str) -> None:
        """Say *text* once, on the terminal and in the status."""
        if text not in self.status.warnings:
            self.say(f"scheduler: {text}")
            self.set(warnings=(*self.status.warnings, text))

    def say(self, text: str) -> None:
        """Print a line of ours above the progress line."""
        self.clear()
        self._print(text)

    def refresh(self) -> None:
        """Write and draw what has changed, if it is time."""
        self._follow_clock()
        now_s = time.monotonic()
        if now_s - self._written_s >= WRITE_EVERY_S:
            self.write()
        if self._live:
            self._draw()
        elif now_s - self._said_s >= SAY_EVERY_S:
            self._say_progress(now_s)

    def write(self) -> None:
        """Write the status file now, if anything has changed and the disk takes it."""
        if self.live is not None:
            self.set(live=self.live())
        self._record()
        if self._dirty:
            self.set(updated_at_s=time.time())
            self._written_s = time.monotonic()
            with disk_allowing():
                write_whole(self._path, self.status)
                self._dirty = False

    def conclude(self) -> None:
        """Leave the last word of the progress line where the script's own lines go on."""
        self.say(progress_line(self.status, time.time()))
        if self.status.pruning is not None and self.status.pruning.sentence:
            self.say(f"scheduler: {self.status.pruning.sentence}")
        self.write()

    def clear(self) -> None:
        """Make room for a line of somebody else's."""
        if self._drawn:
            self._print("\r\x1b[K", end="")
            self._drawn = False

    def _draw(self) -> None:
        line = progress_line(self.status, time.time())
        if line != self._said or not self._drawn:
            self._print(f"\r\x1b[K{line}", end="")
            self._said, self._drawn = line, True

    def _say_progress(self, now_s: float) -> None:
        line = progress_line(self.status, time.time())
        if line != self._said:
            self._print(line)
        self._said, self._said_s = line, now_s

    def _print(self, text: str, end: str = "\n") -> None:
        with disk_allowing():
            print(text, end=end, file=self._terminal, flush=True)


def counted_as(trial: FrozenTrial) -> str | None:
    """The field of RunStatus that counts *trial*; None while it is not finished, or withdrawn."""
    if WITHDRAWN in trial.system_attrs:
        return None
    if trial.state == TrialState.COMPLETE:
        return "complete"
    if trial.state == TrialState.PRUNED and UNRUN in trial.system_attrs:
        return "unrun"
    if trial.state == TrialState.PRUNED:
        return "capacity" if CAPACITY in trial.system_attrs else "pruned"
    if trial.state == TrialState.FAIL:
        return "retried" if PUT_BACK in trial.system_attrs else "failed"
    return None


def counts_as_done(trial: FrozenTrial) -> bool:
    """It is one of the run's trials, and over."""
    return counted_as(trial) not in (None, "retried", "unrun")


def finished_at_s(trial: FrozenTrial) -> float | None:
    """When *trial* came to its final state; None before that. Optuna keeps local times."""
    return None if trial.datetime_complete is None else trial.datetime_complete.timestamp()


def duration_s(trial: FrozenTrial) -> float | None:
    """How long the last attempt of *trial* took; None unless it is COMPLETE or PRUNED by itself."""
    if counted_as(trial) not in ("complete", "pruned") or trial.duration is None:
        return None
    return trial.duration.total_seconds()


def progress_line(status: RunStatus, now_s: float) -> str:
    """`[12/400] 3 running, best 0.123 (trial 7), 4 pruned, 1 came back, 2 h 10 min left`"""
    done = status.complete + status.pruned + status.failed + status.capacity
    parts = [f"{len(status.running)} running"] if status.running else []
    if status.best is not None:
        known = ", known before" if status.best.known_from is not None else ""
        parts.append(f"best {status.best.value:.6g} (trial {status.best.number}{known})")
    named = (
        (status.pruned, "pruned"),
        (status.failed, "failed"),
        (status.capacity, "too big for the device"),
        (status.retried, "came back"),
        (status.unrun, "answered without running"),
    )
    parts += [f"{count} {name}" for count, name in named if count]
    left = time_left_s(status, done, now_s) if status.state == "running" else None
    if left:
        parts.append(f"about {format_duration(left)} left")
    if not status.running and status.hold:
        parts.append(status.hold)
    total = "" if status.n_trials is None else f"/{status.n_trials}"
    return f"[{done}{total}] {', '.join(parts) or status.state}"


def time_left_s(status: RunStatus, done: int, now_s: float) -> float | None:
    """By the pace of this life of the run; None before three trials are done or without an end."""
    here = done - status.done_before
    ends = status.budget is not None and status.budget.ends is not None
    if ends or status.n_trials is None or status.started_at_s is None or here < 3:
        return None
    return (now_s - status.started_at_s) / here * max(0, status.n_trials - done)


def best_of(study: Any) -> Best | None:
    """The best trial; None before there is one, with several objectives, or if it is infinite."""
    try:
        trial = study.best_trial
    except (ValueError, RuntimeError):
        return None
    if not math.isfinite(trial.value):
        return None  # JSON has no such number
    return Best(
        number=trial.number,
        value=trial.value,
        params=msgspec.to_builtins(trial.params, enc_hook=repr),
        at_s=finished_at_s(trial),
        known_from=known_from(trial),
    )


def known_from(trial: FrozenTrial) -> str | None:
    """The study whose result it is; None: this one's own."""
    mark = trial.system_attrs.get(KNOWN)
    return None if mark is None else str(mark["name"])
