"""The supervisor's process: started in the background or by hand, one for each user and machine.

Wires core, loop and machine together. What a run's host does is in ``scheduler.study``.
"""

from __future__ import annotations

import argparse
import fcntl
import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TextIO

from scheduler.machine import state as folder
from scheduler.machine.state import StateError, StateFolder, open_state
from scheduler.machine.summon import is_listening

if TYPE_CHECKING:
    from scheduler.core.core import Core
    from scheduler.machine.world import World

_log = logging.getLogger(__name__)

LINGER_S = 3.0
_HANDOVER_S = 2.0  #: a supervisor that leaves may hold its lock for so long


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
            if is_listening(state) or time.monotonic() > deadline_s:
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
    from scheduler.machine.budgets import look_here
    from scheduler.machine.control import Control
    from scheduler.machine.journal import Journal
    from scheduler.machine.world import World

    here = look_here()
    core, journal = _recall(state), Journal(state.journal)
    world = World(
        core=core,
        journal=journal,
        state=state,
        listener=folder.listen(state, folder.HOSTS),
        budgets=here.budgets,
        sources=here.sources,
        linger_s=linger_s,
    )
    control = Control(folder.listen(state, folder.CONTROL), world.answers(here))
    _watch_over(world)
    world.start()
    control.start()
    tell_ready()
    _log.info(
        "supervisor of %s, with %s",
        state.path,
        [one.device.key for one in here.budgets if not one.on_request],
    )
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
