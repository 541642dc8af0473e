"""Where the best trials lie, parameter by parameter.

Pure: trials and distributions come in as plain values. Whether narrowing to these ranges does any
good is in ``wins``.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import Any, Literal

import msgspec

BEST_SHARE = 0.25  #: of the finished trials that have the parameter
BEST_LEAST = 4  #: but never fewer than so many
MARGIN = 0.15  #: of the full range, on either side of the best quarter's span
TRIALS_LEAST = 10  #: complete ones, with which a parameter may be narrowed
TRIED_LEAST = 3  #: a category that was tried less often is not judged
WORTH = 0.9  #: a range that keeps more than this is left as it is
PLAIN = (type(None), bool, int, float, str)  #: categories that can be written down

Side = Literal["low", "high"]


class Range(msgspec.Struct, frozen=True, kw_only=True):
    """What a parameter may be, as Optuna's three distributions say it.

    ``low`` to ``high``, both included, are None for categories, which have ``choices``.
    """

    kind: Literal["float", "int", "categorical"]
    low: float | int | None = None
    high: float | int | None = None
    step: float | int | None = None  #: None: any number between
    log: bool = False
    choices: tuple[Any, ...] = ()


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """What a range is narrowed to: from ``low`` to ``high``, or the ``choices`` that stay.

    Both where somebody wrote ``[16, 64]``, which the parameter's own kind decides.
    """

    low: float | int | None = None
    high: float | int | None = None
    choices: tuple[Any, ...] = ()


class Seen(msgspec.Struct, frozen=True, kw_only=True):
    """A finished trial. ``value``: larger is better; None: it was pruned."""

    value: float | None
    params: dict[str, Any]
    ranges: dict[str, Range]


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """One parameter. ``limits`` is None where it is not narrowed, and ``because`` says why."""

    name: str
    full: Range
    limits: Limits | None
    because: str | None
    trials: int  #: finished ones that it rests on
    best: tuple[Any, ...]  #: its values in the best quarter, best first
    kept_share: float  #: of the full range, on its own scale; of categories, of their number


def table(trials: Sequence[Seen]) -> tuple[Row, ...]:
    """A row for each parameter, in the order in which the trials first had them."""
    names = dict.fromkeys(name for trial in trials for name in trial.ranges)
    return tuple(_row(name, [one for one in trials if name in one.ranges]) for name in names)


def limits_of(rows: Iterable[Row]) -> dict[str, Limits]:
    """Of those that are narrowed."""
    return {row.name: row.limits for row in rows if row.limits is not None}


def _row(name: str, trials: Sequence[Seen]) -> Row:
    """Of the *trials* that have the parameter. Where its kind has changed, the last one counts."""
    last = trials[-1].ranges[name]
    alike = [one for one in trials if _is_alike(one.ranges[name], last)]
    full = _widest([one.ranges[name] for one in alike])
    best = tuple(one.params[name] for one in best_of(alike))
    limits, because, kept = None, _why_not(full, alike), 1.0
    if because is None:
        tried = [one.params[name] for one in alike]
        limits = _among(full, best, tried) if full.choices else _around(full, best)
        kept = kept_share(full, limits)
    if kept > WORTH and limits is not None:
        limits, because, kept = None, "the best lie all over it", 1.0
    return Row(
        name=name,
        full=full,
        limits=limits,
        because=because,
        trials=len(alike),
        best=best,
        kept_share=kept,
    )


def best_of(trials: Sequence[Seen]) -> list[Seen]:
    """The best quarter of *trials*, best first.

    What was pruned or diverged counts among the trials, and is never among the best.
    """
    ranked = sorted((one for one in trials if _is_ranked(one)), key=lambda one: -(one.value or 0))
    return ranked[: max(BEST_LEAST, math.ceil(BEST_SHARE * len(trials)))]


def _is_ranked(trial: Seen) -> bool:
    return trial.value is not None and math.isfinite(trial.value)


def _is_alike(one: Range, other: Range) -> bool:
    return (one.kind, one.log, one.choices) == (other.kind, other.log, other.choices)


def _widest(ranges: Sequence[Range]) -> Range:
    """A script may choose a range anew for each trial: from the lowest end to the highest."""
    last = ranges[-1]
    if last.low is None or last.high is None:
        return last
    low = min(one.low for one in ranges if one.low is not None)
    high = max(one.high for one in ranges if one.high is not None)
    return msgspec.structs.replace(last, low=low, high=high)


def _why_not(full: Range, trials: Sequence[Seen]) -> str | None:
    complete = sum(map(_is_ranked, trials))
    if complete < TRIALS_LEAST:
        return f"{complete} complete trials; {TRIALS_LEAST} are needed"
    if full.low == full.high and len(full.choices) < 2:
        return "it has one value only"
    if not all(isinstance(choice, PLAIN) for choice in full.choices):
        return "its categories cannot be written down"
    return None


def _among(full: Range, best: Sequence[Any], tried: Sequence[Any]) -> Limits:
    stay = (one for one in full.choices if one in best or tried.count(one) < TRIED_LEAST)
    return Limits(choices=tuple(stay))


def _around(full: Range, best: Sequence[Any]) -> Limits:
    """The best quarter's span and the margin, no further than the grid point outside of it."""
    margin = MARGIN * (scaled(full, full.high) - scaled(full, full.low))
    places = [scaled(full, value) for value in best]
    return _between(full, min(places) - margin, max(places) + margin)


