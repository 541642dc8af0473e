"""Finding the supervisor, or starting one in the background. Not here: what it is (``daemon``)."""

from __future__ import annotations

import fcntl
import os
import select
import subprocess
import sys
import time
from typing import TextIO

from scheduler.core.model import Process
from scheduler.machine import processes
from scheduler.machine import state as folder
from scheduler.machine.state import StateFolder

TRIES = 3  #: one that is killed while it starts is no reason to give up a run
_LOG_BYTES = 10 << 20


class NoSupervisor(Exception):
    """None could be reached or started. Takes the reason and the end of the supervisor's log."""

    def __init__(self, because: str, log: str, tail: str) -> None:
        super().__init__(because, log, tail)

    def __str__(self) -> str:
        because, log, tail = self.args
        said = f"it said:\n{tail}" if tail else "it said nothing"
        return f"no supervisor could be started: {because}; {said}\n(the whole of it is in {log})"


def ensure_supervisor(
    state: StateFolder, timeout_s: float = 15.0, *, lasting: bool = False
) -> None:
    """Finds the supervisor or starts one in the background; returns when it can be talked to.

    *lasting*: one that is started stays. One that is there is left as it is.

    Two callers at once are fine: the lock decides whose supervisor stays, and both find that one.
    One that nobody connects to leaves again, so call this just before connecting. Raises
    NoSupervisor.
    """
    if is_listening(state):
        return
    deadline_s = time.monotonic() + timeout_s
    _start(state, deadline_s, lasting)
    tries = 1
    while not is_listening(state):
        if not _is_locked(state):
            if tries == TRIES:
                raise NoSupervisor("it ended at once", str(state.log), _tail(state))
            tries += 1
            _start(state, deadline_s, lasting)
        if time.monotonic() > deadline_s:
            because = f"it does not answer after {timeout_s:.0f} s"
            raise NoSupervisor(because, str(state.log), _tail(state))
        time.sleep(0.05)


def is_listening(state: StateFolder) -> bool:
    try:
        folder.connect(state, folder.CONTROL, 1.0).close()
        folder.connect(state, folder.HOSTS, 1.0).close()
    except OSError:
        return False
    return True


def is_lasting(state: StateFolder) -> bool:
    """Whether a supervisor runs that does not leave after its last run."""
    return state.lasting.exists() and is_listening(state)


def supervisor_of(state: StateFolder) -> Process | None:
    """The supervisor that runs, by its lock."""
    try:
        text = state.lock.read_text(encoding="ascii").strip()
    except (OSError, UnicodeError):
        return None
    if not text.isdigit() or not _is_locked(state):
        return None
    return processes.identify(int(text))


def replace_supervisor(state: StateFolder, timeout_s: float = 15.0) -> None:
    """Starts a lasting supervisor in the place of the one that runs, if one does.

    Hosts and attempts go on meanwhile, and join the new one. Raises NoSupervisor.
    """
    former, deadline_s = supervisor_of(state), time.monotonic() + timeout_s
    _start(state, deadline_s, True, "--instead")
    while (now := supervisor_of(state)) is None or now == former or not is_listening(state):
        if time.monotonic() > deadline_s:
            raise NoSupervisor("the former one is still there", str(state.log), _tail(state))
        time.sleep(0.05)


def _start(state: StateFolder, deadline_s: float, lasting: bool, *more: str) -> None:
    """Starts one and waits until it is ready or gone.

    It inherits a pipe's end: a byte means ready, the end of the file that it is gone. -P keeps a
    ``scheduler.py`` in the folder we are called from out of its imports.
    """
    ready, tell = os.pipe()
    command = [sys.executable, "-P", "-m", "scheduler.daemon", "--background", str(tell), *more]
    command += ["--lasting"] if lasting else []
    try:
        with _open_log(state) as log:
            starter = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd="/",
                env={**os.environ, folder.VARIABLE: str(state.path)},
                start_new_session=True,
                pass_fds=(tell,),
            )
        os.close(tell)
        select.select([ready], [], [], max(0.0, deadline_s - time.monotonic()))
        starter.wait()
    finally:
        os.close(ready)


def _open_log(state: StateFolder) -> TextIO:
    if state.log.exists() and state.log.stat().st_size > _LOG_BYTES:
        state.log.replace(state.log.with_suffix(".old.log"))
    file = os.open(state.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    return open(file, "w", encoding="utf-8")


def _tail(state: StateFolder, lines: int = 15) -> str:
    try:
        text = state.log.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
    return "\n".join(text[-8192:].splitlines()[-lines:])


def _is_locked(state: StateFolder) -> bool:
    with open(state.lock, "ab") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False
