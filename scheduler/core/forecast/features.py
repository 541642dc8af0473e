"""Parameters as numbers, straight from their values: no search space is asked for.

Each parameter becomes a group of columns: its number, on the logarithm's scale where that is wide,
and one column for each other thing that it may be (a word, True, None, not there at all). So a
parameter that exists only sometimes, or is a number only sometimes, needs no case of its own.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray

from scheduler.core.forecast.observation import Value

Array = NDArray[np.float64]

WIDE = 3.0  #: times the smallest: from there on a positive number is looked at by its logarithm
MOST_KINDS = 12  #: with more words than this a parameter is a name and not a category
MOST_GROUPS = 16  #: parameters looked at, those that go along with memory most
FURTHEST = 6.0  #: that a number is placed; nothing is known of further out anyway
BETWEEN = 1.5  #: between two categories, where a number's ends are 2 apart
NUMBER = "a number"
MISSING = "not there"


class Group(msgspec.Struct, frozen=True, kw_only=True):
    """One parameter. ``low`` to ``high``, logarithms where ``log``, become -1 to 1."""

    name: str
    low: float
    high: float
    log: bool
    kinds: tuple[str, ...]  #: what it was seen to be; one column for each if there is more than one

    @property
    def width(self) -> int:
        return (self.high > self.low) + (len(self.kinds) if len(self.kinds) > 1 else 0)

    def columns(self, value: Value | None, *, there: bool) -> list[float]:
        number = as_number(value) if there else None
        said: list[float] = []
        if self.high > self.low:
            said.append(0.0 if number is None else self._placed(number))
        if len(self.kinds) > 1:
            kind = kind_of(value, there=there)
            said += [BETWEEN / math.sqrt(2) * (one == kind) for one in self.kinds]
        return said

    def is_strange(self, value: Value | None, *, there: bool) -> bool:
        """Of a kind that was not seen, or a number by half of the range outside of it."""
        if kind_of(value, there=there) not in self.kinds:
            return True
        number = as_number(value) if there else None
        if number is None:
            return False
        if self.high > self.low:
            return abs(self._placed(number)) > 2.0
        return number != self.low

    def _placed(self, number: float) -> float:
        if self.log and number <= 0:
            return -FURTHEST
        number = math.log(number) if self.log else number
        place = 2 * ((number - self.low) / (self.high - self.low)) - 1
        return min(FURTHEST, max(-FURTHEST, place))


class Encoding(msgspec.Struct, frozen=True, kw_only=True):
    """How parameters are turned into columns, fixed by those that were seen."""

    groups: tuple[Group, ...]
    constant: tuple[Group, ...]  #: they have had one value only
    dropped: tuple[str, ...]  #: of too many words

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(group.name for group in self.groups)

    def rows(self, seen: Sequence[Mapping[str, Value]]) -> list[Array]:
        """An array for each group, with a row for each of *seen*."""
        return [
            np.array([group.columns(one.get(group.name), there=group.name in one) for one in seen])
            for group in self.groups
        ]

    def is_strange(self, params: Mapping[str, Value]) -> bool:
        """Unlike all that was seen in some parameter. A name that is new altogether counts too."""
        known = self.groups + self.constant
        names = {*self.dropped, *(one.name for one in known)}
        return not names.issuperset(params) or any(
            one.is_strange(params.get(one.name), there=one.name in params) for one in known
        )


def encoding(seen: Sequence[Mapping[str, Value]], target: Array) -> Encoding:
    """From the parameters *seen* and what they are to explain, one for each."""
    names = sorted({name for one in seen for name in one})
    groups = [one for one in (_group(name, seen) for name in names) if one is not None]
    dropped = set(names) - {one.name for one in groups}
    telling = [one for one in groups if one.width]
    if len(telling) > MOST_GROUPS:
        by_weight = sorted(telling, key=lambda one: -_weight(one, seen, target))
        dropped |= {one.name for one in by_weight[MOST_GROUPS:]}
        telling = [one for one in telling if one.name not in dropped]
    constant = tuple(one for one in groups if not one.width)
    return Encoding(groups=tuple(telling), constant=constant, dropped=tuple(sorted(dropped)))


def _group(name: str, seen: Sequence[Mapping[str, Value]]) -> Group | None:
    """None: it has too many words to be a category."""
    kinds = {kind_of(one.get(name), there=name in one) for one in seen}
    if len(kinds) > min(MOST_KINDS, max(3, len(seen) // 2)):
        return None
    numbers = [as_number(one.get(name)) for one in seen if name in one]
    known = [one for one in numbers if one is not None]
    low, high = min(known, default=0.0), max(known, default=0.0)
    log = low > 0 and high / low > WIDE
    if log:
        low, high = math.log(low), math.log(high)
    if not math.isfinite(high - low):
        low = high = 0.0
    return Group(name=name, low=low, high=high, log=log, kinds=tuple(sorted(kinds)))


def _weight(group: Group, seen: Sequence[Mapping[str, Value]], target: Array) -> float:
    """Share of the target's variation that the group explains by itself, its squares included."""
    rows = np.array([group.columns(one.get(group.name), there=group.name in one) for one in seen])
    columns = np.concatenate([np.ones((len(rows), 1)), rows, rows**2], axis=1)
    fitted = columns @ np.linalg.lstsq(columns, target, rcond=None)[0]
    share = float(np.var(fitted)) / max(float(np.var(target)), 1e-12)
    return share - float(columns.shape[1]) / len(rows)


def as_number(value: Value | None) -> float | None:
    """None: it is none, or none that can be worked with."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if math.isfinite(number) else None


def kind_of(value: Value | None, *, there: bool) -> str:
    if not there:
        return MISSING
    return NUMBER if as_number(value) is not None else repr(value)
