"""The forecaster of one ``optimize`` call, and the file by which it outlives the host."""

from __future__ import annotations

import contextlib
import hashlib
import math
import sys
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from scheduler.core.actions import Settle
from scheduler.core.forecast import Forecaster, Observation, Value
from scheduler.core.forecast.taught import taught
from scheduler.core.model import Budget, Run
from scheduler.machine import peaks
from scheduler.machine.peaks import Peak
from scheduler.machine.runs import RunSpec, read_whole
from scheduler.machine.state import StateFolder

EARLIER_RUNS = 50  #: so many are looked at for one of the same target
_ALIKE = 20  #: trials whose parameters are compared
_LONG = 200  #: characters; a longer text says nothing that a forecast could use
_WHOLE = 2**63  #: JSON as we write it holds whole numbers below


@dataclass(frozen=True, kw_only=True)
class Shown:
    """What an attempt that has ended has shown of itself. ``peak_bytes``: by its own count."""

    params: Mapping[str, Any] = field(default_factory=dict)
    reported: bool = False
    pruned: bool = False
    peak_bytes: int | None = None


class History:
    """``forecaster`` is there from ``begin`` on."""

    def __init__(self, state: StateFolder, folder: Path, spec: RunSpec, line: int) -> None:
        self._state = state
        self._folder = folder
        self._spec = spec
        self._line = line
        self._version = version_of(spec)
        self._kinds: dict[str, str] = {}  #: of devices, by key
        self._names: deque[frozenset[str]] = deque(maxlen=_ALIKE)
        self.forecaster: Forecaster | None = None

    def begin(self, budgets: Mapping[str, Budget]) -> None:
        """The devices are known. What is remembered of them is taken in, once."""
        self._kinds |= {key: budget.device.kind for key, budget in budgets.items()}
        if self.forecaster is not None:
            return
        run = self._spec.run
        mine = [budget for budget in budgets.values() if budget.is_for(run)]
        self.forecaster = forecaster_of(run, mine, self._version)
        kinds: set[str] = {budget.device.kind for budget in mine}
        for peak in self._remembered(kinds):
            self._add(self.forecaster, peak)

    def _add(self, forecaster: Forecaster, peak: Peak) -> None:
        forecaster.add(observed(peak))
        if not peak.ran_out:  # else it may have ended before it suggested all
            self._names.append(frozenset(peak.params))

    def is_like(self, params: Mapping[str, Value]) -> bool:
        """*params* lack none of the parameters that every trial of late has had."""
        return bool(self._names) and frozenset.intersection(*self._names) <= params.keys()

    def _remembered(self, kinds: set[str]) -> list[Peak]:
        """This run's own, with what it took over when it began. A disk that does not let us read
        costs no more than the knowledge."""
        with contextlib.suppress(OSError):
            own = peaks.shorten(self._folder, peaks.read(self._folder))
            found = [peak for peak in own if peak.line == self._line]
            if not found:
                found = list(self._taken_over(kinds))
                for peak in found:
                    peaks.append(self._folder, peak)
            return [peak for peak in found if peak.kind in kinds]
        return []

    def _taken_over(self, kinds: set[str]) -> Iterator[Peak]:
        """What an earlier run has seen of the same call."""
        earlier = earlier_run(self._state, self._spec)
        if earlier is None:
            return
        for peak in peaks.read(self._state.run(earlier))[-peaks.KEPT_LINES :]:
            if peak.line == self._line and peak.kind in kinds:
                yield msgspec.structs.replace(peak, taken_from=peak.taken_from or earlier)

    def learn(self, settle: Settle, shown: Shown) -> bool:
        """Take in how an attempt ended; whether that has taught anything."""
        seen = seen_of(settle, shown)
        kind = self._kinds.get(settle.attempt.device)
        if seen is None or kind is None or self.forecaster is None:
            return False
        held_bytes, ran_out = seen
        peak = Peak(
            line=self._line,
            kind=kind,
            params=plain(shown.params),
            bytes=held_bytes,
            ran_out=ran_out,
            version=self._version,
        )
        with contextlib.suppress(OSError):  # of a full disk: it is known here all the same
            peaks.append(self._folder, peak)
        self._add(self.forecaster, peak)
        return True


def forecaster_of(run: Run, budgets: Iterable[Budget], version: str) -> Forecaster:
    """*budgets*: of the devices that *run* may use. What they would promise is where it starts."""
    default = max((budget.promise_bytes for budget in budgets), default=None)
    promise = run.promise_bytes if run.promise_bytes is not None else default
    return Forecaster(
        promise_bytes=promise, overrun_share=run.overrun_share, version=version or None
    )


def observed(peak: Peak) -> Observation:
    return Observation(
        params=peak.params, bytes=peak.bytes, ran_out=peak.ran_out, version=peak.version
    )


def seen_of(settle: Settle, shown: Shown) -> tuple[int, bool] | None:
    """As ``taught``."""
    return taught(
        settle,
        own_peak_bytes=shown.peak_bytes,
        reported=shown.reported,
        pruned=shown.pruned,
    )


def plain(params: Mapping[str, Any]) -> dict[str, Value]:
    """Those that a forecast can go by: numbers and short texts."""
    return {name: value for name, value in params.items() if _is_plain(value)}


def _is_plain(value: Any) -> bool:
    if value is None or isinstance(value, bool):
        return True
    if isinstance(value, int):
        return type(value) is int and -_WHOLE <= value < _WHOLE
    if isinstance(value, float):
        return type(value) is float and math.isfinite(value)
    return type(value) is str and len(value) <= _LONG


def version_of(spec: RunSpec) -> str:
    """Of the user's code and what it is called with, which may be other data; "": not readable."""
    with contextlib.suppress(OSError):
        text = hashlib.sha256(_source(spec).read_bytes())
        text.update("\0".join(("", *spec.arguments)).encode(errors="replace"))
        return text.hexdigest()[:12]
    return ""


def _source(spec: RunSpec) -> Path:
    if spec.kind == "script":
        return Path(spec.folder) / spec.target
    module = sys.modules.get(spec.target.partition(":")[0])
    return Path(getattr(module, "__file__", None) or "")


def earlier_run(state: StateFolder, spec: RunSpec) -> str | None:
    """The run whose peaks *spec*'s run starts from; None: none. Raises OSError.

    By default the newest of the same target that has seen any.
    """
    wanted = spec.memory_from
    if wanted == "none":
        return None
    if wanted != "auto":
        return wanted
    others = [run for run in state.run_ids() if run != spec.run.id]
    for run in others[:EARLIER_RUNS]:
        with contextlib.suppress(msgspec.MsgspecError, ValueError, OSError):
            other = read_whole(state.run(run) / "run.json", RunSpec)
            if other is not None and _is_same_target(other, spec) and peaks.read(state.run(run)):
                return run
    return None


def _is_same_target(one: RunSpec, other: RunSpec) -> bool:
    if one.kind != other.kind:
        return False
    if one.kind == "script":
        return _source(one).resolve() == _source(other).resolve()
    return (one.target, one.folder) == (other.target, other.folder)
