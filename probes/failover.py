"""Which of a device's sources is believed: pure, answers in, one reading out.

Covers what can be told by looking at answers side by side and one after the other: a source that
fails three times in a row is left for the next one, and asked again from time to time until it
works; a total that changes, and a "used" that our own attempts' memory refutes, are unknown. Does
not cover asking: a source may hang, so who asks has a thread for each.

AMD's tools print "0 used" and exit 0 where the driver's counter is missing, empty or unreadable
(rocm-smi 7.8, amdsmi on EIO). Taken as a number it would hand out the whole card a second time.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import msgspec

from probes.reading import Device, Reading

FAILURES = 3  #: in a row, after which a source is left
RETRY_S = 10.0  #: before one that was left is asked again; twice as long each time that it fails
MOST_RETRY_S = 300.0

#: Sources disagree by what each takes off for itself: amdsmi says 196300 MiB where the driver says
#: 196592. More than this is another card, or another pool of memory.
_TOTAL_RATIO = 0.02
#: Below this share of what our attempts hold by another count, "used" is broken and not just late.
_REFUTED_RATIO = 0.5


class SourceState(msgspec.Struct, frozen=True, kw_only=True):
    """How one source of a device stands.

    "standby": a better one answers, so it is not asked. "left": it failed too often, and is tried
    again later.
    """

    name: str
    state: Literal["in use", "failing", "left", "standby"]
    problem: str | None = None  #: what its last answer lacked
    took_s: float | None = None  #: None: it has not answered yet


class _Source:
    """One source's record."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.failures = 0
        self.left = False
        self.retry_s = RETRY_S
        self.retry_at_s = 0.0
        self.reading: Reading | None = None
        self.took_s: float | None = None
        self.total_bytes: int | None = None


class Failover:
    """The sources of one device, the preferred first."""

    def __init__(self, device: Device, names: Sequence[str]) -> None:
        self._device = device
        self._sources = [_Source(name) for name in names]
        self._held: dict[int, int] = {}  #: what trees were last seen to hold, by whichever source
        self._believed: Reading | None = None

    @property
    def in_use(self) -> int:
        """The first source that was not left; the first of all where every one was."""
        standing = (number for number, one in enumerate(self._sources) if not one.left)
        return next(standing, 0)

    def due(self, now_s: float) -> tuple[int, ...]:
        """Which sources to ask now: the one in use, and those that were left and are due again."""
        in_use = self.in_use
        return tuple(
            number
            for number, one in enumerate(self._sources)
            if number == in_use or (one.left and now_s >= one.retry_at_s)
        )

    def take(
        self, number: int, reading: Reading, *, trees: Sequence[int], took_s: float, now_s: float
    ) -> None:
        """Take in what source *number* said about the device and *trees*."""
        source, before = self._sources[number], self.in_use
        source.reading = reading = self._checked(source, reading, trees)
        source.took_s = took_s
        if reading.used_bytes is not None:
            source.failures, source.left, source.retry_s = 0, False, RETRY_S
            held = {one.pid: one.held_bytes for one in reading.held or ()}
            self._held = {pid: size for pid, size in held.items() if size is not None}
        elif not reading.asleep:
            self._failed(source, now_s)
        # The next one's word of an hour ago is not believed: it is unknown until that one is asked.
        if number in (before, self.in_use):
            self._believed = self._explained(reading)

    def _explained(self, reading: Reading) -> Reading:
        """With the reasons of all sources that were left, where this one does not answer either."""
        left = [one for one in self._sources if one.left and one.reading]
        if reading.problem is None or reading.asleep or not left:
            return reading
        told = [one for one in self._sources if one.left or one.reading is reading]
        reasons = [f"{one.name}: {one.reading.problem}" for one in told if one.reading]
        return msgspec.structs.replace(reading, problem="; ".join(reasons))

    def _failed(self, source: _Source, now_s: float) -> None:
        if source.left:
            source.retry_s = min(2 * source.retry_s, MOST_RETRY_S)
        source.failures += 1
        if source.failures >= FAILURES and len(self._sources) > 1:
            source.left, source.retry_at_s = True, now_s + source.retry_s

    def reading(self) -> Reading | None:
        """What is believed now; None: nothing has answered yet."""
        return self._believed

    def states(self) -> tuple[SourceState, ...]:
        return tuple(self._state(number, one) for number, one in enumerate(self._sources))

    def _state(self, number: int, source: _Source) -> SourceState:
        state: Literal["in use", "failing", "left", "standby"]
        if source.left:
            state = "left"
        elif number != self.in_use:
            state = "standby"
        else:
            state = "failing" if source.failures else "in use"
        return SourceState(
            name=source.name,
            state=state,
            problem=source.reading.problem if source.reading else None,
            took_s=source.took_s,
        )

    # -- what cannot be so ---------------------------------------------------------------------

    def _checked(self, source: _Source, reading: Reading, trees: Sequence[int]) -> Reading:
        if reading.total_bytes is None or reading.used_bytes is None:
            # A total without a use is as good as nothing, and a use without a total too.
            return msgspec.structs.replace(reading, total_bytes=None, used_bytes=None)
        problem = self._total_problem(source, reading.total_bytes)
        problem = problem or self._used_problem(reading, reading.used_bytes, trees)
        if problem is None:
            source.total_bytes = reading.total_bytes
            return reading
        return msgspec.structs.replace(
            reading, total_bytes=None, used_bytes=None, problem=f"{source.name} {problem}"
        )

    def _total_problem(self, source: _Source, total: int) -> str | None:
        if self._device.kind == "host":
            return None  # a cgroup's limit may be changed at any time
        known = source.total_bytes
        if known is not None and total != known:
            return f"says {total} bytes in all, and said {known} before"
        expected = self._device.total_bytes
        if expected is not None and abs(total - expected) > _TOTAL_RATIO * expected:
            return f"says {total} bytes in all, where {self._device.source} found {expected}"
        return None

    def _used_problem(self, reading: Reading, used: int, trees: Sequence[int]) -> str | None:
        if reading.held is None:
            held = sum(self._held.get(tree, 0) for tree in trees)
        else:
            held = sum(one.held_bytes or 0 for one in reading.held)
        if used < _REFUTED_RATIO * held:
            return f"says {used} bytes are used, while our attempts hold {held}"
        return None
