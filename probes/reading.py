"""What a probe says: frozen values, sizes in bytes, ``None`` where the device did not say.

Covers what is read; how it is read is in one module per source, which source is used in ``choose``.
"""

from __future__ import annotations

from typing import Literal, NamedTuple, Protocol

import msgspec

Kind = Literal["amd", "nvidia", "host"]


class Device(msgspec.Struct, frozen=True, kw_only=True):
    """One memory budget, as it was found at start. Does not change while we look at it.

    ``key`` names it everywhere: the PCI address in lower case (``0000:03:00.0``), or ``host``.
    ``environment`` is what a process must set (None: unset) before its first GPU use to see only
    this device.
    """

    key: str
    kind: Kind
    name: str
    total_bytes: int | None
    uuid: str | None = None
    environment: tuple[tuple[str, str | None], ...] = ()
    source: str  #: which probe answers for it: "amdgpu", "host", ...
    because: str  #: why it was taken, for people


class LeftOut(msgspec.Struct, frozen=True, kw_only=True):
    """Something found and not used, and why."""

    key: str
    name: str
    because: str


class Absent(msgspec.Struct, frozen=True, kw_only=True):
    """A source that cannot be asked on this machine, and why."""

    source: str
    because: str


class Held(msgspec.Struct, frozen=True, kw_only=True):
    """Memory held on a device by a process and its descendants; None: could not be told."""

    pid: int
    held_bytes: int | None


class Reading(msgspec.Struct, frozen=True, kw_only=True):
    """One device at one moment.

    ``held`` has one entry for each process tree that was asked about, in the order asked. It is
    None where the device cannot tell processes apart at all (a container's PID namespace).
    ``oom_kills`` counts kills by the kernel's OOM killer since boot, on host RAM only.
    ``problem`` says why total or used is None.
    """

    device: str
    total_bytes: int | None
    used_bytes: int | None
    held: tuple[Held, ...] | None = ()
    oom_kills: int | None = None
    problem: str | None = None
    asleep: bool = False  #: suspended, and not woken for the question
    waiting_share: float | None = None  #: of the last 10 s, some task waited for memory; host RAM


class Probe(Protocol):
    """Reads one device from one source. May block or hang: the caller gives it a thread of its
    own."""

    device: Device
    source: str  #: "amdgpu", "rocm-smi", ...
    every_s: float  #: the shortest time between two reads; 0: reading costs next to nothing

    def read(self, trees: tuple[int, ...]) -> Reading:
        """Read now. *trees* are root pids; a root's descendants count as its own.

        Never raises for what the machine does (a file gone, empty, unreadable): that is a Reading
        with None and a problem.
        """
        ...


class Candidate(NamedTuple):
    """A device that can be used: the sources that answer for it, the preferred first."""

    sources: tuple[Probe, ...]
    objection: str | None = None  #: why only runs that name it get it; None: it is used

    @property
    def device(self) -> Device:
        return self.sources[0].device

    def left_out(self) -> LeftOut:
        because = self.objection or ""
        return LeftOut(key=self.device.key, name=self.device.name, because=because)
