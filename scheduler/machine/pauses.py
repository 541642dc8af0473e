"""What the user has paused: runs and devices. Survives the supervisor, in ``pauses.json``."""

from __future__ import annotations

import logging
from pathlib import Path

import msgspec

from scheduler.core.model import Rule
from scheduler.machine.runs import read_whole, write_whole

_log = logging.getLogger(__name__)
_BECAUSE = "paused by you"


class _Paused(msgspec.Struct, frozen=True, kw_only=True):
    """By name, whether what runs there is stopped; else it may finish."""

    runs: dict[str, bool] = {}
    devices: dict[str, bool] = {}


class Pauses:
    """Each change is written before it holds. Raises OSError where it cannot be."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._now = _Paused()
        try:
            self._now = read_whole(path, _Paused) or self._now
        except (msgspec.MsgspecError, OSError) as error:
            _log.error("%s cannot be read, nothing is paused: %s", path, error)

    def runs(self) -> tuple[str, ...]:
        return tuple(self._now.runs)

    def has_run(self, run: str) -> bool:
        return run in self._now.runs

    def has_device(self, device: str) -> bool:
        return device in self._now.devices

    def pause_run(self, run: str, stop: bool) -> None:
        self._write(runs={**self._now.runs, run: stop})

    def pause_device(self, device: str, stop: bool) -> None:
        self._write(devices={**self._now.devices, device: stop})

    def resume_run(self, run: str) -> None:
        if self.has_run(run):
            self._write(runs={k: v for k, v in self._now.runs.items() if k != run})

    def resume_device(self, device: str) -> None:
        if self.has_device(device):
            self._write(devices={k: v for k, v in self._now.devices.items() if k != device})

    def rules(self) -> tuple[Rule, ...]:
        """Nothing new starts, as long as these hold."""
        runs = (
            Rule(source="you", run=run, max_attempts=0, stops=stop, because=_BECAUSE)
            for run, stop in self._now.runs.items()
        )
        devices = (
            Rule(source="you", device=device, max_attempts=0, stops=stop, because=_BECAUSE)
            for device, stop in self._now.devices.items()
        )
        return (*runs, *devices)

    def _write(self, **fields: dict[str, bool]) -> None:
        changed = msgspec.structs.replace(self._now, **fields)
        if changed.runs or changed.devices:
            write_whole(self._path, changed)
        else:
            self._path.unlink(missing_ok=True)
        self._now = changed
