"""The supervisor's process: started in the background or by hand, one for each user and machine.

One that is lasting stays; another leaves after its last run. One that was killed while it was
lasting left its mark in the state folder, and the next one is lasting too, whoever starts it.

Wires core, loop and machine together. What a run's host does is in ``scheduler.study``.
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import logging
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, TextIO

from scheduler.core.model import Process
from scheduler.machine import processes
from scheduler.machine import state as folder
from scheduler.machine.state import StateError, StateFolder, open_state
from scheduler.machine.summon import is_listening, supervisor_of

if TYPE_CHECKING:
    from scheduler.core.core import Core
    from scheduler.machine.api.answers import Answers
    from scheduler.machine.api.control import Control
    from scheduler.machine.chronicle.chronicle import Chronicle
    from scheduler.machine.config.loading import Config, Loaded
    from scheduler.machine.configured import Messenger
    from scheduler.machine.journal import Journal
    from scheduler.machine.world import World

_log = logging.getLogger(__name__)

LINGER_S = 3.0
_HANDOVER_S = 2.0  #: a supervisor that leaves may hold its lock for so long
_INSTEAD_S = 10.0  #: and one that was told to


def main(arguments: Sequence[str] | None = None) -> int:
    """``python -m scheduler.daemon``. Returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m scheduler.daemon", description=__doc__)
    parser.add_argument("--linger", type=float, default=LINGER_S, metavar="SECONDS")
    parser.add_argument("--lasting", action="store_true", help="stay after the last run")
    parser.add_argument(
        "--instead", action="store_true", help="take the place of a supervisor that runs"
    )
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
    lock = _hold_lock(state, instead=asked.instead)
    if lock is None:
        return 1
    os.chdir("/")
    with lock:
        lasting = asked.lasting or state.lasting.exists()
        return _serve(state, asked.linger, lasting, lambda: _tell_ready(asked.background))


def _hold_lock(state: StateFolder, *, instead: bool = False) -> TextIO | None:
    """None, with a word to the user, where another supervisor runs.

    *instead*: it is told to leave. What it serves may have started another before we come.
    """
    lock = open(state.lock, "a+", encoding="ascii")  # noqa: SIM115 - held for our whole life
    deadline_s = time.monotonic() + (_INSTEAD_S if instead else _HANDOVER_S)
    told: set[Process] = set()
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            break
        except BlockingIOError:
            if instead and (former := supervisor_of(state)) is not None and former not in told:
                told.add(former)
                processes.send(former, signal.SIGTERM)
            is_there = not instead and is_listening(state)
            if is_there or time.monotonic() > deadline_s:
                pid = state.lock.read_text(encoding="ascii").strip() or "unknown"
                print(f"a supervisor runs already: pid {pid}, in {state.path}", file=sys.stderr)
                return None
        time.sleep(0.01 if instead else 0.05)
    lock.truncate(0)
    lock.write(f"{os.getpid()}\n")
    lock.flush()
    return lock


def _tell_ready(pipe: int | None) -> None:
    if pipe is not None:
        with contextlib.suppress(BrokenPipeError):  # a host that was killed meanwhile; others wait
            os.write(pipe, b"1")
        os.close(pipe)
    _tell_systemd("READY=1")


