"""Polls the devices: one ``Sampled`` a period with the latest word of each.

A source may hang for ever (a sysfs read while the card resets, a tool that waits for the driver),
so each has a thread of its own that nobody waits for longer than a part of a period. How a device
is read, and which of its sources is believed, is in ``probes``; what follows from a reading is the
core's business.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

from probes.failover import Failover, SourceState
from probes.reading import Probe, Reading
from scheduler.core.events import Sampled

_log = logging.getLogger(__name__)

PERIOD_S = 1.0
STALE_S = 3.0  #: an older reading is no reading
_SHORTEST_S = 0.02  #: between two polls, the first time that one is asked for early
_PATIENCE_S = 0.5  #: most that a poll waits for those that have not answered

Trees = Callable[[str], tuple[int, ...]]  #: root pids of our attempts on a device, by its key


class _Question(NamedTuple):
    trees: tuple[int, ...]
    at_s: float


class _Answer(NamedTuple):
    reading: Reading
    trees: tuple[int, ...]
    took_s: float


class _Reader:
    """One source of a device: its thread, and what it said since it was last looked at."""

    def __init__(self, probe: Probe, answered: threading.Condition) -> None:
        self._probe = probe
        self._answered = answered
        self._question: _Question | None = None
        self._asked_at_s: float | None = None
        self._answer: _Answer | None = None
        self._wake = threading.Event()
        name = f"{probe.source} {probe.device.key}"
        threading.Thread(target=self._work, name=name, daemon=True).start()

    @property
    def is_busy(self) -> bool:
        return self._question is not None

    def ask(self, trees: tuple[int, ...]) -> bool:
        """Has the source read now; False where an answer is still to come or came just now."""
        now_s = time.monotonic()
        early = self._asked_at_s is not None and now_s - self._asked_at_s < self._probe.every_s
        if self.is_busy or early:
            return False
        self._question, self._asked_at_s = _Question(trees, now_s), now_s
        self._wake.set()
        return True

    def _work(self) -> None:
        while True:
            self._wake.wait()
            self._wake.clear()
            question = self._question
            assert question is not None
            reading = self._read(question.trees)
            with self._answered:
                took_s = time.monotonic() - question.at_s
                self._answer = _Answer(reading, question.trees, took_s)
                self._question = None
                self._answered.notify_all()

    def _read(self, trees: tuple[int, ...]) -> Reading:
        try:
            return self._probe.read(trees)
        except Exception as error:  # a bug in a probe costs its source, not the others
            _log.exception("%s of %s failed", self._probe.source, self._probe.device.key)
            problem = f"its probe failed: {type(error).__name__}: {error}"
            return _unknown(self._probe.device.key, problem)

    def collect(self) -> _Answer | None:
        """What it has said since the last call; None: nothing."""
        answer, self._answer = self._answer, None
        return answer

    def overdue(self) -> _Answer | None:
        """In place of the answer that it owes for too long; None: it does not."""
        waited_s = time.monotonic() - (self._asked_at_s or 0.0)
        if not self.is_busy or waited_s <= STALE_S:
            return None
        problem = f"has not answered for {waited_s:.0f} s"
        return _Answer(_unknown(self._probe.device.key, problem), (), waited_s)


class _Device:
    """One device: its sources, asked as they have earned it."""

    def __init__(self, sources: Sequence[Probe], answered: threading.Condition) -> None:
        self.key = sources[0].device.key
        self._sources = sources
        self._answered = answered
        self._readers: dict[int, _Reader] = {}
        self.failover = Failover(sources[0].device, [source.source for source in sources])

    def ask(self, trees: tuple[int, ...]) -> list[_Reader]:
        """Has those read that are due. A source's thread is made when it is first needed."""
        asked: list[_Reader] = []
        for number in self.failover.due(time.monotonic()):
            if number not in self._readers:
                self._readers[number] = _Reader(self._sources[number], self._answered)
            if self._readers[number].ask(trees):
                asked.append(self._readers[number])
        return asked

    def latest(self) -> Reading:
        for number, reader in self._readers.items():
            answer = reader.collect()
            if answer is None and number == self.failover.in_use:
                answer = reader.overdue()
            if answer is not None:
                self.failover.take(
                    number,
                    answer.reading,
                    trees=answer.trees,
                    took_s=answer.took_s,
                    now_s=time.monotonic(),
                )
        return self.failover.reading() or _unknown(self.key, "has not answered yet")


def _unknown(key: str, problem: str) -> Reading:
    return Reading(device=key, total_bytes=None, used_bytes=None, held=None, problem=problem)


def blind(devices: Sequence[str], at_s: float, problem: str) -> Sampled:
    """A poll in which no device said anything, for one reason: it admits nothing."""
    return Sampled(at_s=at_s, readings=tuple(_unknown(key, problem) for key in devices))


class Poller:
    """Polls once a period, and sooner when nudged. ``put`` takes the samples, on its thread.

    *devices*: of each device its sources, the preferred first.
    """

    def __init__(
        self,
        devices: Sequence[Sequence[Probe]],
        trees: Trees,
        put: Callable[[Sampled], None],
        period_s: float = PERIOD_S,
    ) -> None:
        self._trees = trees
        self._put = put
        self._period_s = period_s
        self._answered = threading.Condition()
        self._bell = threading.Condition()
        self._nudged = False
        self._pause_s = _SHORTEST_S
        self._devices = [_Device(sources, self._answered) for sources in devices]

    def start(self) -> None:
        threading.Thread(target=self._work, name="poll", daemon=True).start()

    def nudge(self, *, again: bool = False) -> None:
        """Poll soon: something has changed that a reading will show.

        *again*: the last one did not show it yet. Each time it is waited for twice as long.
        """
        with self._bell:
            if not again:
                self._pause_s = _SHORTEST_S
            self._nudged = True
            self._bell.notify()

    def every(self, period_s: float) -> None:
        """Poll so often from now on; the poll that is waited for counts."""
        if period_s != self._period_s:
            with self._bell:
                self._period_s = period_s
                self._bell.notify()

    def _work(self) -> None:
        while True:
            began_s = time.monotonic()
            self._put(self.poll())
            time.sleep(self._pause_s)
            with self._bell:
                self._pause_s = min(PERIOD_S, 2 * self._pause_s)
                while not self._nudged:
                    left_s = began_s + self._period_s - time.monotonic()
                    if left_s <= 0:
                        self._pause_s = _SHORTEST_S
                        break
                    self._bell.wait(left_s)
                self._nudged = False

    def poll(self) -> Sampled:
        """Asks all devices and waits for those that answer; one that hangs is waited for once."""
        asked = [one for device in self._devices for one in device.ask(self._trees(device.key))]
        with self._answered:
            self._answered.wait_for(
                lambda: not any(reader.is_busy for reader in asked),
                min(_PATIENCE_S, self._period_s / 2),
            )
            readings = tuple(device.latest() for device in self._devices)
        return Sampled(at_s=time.time(), readings=readings)

    def sources(self) -> dict[str, tuple[SourceState, ...]]:
        """How each device's sources stand, by its key. From any thread."""
        with self._answered:
            return {device.key: device.failover.states() for device in self._devices}
