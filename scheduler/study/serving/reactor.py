"""Waiting for many things at once: descriptors, moments, signals. What to do then is handed in."""

from __future__ import annotations

import contextlib
import selectors
import signal
import threading
import time
from collections.abc import Callable, Iterator

Do = Callable[[], None]
ENDING_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Reactor:
    """Runs what is due, in the thread that calls ``turn``."""

    def __init__(self) -> None:
        self._selector = selectors.DefaultSelector()
        self._timers: list[tuple[float, Do]] = []

    def watch(self, descriptor: int, do: Do) -> None:
        """Call *do* whenever *descriptor* can be read. Watching twice is watching once."""
        if descriptor not in self._selector.get_map():
            self._selector.register(descriptor, selectors.EVENT_READ, do)

    def forget(self, descriptor: int) -> None:
        """To be called before the descriptor is closed."""
        if descriptor in self._selector.get_map():
            self._selector.unregister(descriptor)

    def after(self, delay_s: float, do: Do) -> None:
        self._timers.append((time.monotonic() + delay_s, do))

    def turn(self, patience_s: float) -> None:
        """Wait until something is due, at most *patience_s*, and do it."""
        now_s = time.monotonic()
        waits = [max(0.0, due_s - now_s) for due_s, _ in self._timers]
        for key, _ in self._selector.select(min([patience_s, *waits])):
            # What was done before may have closed this one, and its number may be another's now.
            if self._selector.get_map().get(key.fd) is key:
                key.data()
        now_s = time.monotonic()
        due = [do for due_s, do in self._timers if due_s <= now_s]
        self._timers = [timer for timer in self._timers if timer[0] > now_s]
        for do in due:
            do()

    def close(self) -> None:
        self._selector.close()


@contextlib.contextmanager
def ending_signals(wakeup: int, handle: Callable[[int], None]) -> Iterator[None]:
    """SIGINT and SIGTERM write to the descriptor *wakeup* and go to *handle*, until the end.

    Python hands signals to the main thread only: in another one nothing is changed.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {
        number: signal.signal(number, lambda number, _: handle(number)) for number in ENDING_SIGNALS
    }
    wakeup_before = signal.set_wakeup_fd(wakeup, warn_on_full_buffer=False)
    try:
        yield
    finally:
        signal.set_wakeup_fd(wakeup_before)
        for number, handler in before.items():
            signal.signal(number, handler)
