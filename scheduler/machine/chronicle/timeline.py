"""How the devices' memory was used over time: a line a device and quarter minute while trials run.

``memory.jsonl`` in the state folder, for pictures; nothing is decided from it. It begins anew at
``FILE_BYTES``, the one before is kept as ``memory.1.jsonl``: at one device some ten days in all.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import msgspec

from scheduler.core.view import DeviceView, View

NAME, OLD = "memory.jsonl", "memory.1.jsonl"
EVERY_S = 15.0
FILE_BYTES = 8 << 20


class Part(msgspec.Struct, frozen=True):
    """One attempt's part. ``held_bytes``: None: not known."""

    attempt: str
    promise_bytes: int
    held_bytes: int | None


class Moment(msgspec.Struct, frozen=True):
    """A device as it was last read; None is unknown."""

    at_s: float
    device: str
    total_bytes: int | None
    used_bytes: int | None
    strangers_bytes: int | None
    reserve_bytes: int
    attempts: tuple[Part, ...]


class Timeline:
    """Writes. What cannot be written is left out: the picture has a gap then."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._path = folder / NAME
        self._noted_s: dict[str, float] = {}
        self._had: dict[str, int] = {}  #: attempts, by device

    def look(self, view: View, now_s: float) -> None:
        """Called after each poll. Writes for devices with attempts, and once more when they end."""
        moments = [_moment(device, now_s) for device in view.devices if self._is_due(device, now_s)]
        if not moments:
            return
        text = b"".join(msgspec.json.encode(one) + b"\n" for one in moments)
        try:
            with open(self._path, "ab", opener=_own) as file:
                file.write(text)
                if file.tell() > FILE_BYTES:
                    os.replace(self._path, self._folder / OLD)
        except OSError:
            return

    def _is_due(self, device: DeviceView, now_s: float) -> bool:
        key, count = device.budget.device.key, len(device.attempts)
        had = self._had.get(key, 0)
        if not count and not had:
            return False
        since_s = now_s - self._noted_s.get(key, 0.0)
        # Since the clock may have been set back, a time to come is as good as long ago.
        if count == had and 0.0 <= since_s < EVERY_S:
            return False
        self._noted_s[key], self._had[key] = now_s, count
        return True


def _own(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_CLOEXEC, 0o600)


def _moment(device: DeviceView, now_s: float) -> Moment:
    return Moment(
        round(now_s, 1),
        device.budget.device.key,
        device.total_bytes,
        device.used_bytes,
        device.strangers_bytes,
        device.budget.reserve_bytes,
        tuple(Part(one.attempt.id, one.promise_bytes, one.held_bytes) for one in device.attempts),
    )


def read_moments(folder: Path, from_s: float, to_s: float) -> Iterator[Moment]:
    """Those between the two times, oldest first. Lines that are torn or foreign are passed over."""
    decoder = msgspec.json.Decoder(Moment)
    for name in (OLD, NAME):
        try:
            lines = (folder / name).read_bytes().splitlines()
        except OSError:
            continue
        for line in lines:
            try:
                moment = decoder.decode(line)
            except msgspec.MsgspecError:
                continue
            if from_s <= moment.at_s <= to_s:
                yield moment
