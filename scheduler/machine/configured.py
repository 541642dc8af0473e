"""What the configuration asks of a supervisor: rules by the clock and by programs, notifications.

Puts together what ``windows``, ``programs``, ``notify`` and ``loopback`` each do.
"""

from __future__ import annotations

import contextlib
import datetime
import logging
import threading
from collections.abc import Callable, Collection, Iterator

from scheduler.core.model import Rule
from scheduler.machine.api.answers import Setting, Settings
from scheduler.machine.api.loopback import token_of
from scheduler.machine.chronicle.chronicle import Chronicle
from scheduler.machine.chronicle.entries import LIMIT, Entry
from scheduler.machine.config.loading import Config, Loaded
from scheduler.machine.config.shown import values_of
from scheduler.machine.notify.notifier import Notifier
from scheduler.machine.programs import Programs
from scheduler.machine.state import StateFolder
from scheduler.machine.windows import Edges, local_zone, rules_in_force

_log = logging.getLogger(__name__)
_PATIENCE_S = 1.5  #: less than a successor waits for the lock


class InForce:
    """The rules that nobody ordered. *ours*: root pids of our hosts and attempts, which are no
    neighbours."""

    def __init__(self, config: Config, ours: Callable[[], Collection[int]]) -> None:
        self._config = config
        self._ours = ours
        self._programs = Programs(config.neighbours.exclusive)
        self._zone = local_zone() if config.windows else datetime.UTC

    def __call__(self) -> tuple[Rule, ...]:
        running = self._programs.running(self._ours()) if self._config.neighbours.exclusive else ()
        return rules_in_force(self._config, datetime.datetime.now(self._zone), running)


class Messenger:
    """Takes what happens from the chronicle to the notifications. Threads only with ``start``."""

    def __init__(self, config: Config, chronicle: Chronicle, wake: Callable[[], None]) -> None:
        self._chronicle = chronicle
        self._notifier = Notifier(config.notify, past=self._since)
        self._edges = Edges(config.windows, wake)
        self._lock = threading.Lock()
        self._told = chronicle.last
        self._started = contextlib.ExitStack()

    def start(self) -> None:
        self._notifier.start()
        self._started.callback(self._notifier.stop, _PATIENCE_S)
        self._edges.start()
        self._started.callback(self._edges.stop)
        self._started.enter_context(self._chronicle.listening(self._hear))

    def stop(self) -> None:
        """What can be sent now is still sent. Nothing happens where it was not started."""
        self._started.close()

    def _hear(self) -> None:
        with self._lock:
            entries = self._chronicle.since(self._told)
            if entries:
                self._told = entries[-1].number
                self._notifier.tell(entries)

    def _since(self, at_s: float) -> Iterator[Entry]:
        number = 0
        while entries := self._chronicle.since(number, LIMIT):
            yield from (entry for entry in entries if entry.at_s >= at_s)
            number = entries[-1].number


def settings_of(loaded: Loaded) -> Settings:
    """For GET /v1/config."""
    return Settings(
        path=loaded.path,
        settings=tuple(
            Setting(key=one.key, value=one.value, source=one.origin) for one in values_of(loaded)
        ),
    )


def tcp_of(config: Config, state: StateFolder) -> tuple[int, str] | None:
    """The port and token of the API by TCP, where it is wanted. None as well where no token can be
    written down, and that is logged."""
    if config.api.port is None:
        return None
    try:
        return config.api.port, token_of(state)
    except OSError as error:
        _log.error("no API on port %d: %s", config.api.port, error)
        return None
