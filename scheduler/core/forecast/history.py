"""The observations that a forecaster keeps, and which of them are of the same time.

An era is a stretch in which the same parameters need the same memory: a version of the user's code,
or what lies between two drifts that were noticed.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping

import msgspec

from scheduler.core.forecast import quantile
from scheduler.core.forecast.model import NEW_SPREAD, Seen
from scheduler.core.forecast.observation import Observation, Value, key_of

KEPT = 500  #: newest observations
FITTED = 240  #: newest peaks that a model knows; with more it was no better
BOUNDS = 60  #: newest trials out of memory that a model knows
ERAS = 6  #: that a model tells apart; what is older counts as the oldest of them
SETTLED = 8  #: peaks, with which an era stands for itself
BEYOND = 1.25  #: what ran out is taken to have needed so much more, where nothing else is known


class History:
    """``version``: whose era it is now; None: that of the last observation."""

    def __init__(self, version: str | None) -> None:
        self._version = version
        self._kept: deque[tuple[str, Seen]] = deque(maxlen=KEPT)  #: with the key of its parameters
        self._eras: dict[str, int] = {}  #: of each version, the last one
        self._begun = 0
        self._floors: dict[str, int] = {}  #: of parameters that ran out and have not finished since

    def __len__(self) -> int:
        return len(self._kept)

    @property
    def ran_out(self) -> int:
        return sum(one.ran_out for _, one in self._kept)

    @property
    def era(self) -> int:
        """Of what is forecast now; one that nothing was seen of yet is the next number."""
        if self._version is not None:
            return self.era_of(self._version)
        return self._kept[-1][1].era if self._kept else 0

    def era_of(self, version: str) -> int:
        return self._eras.get(version, self._begun)

    def is_new(self, version: str) -> bool:
        """Nothing was seen of it, but of others."""
        return bool(self._eras) and version not in self._eras

    def add(self, it: Observation, promised_bytes: int | None) -> None:
        """``promised_bytes``: what would have been promised for it."""
        if it.version not in self._eras:
            self._eras[it.version] = self._begun
            self._begun += 1
        key = key_of(it.params)
        seen = Seen(
            params=it.params, bytes=it.bytes, era=self._eras[it.version], ran_out=it.ran_out
        )
        self._kept.append((key, seen))
        floor = self._floors.pop(key, 0)
        if it.ran_out:
            self._floors[key] = max(floor, promised_bytes or 0, int(it.bytes * BEYOND))
        for old in list(self._floors)[:-KEPT]:
            del self._floors[old]

    def begin_era(self, version: str, trials: int) -> None:
        """The last *trials* of this version's are of a new one."""
        era = self._eras[version]
        places = [i for i, (_, one) in enumerate(self._kept) if one.era == era]
        for place in places[-trials:]:
            key, one = self._kept[place]
            self._kept[place] = key, msgspec.structs.replace(one, era=self._begun)
        self._eras[version] = self._begun
        self._begun += 1

    def floor(self, params: Mapping[str, Value]) -> int:
        """What is promised at least: these very parameters ran out with less."""
        return self._floors.get(key_of(params), 0)

    def peaks(self) -> int:
        return sum(not one.ran_out for _, one in self._kept)

    def largest(self) -> int:
        """The largest peak that was really seen; 0: none was."""
        return max((one.bytes for _, one in self._kept if not one.ran_out), default=0)

    def most_needed(self) -> float:
        """By any trial, those that ran out counted as ``sizes`` does; 0: nothing was seen."""
        return max(self.sizes(), default=0.0)

    def seen(self) -> list[Seen]:
        """For a model: the newest peaks, oldest first, and what ran out, the largest bound of each
        parameters' and none of those that have finished too."""
        peaks = [one for _, one in self._kept if not one.ran_out][-FITTED:]
        eras = sorted({one.era for one in peaks})[-ERAS:]
        return [
            one if one.era in eras else msgspec.structs.replace(one, era=eras[0]) for one in peaks
        ] + list(self._bounds().values())[-BOUNDS:]

    def _bounds(self) -> dict[str, Seen]:
        finished = {key for key, one in self._kept if not one.ran_out}
        bounds: dict[str, Seen] = {}
        for key, one in self._kept:
            if one.ran_out and key not in finished:
                last = bounds.pop(key, None)
                bounds[key] = one if last is None or one.bytes >= last.bytes else last
        return bounds

    def sizes(self, era: int | None = None) -> list[float]:
        """Peaks, and what ran out as if it had needed a quarter more. None: of all eras."""
        kept = [one for _, one in self._kept if not one.ran_out] + list(self._bounds().values())
        return [
            one.bytes * (BEYOND if one.ran_out else 1.0)
            for one in kept
            if era is None or one.era == era
        ]

    def quantile(self, share: float) -> tuple[float, float]:
        """What at most *share* of all exceeds, whatever their parameters, and what half of them
        does. There is an observation."""
        now, before = self.sizes(self.era), self.sizes()
        if len(now) >= SETTLED or len(now) == len(before):
            return quantile.upper(now, share), quantile.middle(now)
        upper = quantile.upper(before, share)
        if not now:
            return upper * (1 + NEW_SPREAD), quantile.middle(before)
        return max(upper, quantile.upper(now, share)), quantile.middle(now)
