"""What an attempt writes down about its end, before it tells anybody.

One JSON file an attempt, fsynced, so that a host that is killed right after finds
the result when it is resumed. No pickle: the file outlives the processes.
"""

from __future__ import annotations

import os
import traceback
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

import msgspec
from optuna.exceptions import TrialPruned


class Unfit(msgspec.Struct, frozen=True):
    """In the place of something that is no number: not castable, and shown as the thing was."""

    shown: str

    def __repr__(self) -> str:
        return self.shown


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """``value`` is what the objective returned: a number, an Unfit, a list of these, or None."""

    number: int  #: Optuna's trial number
    state: Literal["complete", "pruned", "failed"]
    value: Any = None
    message: str = ""  #: of the exception
    shown: str = ""  #: the exception or the value as Optuna's log lines show it, its repr
    exception: tuple[str, ...] = ()  #: see core.model.Evidence
    traceback: str = ""
    caught: bool = False
    #: The most that it has held by its own count, which is a lower bound; None: it could not tell.
    peak_bytes: int | None = None


def returned(number: int, value: object) -> Outcome:
    return Outcome(number=number, state="complete", value=plain(value), shown=_shown(value))


def raised(number: int, error: BaseException, catch: tuple[type[BaseException], ...]) -> Outcome:
    """The frame of our own that called the objective is left out of the traceback."""
    inner = error.__traceback__.tb_next if error.__traceback__ else None
    text = "".join(traceback.format_exception(type(error), error, inner))
    return Outcome(
        number=number,
        state="pruned" if isinstance(error, TrialPruned) else "failed",
        message=_text(error),
        shown=_shown(error),
        exception=tuple(_names(error)),
        traceback=text,
        caught=isinstance(error, catch),
    )


def _text(error: BaseException) -> str:
    """A user's ``__str__`` may raise."""
    try:
        return str(error)
    except Exception:
        return ""


def _shown(thing: object) -> str:
    try:
        return repr(thing)
    except Exception:
        return type(thing).__name__


def plain(value: object) -> Any:
    """*value* in terms of JSON, such that Optuna's check of it comes to the same answer."""
    if value is None:
        return None
    if isinstance(value, Sequence):
        return [_number(item) for item in value]
    return _number(value)


def _number(value: Any) -> Any:
    try:
        return float(value)
    except (TypeError, ValueError):
        return None if value is None else Unfit(_shown(value))


def _names(error: BaseException) -> Iterator[str]:
    """Full class names: the last exception's and its bases', then those of its explicit causes.

    Not of its context: an error of the user's raised while an OOM was being handled is theirs.
    """
    seen: set[int] = set()
    link: BaseException | None = error
    while link is not None and id(link) not in seen:
        seen.add(id(link))
        for kind in type(link).__mro__:
            if kind is not object:
                yield f"{kind.__module__}.{kind.__qualname__}"
        link = link.__cause__


def write_down(outcome: Outcome, path: Path) -> None:
    """Return when *outcome* is on the disk. What a kill tears is no JSON, and so no outcome."""
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
        file.write(msgspec.json.encode(_encodable(outcome)))
        file.flush()
        os.fsync(file.fileno())


def _encodable(outcome: Outcome) -> dict[str, Any]:
    """JSON has no infinity and no NaN; they are written as text, and float() takes them back."""
    fields = msgspec.structs.asdict(outcome)
    value = fields["value"]
    items = value if isinstance(value, list) else [value]
    texts = [repr(item) if isinstance(item, float) and item - item != 0 else item for item in items]
    fields["value"] = texts if isinstance(value, list) else texts[0]
    return fields


def read(path: Path) -> Outcome | None:
    """The outcome at *path*; None where there is none or it was never completed."""
    try:
        outcome = msgspec.json.decode(path.read_bytes(), type=Outcome)
    except (FileNotFoundError, msgspec.DecodeError):
        return None
    value = outcome.value
    value = [_unwritten(item) for item in value] if isinstance(value, list) else _unwritten(value)
    return msgspec.structs.replace(outcome, value=value)


def _unwritten(item: Any) -> Any:
    if isinstance(item, dict):
        return Unfit(**item)
    return float(item) if isinstance(item, str) else item