def _tell_systemd(word: str) -> None:
    """Where it has started us and waits for that (sd_notify(3)); an @ stands for a zero byte."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address:
        return
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as notifier:
            notifier.connect("\0" + address[1:] if address.startswith("@") else address)
            notifier.sendall(word.encode())
    except OSError as error:
        _log.warning("systemd cannot be told %s: %s", word, error)


class _Parts(NamedTuple):
    """All that a supervisor is made of."""

    core: Core
    journal: Journal
    chronicle: Chronicle
    world: World
    messenger: Messenger
    control: Control


def _serve(
    state: StateFolder, linger_s: float, lasting: bool, tell_ready: Callable[[], None]
) -> int:
    """Everything between holding the lock and giving it back."""
    from scheduler.machine.config.loading import ConfigError, load

    try:
        loaded = load()
    except ConfigError as error:
        print(f"Error: {error}", file=sys.stderr)
        return 2
    parts = _assemble(state, loaded, linger_s, lasting)
    _watch_over(parts.world)

    def ready() -> None:
        parts.control.start()
        parts.messenger.start()
        tell_ready()
        _log.info("supervisor of %s, pid %d", state.path, os.getpid())

    parts.world.start(ready)
    code = 1
    try:
        code = _run(parts.core, parts.world, parts.journal)
        return code
    finally:
        _tell_systemd("STOPPING=1")
        if code == 0:
            state.lasting.unlink(missing_ok=True)
        _close(state, parts)


def _assemble(state: StateFolder, loaded: Loaded, linger_s: float, lasting: bool) -> _Parts:
    from scheduler.machine.budgets import look_here
    from scheduler.machine.chronicle.chronicle import NAME, Chronicle
    from scheduler.machine.config.loading import here_with
    from scheduler.machine.configured import InForce, Messenger, settings_of
    from scheduler.machine.journal import Journal
    from scheduler.machine.leaving import GRACE_S
    from scheduler.machine.world import World

    config = loaded.config
    here = here_with(config, look_here())
    _log.info("devices: %s", [one.device.key for one in here.budgets if not one.on_request])
    core, journal = _recall(state), Journal(state.journal)
    chronicle = Chronicle(state.path / NAME)
    world = World(
        core=core,
        journal=journal,
        state=state,
        listener=folder.listen(state, folder.HOSTS),
        budgets=here.budgets,
        sources=here.sources,
        linger_s=linger_s,
        lasting=lasting,
        rules=InForce(config, lambda: world.ours()),
        runs_at_once=lambda: config.queue.runs_at_once,
        # The host ends its attempts; it needs a moment of its own after that.
        grace_s=max(GRACE_S, config.attempts.stop_grace_s + 5.0),
        chronicle=chronicle,
    )
    settings = settings_of(loaded)
    answers = {**world.answers(here), "/v1/config": lambda: settings}
    control = _control(state, config, answers, world, chronicle)
    return _Parts(
        core, journal, chronicle, world, Messenger(config, chronicle, world.nudge), control
    )


def _control(
    state: StateFolder, config: Config, answers: Answers, world: World, chronicle: Chronicle
) -> Control:
    """By TCP too where that is wanted; a port that is taken is logged, and ends nothing."""
    from scheduler.machine.api.control import Control
    from scheduler.machine.configured import tcp_of

    def make(tcp: tuple[int, str] | None) -> Control:
        listener = folder.listen(state, folder.CONTROL)
        return Control(
            listener, answers, state=state, orders=world.orders, chronicle=chronicle, tcp=tcp
        )

    tcp = tcp_of(config, state)
    try:
        return make(tcp)
    except OSError as error:
        if tcp is None:
            raise
        _log.error("no API on port %d: %s", tcp[0], error)
        return make(None)


def _close(state: StateFolder, parts: _Parts) -> None:
    for name in (folder.HOSTS, folder.CONTROL):
        (state.path / name).unlink(missing_ok=True)
    parts.control.close()
    parts.messenger.stop()
    parts.chronicle.close()
    if parts.world.is_idle:
        parts.journal.retire()
    else:
        parts.journal.close()
    _log.info("supervisor leaves")


def _recall(state: StateFolder) -> Core:
    """The core as the journal tells it; a new one where the journal cannot be understood."""
    from scheduler.core.core import Core
    from scheduler.machine.hosts import boot_id
    from scheduler.machine.journal import replay, set_aside

    core, began_s, number, boot = Core(), time.monotonic(), 0, ""
    try:
        for event in replay(state.journal):
            number += 1
            core.handle(event)
            boot = getattr(event, "boot_id", "") or boot
        core.check()  # a damaged one may be read, and make no sense
    except Exception:
        # What ended the last supervisor must not end this one too: hosts will tell what runs.
        aside = set_aside(state.journal)
        os.truncate(state.journal, 0)
        _log.exception("event %d of the journal cannot be replayed; moved to %s", number, aside)
        return Core()
    if number:
        _log.info("replayed %d events in %.2f s", number, time.monotonic() - began_s)
    if boot not in ("", boot_id()):  # the core draws the consequences, once it is told
        _log.info("the machine was started anew since the last supervisor; nothing runs")
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
