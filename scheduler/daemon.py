"""The supervisor's process: started in the background or by hand, one for each user and machine.

Wires core, loop and machine together. What a run's host does is in ``scheduler.study``.
"""

from __future__ import annotations

import argparse
import fcntl
import logging
import os
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TextIO

from scheduler.machine import state as folder
from scheduler.machine.state import StateError, StateFolder, open_state

if TYPE_CHECKING:
    from scheduler.core.core import Core
    from scheduler.machine.world import World

_log = logging.getLogger(__name__)

LINGER_S = 3.0
_HANDOVER_S = 2.0  #: a supervisor that leaves may hold its lock for so long
_LOG_BYTES = 10 << 20


class NoSupervisor(Exception):
    """None could be reached or started. Takes the reason and the end of the supervisor's log."""

    def __init__(self, because: str, log: str, tail: str) -> None:
        super().__init__(because, log, tail)

    def __str__(self) -> str:
        because, log, tail = self.args
        said = f"it said:\n{tail}" if tail else "it said nothing"
        return f"no supervisor could be started: {because}; {said}\n(the whole of it is in {log})"


def ensure_supervisor(state: StateFolder, timeout_s: float = 15.0) -> None:
    """Finds the supervisor or starts one in the background; returns when it can be talked to.

    Two callers at once are fine: the lock decides whose supervisor stays, and both find that one.
    One that nobody connects to leaves again, so call this just before connecting. Raises
    NoSupervisor.
    """
    if _is_listening(state):
        return
    deadline_s = time.monotonic() + timeout_s
    _start(state, deadline_s)
    while not _is_listening(state):
        if not _is_locked(state):
            raise NoSupervisor("it ended at once", str(state.log), _tail(state))
        if time.monotonic() > deadline_s:
            because = f"it does not answer after {timeout_s:.0f} s"
            raise NoSupervisor(because, str(state.log), _tail(state))
        time.sleep(0.05)


def _is_listening(state: StateFolder) -> bool:
    try:
        folder.connect(state, folder.CONTROL, 1.0).close()
        folder.connect(state, folder.HOSTS, 1.0).close()
    except OSError:
        return False
    return True


def _start(state: StateFolder, deadline_s: float) -> None:
    """Starts one and waits until it is ready or gone.

    It inherits a pipe's end: a byte means ready, the end of the file that it is gone. -P keeps a
    ``scheduler.py`` in the folder we are called from out of its imports.
    """
    ready, tell = os.pipe()
    command = [sys.executable, "-P", "-m", "scheduler.daemon", "--background", str(tell)]
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


def main(arguments: Sequence[str] | None = None) -> int:
    """``python -m scheduler.daemon``. Returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m scheduler.daemon", description=__doc__)
    parser.add_argument("--linger", type=float, default=LINGER_S, metavar="SECONDS")
    parser.add_argument("--background", type=int, metavar="FD", help=argparse.SUPPRESS)
    asked = parser.parse_args(arguments)
    if asked.background is not None and os.fork():
        os._exit(0)  # its caller collects this one; the supervisor is nobody's child
    logging.basicConfig(
        format="%(asctime)s %(process)d %(levelname)s %(message)s", level=logging.INFO
    )
    logging.raiseExceptions = False  # the log may be on a full disk: that is no reason to die
    os.umask(0o077)
    try:
        state = open_state()
    except StateError as error:
        print(f"Error: {error}", file=sys.stderr)
        return 2
    lock = _hold_lock(state)
    if lock is None:
        return 1
    os.chdir("/")
    with lock:
        return _serve(state, asked.linger, lambda: _tell_ready(asked.background))


def _hold_lock(state: StateFolder) -> TextIO | None:
    """None, with a word to the user, where another supervisor runs."""
    lock = open(state.lock, "a+", encoding="ascii")  # noqa: SIM115 - held for our whole life
    deadline_s = time.monotonic() + _HANDOVER_S
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            break
        except BlockingIOError:
            if _is_listening(state) or time.monotonic() > deadline_s:
                pid = state.lock.read_text(encoding="ascii").strip() or "unknown"
                print(f"a supervisor runs already: pid {pid}, in {state.path}", file=sys.stderr)
                return None
        time.sleep(0.05)
    lock.truncate(0)
    lock.write(f"{os.getpid()}\n")
    lock.flush()
    return lock


def _tell_ready(pipe: int | None) -> None:
    if pipe is not None:
        os.write(pipe, b"1")
        os.close(pipe)


def _serve(state: StateFolder, linger_s: float, tell_ready: Callable[[], None]) -> int:
    """Everything between holding the lock and giving it back."""
    from scheduler.machine.budgets import budgets_for, choose_here
    from scheduler.machine.control import Control
    from scheduler.machine.journal import Journal
    from scheduler.machine.world import World

    choice, probes = choose_here()
    core, journal = _recall(state), Journal(state.journal)
    world = World(
        core=core,
        journal=journal,
        state=state,
        listener=folder.listen(state, folder.HOSTS),
        budgets=budgets_for(choice),
        probes=probes,
        linger_s=linger_s,
    )
    control = Control(folder.listen(state, folder.CONTROL), world.answers(choice.left_out))
    _watch_over(world)
    world.start()
    control.start()
    tell_ready()
    _log.info("supervisor of %s, with %s", state.path, [one.key for one in choice.devices])
    try:
        return _run(core, world, journal)
    finally:
        for name in (folder.HOSTS, folder.CONTROL):
            (state.path / name).unlink(missing_ok=True)
        control.close()
        (journal.retire if world.is_idle else journal.close)()
        _log.info("supervisor leaves")


def _recall(state: StateFolder) -> Core:
    """The core as the journal tells it; a new one where the journal cannot be understood."""
    from scheduler.core.core import Core
    from scheduler.machine.journal import replay, set_aside

    core, began_s, number = Core(), time.monotonic(), 0
    try:
        for event in replay(state.journal):
            number += 1
            core.handle(event)
    except Exception:
        # What ended the last supervisor must not end this one too: hosts will tell what runs.
        aside = set_aside(state.journal)
        os.truncate(state.journal, 0)
        _log.exception("event %d of the journal cannot be replayed; moved to %s", number, aside)
        return Core()
    if number:
        _log.info("replayed %d events in %.2f s", number, time.monotonic() - began_s)
    return core


def _watch_over(world: World) -> None:
    """Signals end the supervisor, hosts and attempts go on; a thread's bug ends it as well."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: world.stop())

    def broke(hook: threading.ExceptHookArgs) -> None:
        name = hook.thread.name if hook.thread else "?"
        error: Any = (hook.exc_type, hook.exc_value, hook.exc_traceback)
        _log.critical("a bug of ours ended the thread %r", name, exc_info=error)
        world.break_off()

    threading.excepthook = broke


def _run(core: Core, world: World, journal: Any) -> int:
    import scheduler.loop as loop
    from scheduler.machine.journal import Unwritten

    while True:
        try:
            loop.run(core, world, journal)
            return 1 if world.is_broken else 0
        except Unwritten as unwritten:
            _log.error("%s; no new trial starts until it can", unwritten.problem)
            world.go_blind(unwritten)
        except Exception:
            _log.critical("a bug of ours ends the supervisor; attempts go on", exc_info=True)
            return 1


if __name__ == "__main__":
    sys.exit(main())
