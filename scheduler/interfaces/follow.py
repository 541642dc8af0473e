"""Shows a run that the supervisor keeps, as if it ran here: its output, its exit code, Ctrl-C.

Nothing of the run depends on it: closing the terminal leaves the run as it is.
"""

from __future__ import annotations

import signal
import sys
import time
from pathlib import Path
from types import FrameType
from typing import BinaryIO

import click

from scheduler.interfaces.client import NoAnswer, Refused, order
from scheduler.machine import hosts
from scheduler.machine.hosts import OUTPUT
from scheduler.machine.runs import FINAL, RunStatus, State
from scheduler.machine.state import StateFolder
from scheduler.machine.summon import is_listening

_POLL_S = 0.1
_FLUSH_S = 5.0  #: a host that has written its last status has so long to end
_MISSED_S = 15.0  #: hosts start a new supervisor themselves; a queued run cannot
_QUEUED_S = 0.5  #: a run that waits for less is not worth a word
_CODES: dict[State, int] = {"finished": 0, "interrupted": 130, "cancelled": 131}


def follow(state: StateFolder, run: str, from_byte: int = 0) -> int:
    """Prints what the run's hosts print from *from_byte* on until it is over; its exit code."""
    follower = _Follower(state, run)
    before = signal.signal(signal.SIGINT, follower.interrupted)
    try:
        return follower.show(from_byte)
    finally:
        signal.signal(signal.SIGINT, before)


class _Follower:
    def __init__(self, state: StateFolder, run: str) -> None:
        self._state = state
        self._run = run
        self._folder: Path = state.run(run)
        self._since_s = time.monotonic()
        self._said = ""
        self._answered_s = time.monotonic()
        self._asked_s = 0.0
        self._pressed = 0  #: Ctrl-C
        self._passed_on = 0

    def interrupted(self, number: int, frame: FrameType | None) -> None:
        self._pressed += 1

    def show(self, from_byte: int) -> int:
        with open(self._folder / OUTPUT, "ab"):  # there before its first host is
            pass
        with open(self._folder / OUTPUT, "rb") as output:
            output.seek(from_byte)
            while True:
                status = hosts.read_status(self._state, self._run)
                _print(output)
                if status is not None and status.state in FINAL:
                    return self._conclude(status, output)
                if self._passed_on < self._pressed and not self._interrupt():
                    return 130
                if status is not None and not self._is_served(status):
                    return 1
                time.sleep(_POLL_S)

    def _conclude(self, status: RunStatus, output: BinaryIO) -> int:
        deadline_s = time.monotonic() + _FLUSH_S
        while hosts.host_of(self._folder) is not None and time.monotonic() < deadline_s:
            time.sleep(_POLL_S / 5)
        _print(output)
        if status.exit_code is not None:
            return status.exit_code
        if status.error is not None:
            click.echo(f"Error: run {self._run} is {status.state}: {status.error}", err=True)
        return _CODES.get(status.state, 1)

    def _interrupt(self) -> bool:
        """Passes one Ctrl-C on; False where the user has had enough of waiting."""
        self._passed_on += 1
        if self._passed_on > 2:
            self._say(f"run {self._run} is still ending; see: scheduler status")
            return False
        try:
            order(self._state, f"/v1/runs/{self._run}/interrupt")
        except (Refused, NoAnswer) as error:
            self._say(str(error))
        return True

    def _is_served(self, status: RunStatus) -> bool:
        """Whether somebody sees to the run; says what it waits for."""
        if status.state != "queued":
            self._since_s = self._answered_s = time.monotonic()
            return True
        now_s = time.monotonic()
        if status.hold and now_s - self._since_s > _QUEUED_S and status.hold != self._said:
            self._said = status.hold
            self._say(f"run {self._run} waits: {status.hold}")
        if now_s - self._asked_s > 1.0:
            self._asked_s = now_s
            if is_listening(self._state):
                self._answered_s = now_s
        is_stopped = not self._state.lasting.exists() and self._answered_s < self._asked_s
        if is_stopped or now_s - self._answered_s > _MISSED_S:
            how = "it goes on with: scheduler start"
            self._say(f"the supervisor has ended, run {self._run} is in its queue; {how}")
            return False
        return True

    def _say(self, text: str) -> None:
        click.echo(f"scheduler: {text}", err=True)


def _print(output: BinaryIO) -> None:
    while part := output.read(1 << 16):
        sys.stdout.buffer.write(part)
    sys.stdout.buffer.flush()
