"""What a user sets of a run while it goes on: names, their values, what undoes a change. Pure.

Kept in the run's folder, whole, and merged: what was set before holds until it is set again. The
host says of each what became of it. ``scheduler set`` writes, the host reads.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Literal, get_args

import msgspec

from scheduler.core.model import Change
from scheduler.strategies.asked import SUBJECTS, PruningName

FILE = "wishes.json"
ANSWERS = "wishes-taken.json"
Key = Literal[
    "pruning",
    "ranges",
    "target",
    "floor",
    "patience",
    "extend_to",
    "n_trials",
    "max_trials",
    "fixed",
]
#: In this order they are taken up: what is fixed first, and the number of trials before what goes
#: by it.
KEYS: tuple[Key, ...] = (
    "fixed",
    "n_trials",
    "extend_to",
    "target",
    "floor",
    "patience",
    "max_trials",
    "pruning",
    "ranges",
)
#: What each key belongs to.
SUBJECT: dict[Key, str] = {
    "pruning": "pruning",
    "ranges": "ranges",
    "max_trials": "concurrency",
    "fixed": "",
}


class Wish(msgspec.Struct, frozen=True, kw_only=True):
    value: str  #: "": none
    number: int  #: of all that was ever set of the run; a later one is larger
    because: str = "set by you"


class Wishes(msgspec.Struct, frozen=True, kw_only=True):
    """By key; what is not there is as the run was asked for."""

    of: dict[str, Wish] = {}

    def merged(self, values: Mapping[Key, str], because: str) -> Wishes:
        """With *values* in the place of what was set before."""
        last = max((wish.number for wish in self.of.values()), default=0)
        new: dict[str, Wish] = {
            key: Wish(value=value, number=last + 1, because=because)
            for key, value in values.items()
        }
        return Wishes(of={**self.of, **new})


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """What became of a wish."""

    number: int
    said: str


class Answers(msgspec.Struct, frozen=True, kw_only=True):
    of: dict[str, Answer] = {}


def parse(words: Sequence[str]) -> dict[Key, str]:
    """``("target=0.9", "ranges=off")``. Raises ValueError with a sentence."""
    values: dict[Key, str] = {}
    for word in words:
        name, sign, value = word.partition("=")
        key = _key(name.strip().replace("-", "_"))
        if not sign:
            raise ValueError(f"{word!r}: say {key}=VALUE; {_FORMS[key]}")
        if key in values:
            raise ValueError(f"{key} is set twice")
        try:
            values[key] = _READ[key](value.strip())
        except ValueError:
            raise ValueError(f"{key}={value.strip()}: {_FORMS[key]}") from None
    return values


def _key(name: str) -> Key:
    for key in KEYS:
        if key == name:
            return key
    raise ValueError(f"{name!r} cannot be set; what can: {', '.join(get_args(Key))}")


def number_of(value: str) -> float | None:
    """A value of ``target`` or ``floor``. Raises ValueError."""
    if not value or value == "none":
        return None
    number = float(value)
    if not math.isfinite(number):
        raise ValueError(value)
    return number


def count_of(value: str) -> int | None:
    """A value of what counts trials. Raises ValueError."""
    if not value or value == "none":
        return None
    count = int(value)
    if count < 1:
        raise ValueError(value)
    return count


def subjects_of(value: str) -> tuple[str, ...]:
    """A value of ``fixed``. Raises ValueError."""
    names = [name.strip() for name in value.split(",") if name.strip() not in ("", "none")]
    if not set(names) <= set(SUBJECTS):
        raise ValueError(value)
    return tuple(dict.fromkeys(names))


def _number(value: str) -> str:
    number = number_of(value)
    return "" if number is None else repr(number)


def _count(value: str) -> str:
    count = count_of(value)
    return "" if count is None else str(count)


def _one_count(value: str) -> str:
    return str(int(count_of(value) or "none"))


def _subjects(value: str) -> str:
    return ",".join(subjects_of(value))


def _among(*words: str) -> Callable[[str], str]:
    def read(value: str) -> str:
        if value not in words:
            raise ValueError(value)
        return value

    return read


_READ: dict[Key, Callable[[str], str]] = {
    "pruning": _among(*get_args(PruningName)),
    "ranges": _among("on", "off"),
    "target": _number,
    "floor": _number,
    "patience": _count,
    "extend_to": _count,
    "n_trials": _one_count,
    "max_trials": _count,
    "fixed": _subjects,
}
_VALUE = "a number, or nothing for none"
_TRIALS = "a whole number from 1, or nothing for none"
_FORMS: dict[Key, str] = {
    "pruning": f"one of {', '.join(get_args(PruningName))}",
    "ranges": "on or off",
    "target": _VALUE,
    "floor": _VALUE,
    "patience": _TRIALS,
    "extend_to": _TRIALS,
    "n_trials": "a whole number from 1",
    "max_trials": _TRIALS,
    "fixed": f"any of {', '.join(SUBJECTS)} with commas between, or nothing for none",
}

# -- taking back -----------------------------------------------------------------------------------

_SCHEDULERS_OWN: dict[str, str] = {
    "stopped": "a trial was stopped to make room; it comes back by itself",
    "fault": "a GPU fault is nothing that was decided",
    "service": "to use the device again: scheduler resume-device",
}
#: What the core changes for a trial is a matter of its promise.
_PROMISE = ("promise", "alone", "capacity")
#: What a subject may be, as a change says it.
FREE, KEPT = "may change by itself", "kept as it is"
_ENDS = re.compile(r"ends by its (target|floor|patience)\b")
_GOES_ON = re.compile(r"(\d+) trials?")
_AT_ONCE = re.compile(r"(\d+) at once|no limit")
_NAMED = re.compile(r"(?:no )?(target|floor|patience|extend_to)(?: (\S+))?")


def undo(change: Change, fixed: Sequence[str]) -> dict[Key, str]:
    """What is to be set so that *change* is taken back; with what is *fixed* now.

    One of the scheduler's own is kept from happening again. Raises ValueError with a sentence where
    nothing can be set.
    """
    if change.what in _SCHEDULERS_OWN:
        raise ValueError(_SCHEDULERS_OWN[change.what])
    if change.what in _PROMISE:
        return _fixing({}, "promise", fixed)
    if change.by == "you":
        return _back(change, fixed)
    if change.what == "concurrency":
        return _fixing({}, "concurrency", fixed)
    return _fixing(_back(change, fixed), change.what, fixed)


def _fixing(values: dict[Key, str], subject: str, fixed: Sequence[str]) -> dict[Key, str]:
    return {"fixed": ",".join(dict.fromkeys([*fixed, subject])), **values}


def _back(change: Change, fixed: Sequence[str]) -> dict[Key, str]:
    """To what was before."""
    if (change.before, change.after) == (FREE, KEPT):
        return {"fixed": ",".join(one for one in fixed if one != change.what)}
    if (change.before, change.after) == (KEPT, FREE):
        return _fixing({}, change.what, fixed)
    if change.what == "pruning":
        return {"pruning": change.before}
    if change.what == "ranges":
        return {"ranges": change.before}
    if change.what == "concurrency" and (found := _AT_ONCE.fullmatch(change.before)):
        return {"max_trials": found[1] or ""}
    if found := _ENDS.match(change.after):
        return _one(found[1], "")
    if found := _GOES_ON.fullmatch(change.before):
        went_on = change.after.startswith("up to ")
        return {"n_trials": found[1], **({"floor": ""} if went_on else {})}
    if found := _NAMED.fullmatch(change.before):
        return _one(found[1], found[2] or "")
    raise ValueError(f"what was before cannot be set: {change.before}")


def _one(name: str, value: str) -> dict[Key, str]:
    return {_key(name): value}