def _between(full: Range, low: float, high: float) -> Limits:
    """From *low* to *high*, which are on the range's scale, and never beyond the range."""
    assert full.low is not None
    assert full.high is not None
    ends = [full.low if low <= scaled(full, full.low) else _unscaled(full, low)]
    ends += [full.high if high >= scaled(full, full.high) else _unscaled(full, high)]
    if full.step is not None:
        low_place = math.floor((ends[0] - full.low) / full.step + 1e-9)
        high_place = math.ceil((ends[1] - full.low) / full.step - 1e-9)
        ends = [on_grid(full, low_place), min(full.high, on_grid(full, high_place))]
    return Limits(low=ends[0], high=ends[1])


def on_grid(full: Range, place: int) -> float | int:
    """The range's *place*-th value from 0, as a decimal number: 0.1 * 3 is 0.3."""
    if full.kind == "int":
        return int(full.low or 0) + place * int(full.step or 1)
    return float(Decimal(str(full.low)) + place * Decimal(str(full.step)))


def scaled(full: Range, value: Any) -> float:
    """A number on the range's own scale, which is the logarithm's where it is drawn so."""
    return math.log(value) if full.log else float(value)


def _unscaled(full: Range, place: float) -> float:
    return math.exp(place) if full.log else place


def kept_share(full: Range, limits: Limits) -> float:
    if full.choices:
        return len(limits.choices) / len(full.choices)
    width = scaled(full, limits.high) - scaled(full, limits.low)
    whole = scaled(full, full.high) - scaled(full, full.low)
    if full.step is not None and not full.log:  # values are counted: 2 of 3 and not half
        width, whole = width + full.step, whole + full.step
    return min(1.0, width / whole) if whole > 0 else 1.0


def narrowed(full: Range, limits: Limits) -> Range | None:
    """*full* without what is outside of *limits*. None: nothing would be left, or it is no such
    parameter."""
    if full.choices or (limits.low is None and limits.high is None):
        stay = tuple(one for one in full.choices if one in limits.choices)
        return msgspec.structs.replace(full, choices=stay) if stay else None
    assert full.low is not None
    assert full.high is not None
    low = full.low if limits.low is None else max(full.low, limits.low)
    high = full.high if limits.high is None else min(full.high, limits.high)
    if full.step is not None:
        low = on_grid(full, math.ceil((low - full.low) / full.step - 1e-9))
        high = on_grid(full, math.floor((high - full.low) / full.step + 1e-9))
    return msgspec.structs.replace(full, low=low, high=high) if low <= high else None


def holds(it: Range, value: Any) -> bool:
    """*value* is inside. The grid is not looked at."""
    if it.low is None or it.high is None:
        return value in it.choices
    return bool(it.low <= value <= it.high)


def widened(full: Range, limits: Limits, side: Side) -> Limits | None:
    """Twice as wide, all of it to one side. None: so little is left to leave out that it is full.

    Of categories there is no side: they all come back.
    """
    if full.choices:
        return None
    low, high = scaled(full, limits.low), scaled(full, limits.high)
    span = max(high - low, MARGIN * (scaled(full, full.high) - scaled(full, full.low)))
    wider = _between(full, low - span, high) if side == "low" else _between(full, low, high + span)
    return None if kept_share(full, wider) > WORTH else wider
