"""What is known of a trial's memory, what is forecast from it, and what people are told of that."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import msgspec

Value = float | int | str | bool | None
Level = Literal["promise", "quantile", "model"]
#: Times what is expected: the promise of one that with its whole margin fits nowhere.
LIKELY = 1.05
#: What an attempt may hold above its promise; its cap is a tenth above.
LENT = 1.05
#: All of that, of what few peaks are extrapolated to. The story this prevents: 1. peaks are 5 to
#: 6.5 GiB, 2. from six of them 7 is extrapolated, 3. of two that fit in 13.2 one waits, for 50
#: trials. (30 such trials took 6 hours, and take 4 h 10 min; 0.3 of them ran out of memory.)
LENT_OF_FEW = 1.1


class Observation(msgspec.Struct, frozen=True, kw_only=True):
    """One attempt that ended by itself or by lack of memory."""

    params: dict[str, Value]
    bytes: int  #: its peak; a lower bound of it where it ran out
    ran_out: bool = False  #: of memory, at ``bytes``: it needs more
    version: str = ""  #: of the user's code; another one counts as drift


class Forecast(msgspec.Struct, frozen=True, kw_only=True):
    bytes: int  #: that it will not need more than, margin included
    expected_bytes: int  #: without the margin; never more than ``bytes``
    level: Level
    #: Far from all that was seen, or the margin is wide: it is worth trying in spite of it.
    doubtful: bool = False
    needed_bytes: int = 0  #: by the quantile: the most that a trial has needed; 0: not known

    @property
    def promise_bytes(self) -> int:
        """What to promise for it: a little less than it may come to need.

        An attempt may hold a tenth more than its promise before it fails, which the reserve covers,
        so that still no more fail than may. Never less than is expected by the model, or than one
        has needed.
        """
        match self.level:
            case "model":
                return max(self.expected_bytes, int(self.bytes / LENT))
            case "quantile" if self.needed_bytes:
                return max(min(self.bytes, self.needed_bytes), int(self.bytes / LENT_OF_FEW))
        return self.bytes

    def is_hopeless(self, most_bytes: int) -> bool:
        """A device with *most_bytes* for it would most likely not hold the trial.

        The promise says nothing of that, as its margin is wide while little is known. The story
        this prevents: 1. a first few trials of a range differ, 2. the quantile of the next is
        beyond the card, 3. half of what would fit is refused and never measured. (On a wall at
        half of the sizes: 52 % of the first 50 candidates, and none by this rule.)
        """
        return self.level == "model" and self.expected_bytes > most_bytes

    def within(self, most_bytes: int) -> int:
        """Bytes to be promised where a device gives no more than *most_bytes*.

        Of one that is hopeless as many as ever, so that it is known as too big. Of one that only
        its margin makes too big, little more than what is expected: what is gained by starting it
        alone with all there is, the others that wait for it lose. (Of trials of which every 25th
        needs twice what its parameters say, 57 % of the attempts' time was spent alone.)
        """
        if self.promise_bytes <= most_bytes or self.is_hopeless(most_bytes):
            return self.promise_bytes
        likely = LIKELY * self.expected_bytes if self.level == "model" else most_bytes
        return min(most_bytes, int(likely))


class Driver(msgspec.Struct, frozen=True, kw_only=True):
    name: str
    share: float  #: of the variation of memory, 0 to 1


class Belief(msgspec.Struct, frozen=True, kw_only=True):
    """What a forecaster thinks of itself, for people. Errors are medians, relative to the peak."""

    level: Level
    count: int  #: observations kept
    ran_out: int  #: of them lower bounds
    judged: int  #: forecasts whose trial's peak was seen later
    coverage: float | None  #: share of these that was not exceeded; None: there are none
    over_promise: float | None  #: promise / peak - 1 of these, the median
    model_error: float | None  #: on trials it was not fitted to; None: there is no model
    quantile_error: float | None  #: of the plain middle of the peaks, on the same ones
    drivers: tuple[Driver, ...] = ()  #: largest first
    drifts: tuple[str, ...] = ()  #: a sentence for each time old history was discounted


def key_of(params: Mapping[str, Value]) -> str:
    """Equal for equal parameters, in any order; 1, 1.0 and True are three."""
    return repr(sorted((name, repr(value)) for name, value in params.items()))
