"""Polls the devices: one ``Sampled`` a period with the latest word of each.

A probe may hang for ever (a sysfs read while the card resets), so each has a thread of its own that
nobody waits for longer than a part of a period. How a device is read is in ``probes``; what follows
from a reading is the core's business.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence

from probes.reading import Probe, Reading
from scheduler.core.events import Sampled

_log = logging.getLogger(__name__)

PERIOD_S = 1.0
STALE_S = 3.0  #: an older reading is no reading
_SHORTEST_S = 0.02  #: between two polls, the first time that one is asked for early

Trees = Callable[[str], tuple[int, ...]]  #: root pids of our attempts on a device, by its key


class _Reader:
    """One device's thread, and the last that it said."""

    def __init__(self, probe: Probe, answered: threading.Condition) -> None:
        self._probe = probe
        self._answered = answered
        self._asked: tuple[int, ...] | None = None
        self._asked_at_s = 0.0
        self._reading: Reading | None = None
        self._wake = threading.Event()
        self.key = probe.device.key
        threading.Thread(target=self._work, name=f"read {self.key}", daemon=True).start()

    @property
    def is_busy(self) -> bool:
        return self._asked is not None

    def ask(self, trees: tuple[int, ...]) -> bool:
        """Has the device read now; False where the last answer is still to come."""
        if self.is_busy:
            return False
        self._asked, self._asked_at_s = trees, time.monotonic()
        self._wake.set()
        return True

    def _work(self) -> None:
        while True:
            self._wake.wait()
            self._wake.clear()
            reading = self._read(self._asked or ())
            with self._answered:
                self._reading, self._asked = reading, None
                self._answered.notify_all()

    def _read(self, trees: tuple[int, ...]) -> Reading:
        try:
            return self._probe.read(trees)
        except Exception as error:  # a bug in a probe costs its device, not the others
            _log.exception("the probe of %s failed", self.key)
            return _unknown(self.key, f"its probe failed: {type(error).__name__}: {error}")

    def latest(self) -> Reading:
        """The last reading, without its numbers where the device has not answered for too long."""
        waited_s = time.monotonic() - self._asked_at_s if self.is_busy else 0.0
        if waited_s > STALE_S:
            return _unknown(self.key, f"has not answered for {waited_s:.0f} s")
        return self._reading or _unknown(self.key, "has not answered yet")


def _unknown(key: str, problem: str) -> Reading:
    return Reading(device=key, total_bytes=None, used_bytes=None, held=None, problem=problem)


def blind(devices: Sequence[str], at_s: float, problem: str) -> Sampled:
    """A poll in which no device said anything, for one reason: it admits nothing."""
    return Sampled(at_s=at_s, readings=tuple(_unknown(key, problem) for key in devices))


class Poller:
    """Polls once a period, and sooner when nudged. ``put`` takes the samples, on its thread."""

    def __init__(
        self,
        probes: Sequence[Probe],
        trees: Trees,
        put: Callable[[Sampled], None],
        period_s: float = PERIOD_S,
    ) -> None:
        self._trees = trees
        self._put = put
        self._period_s = period_s
        self._answered = threading.Condition()
        self._nudged = threading.Event()
        self._pause_s = _SHORTEST_S
        self._readers = [_Reader(probe, self._answered) for probe in probes]

    def start(self) -> None:
        threading.Thread(target=self._work, name="poll", daemon=True).start()

    def nudge(self, *, again: bool = False) -> None:
        """Poll soon: something has changed that a reading will show.

        *again*: the last one did not show it yet. Each time it is waited for twice as long.
        """
        if not again:
            self._pause_s = _SHORTEST_S
        self._nudged.set()

    def _work(self) -> None:
        while True:
            began_s = time.monotonic()
            self._put(self.poll())
            time.sleep(self._pause_s)
            self._pause_s = min(self._period_s, 2 * self._pause_s)
            if not self._nudged.wait(max(0.0, began_s + self._period_s - time.monotonic())):
                self._pause_s = _SHORTEST_S
            self._nudged.clear()

    def poll(self) -> Sampled:
        """Asks all devices and waits for those that answer; one that hangs is waited for once."""
        asked = [reader for reader in self._readers if reader.ask(self._trees(reader.key))]
        with self._answered:
            self._answered.wait_for(
                lambda: not any(reader.is_busy for reader in asked), self._period_s / 2
            )
            readings = tuple(reader.latest() for reader in self._readers)
        return Sampled(at_s=time.time(), readings=readings)
