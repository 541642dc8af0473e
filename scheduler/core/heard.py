"""What the words that a process left behind tell of its end: pure, text in, kind of end out.

Covers whose words count: those after the last line by which the run went on, the last exception's
before all others, a library's before a person's. The words themselves are data in ``sentences``,
and what the machine has to say to them is in ``verdict``.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import msgspec

from scheduler.core.sentences import (
    AFTER_CLASS,
    BEFORE_CLASS,
    CLASSES,
    ENDED_WELL,
    LIBRARY,
    RELAY,
    RELAYED,
    WARNING,
    WENT_ON,
    Doubt,
    Sign,
    TextKind,
)

#: A mapping that the memory behind it, most often /dev/shm, could not fill.
_BUS_BECAUSE = "signal 7 (SIGBUS): no memory was left behind a mapping, most often /dev/shm"
_BUS_CODES = (-7, 128 + 7)

_TEXT_LIMIT = 65536
_LONG_LINE = re.compile(r"(?m)^(.{2000}).+$")
_LOG_PREFIX = re.compile(
    r"(?m)^(?:\[(?:rank|default)\d+\]:|\([^()\n]{0,40}pid=\d+[^()\n]{0,40}\)) ?"
)
#: A frame of a traceback with its source lines, which are indented deeper than the frame's own.
_FRAME = re.compile(r'(?m)^([ \t]*)File "[^\n]*(?:\n\1[ \t]+[^\n]*)*')
_EXCEPTION = re.compile(
    r"(?m)^[ \t]*((?:[A-Za-z_]\w*\.)*_?[A-Z]\w*"
    r"(?:Error|Exception|Exit|Interrupt|OutOfResources|BrokenProcessPool|KilledWorker))"
    r"(?::|[ \t]*$)"
)
_CAUSE = "The above exception was the direct cause of the following exception"
_SIZE = r"([\d.]+) (bytes|[KMGT]iB)"
_ALLOWED = re.compile(_SIZE + r" allowed;")
_TRIED = re.compile(r"Tried to allocate " + _SIZE)
_RESERVED = re.compile(_SIZE + r" is (?:allocated|reserved) by PyTorch")
_UNITS = {"bytes": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30, "TiB": 1 << 40}


class Heard(msgspec.Struct, frozen=True, kw_only=True):
    """What words alone tell. ``doubt`` names the question that they leave open."""

    kind: TextKind
    because: str
    own_cap: bool = False
    doubt: Doubt | None = None


def judge_text(text: str, *, exit_code: int | None = None) -> Heard:
    """What the text alone tells of an end.

    "benign" where the run went on or ended well, "unknown" where nothing in it speaks.
    """
    if exit_code == 0:
        return Heard(kind="benign", because="exit code 0")
    tidy = tidied(text)
    rest = _after_going_on(tidy)
    heard = _hear(rest)
    if heard.kind == "unknown" and exit_code is not None:
        heard = _hear(WENT_ON.sub("", tidy))  # it failed all the same, so all it said counts
    if heard.kind != "unknown":
        return heard
    if exit_code in _BUS_CODES:
        return Heard(kind="host_oom", because=_BUS_BECAUSE)
    if rest != tidy and exit_code is None:
        return Heard(kind="benign", because="the run went on")
    return heard


def tidied(text: str) -> str:
    """The text without tracebacks' frames and log prefixes, cut to what is worth a search."""
    lines = text[-_TEXT_LIMIT:].replace("\r", "\n")
    return _FRAME.sub("", _LOG_PREFIX.sub("", _LONG_LINE.sub(r"\1", lines)))


def _after_going_on(text: str) -> str:
    """What stands after the last line by which the run is known to have gone on."""
    lines = text.rstrip().rsplit("\n", 1)
    if ENDED_WELL.fullmatch(lines[-1]) and _first_sign(AFTER_CLASS, lines[-1]) is None:
        return ""
    went_on = list(WENT_ON.finditer(text))
    return text[went_on[-1].end() :] if went_on else text


def _hear(text: str) -> Heard:
    """Ask the last exception in the text; where there is none, all of it, its warnings last."""
    found = _last_exception(text)
    if found is not None:
        name, words = found
        heard = hear_exception((name,), words)
        if heard is None and not relays(name, words):
            return Heard(kind="user_error", because=short(words))
        if heard is not None:
            return heard
    signs = (*BEFORE_CLASS, *AFTER_CLASS)
    heard = _first_sign(signs, WARNING.sub("", text)) or _first_sign(
        [sign for sign in signs if sign.kind != "configuration"], text
    )
    return heard or Heard(kind="unknown", because="nothing on stderr tells why")


def _last_exception(text: str) -> tuple[str, str] | None:
    """Class and words of the last exception, from where its first direct cause starts."""
    found = list(_EXCEPTION.finditer(text))
    if not found:
        return None
    start = found[-1].start()
    for earlier in reversed(found[:-1]):
        if _CAUSE not in text[earlier.start() : start]:
            break
        start = earlier.start()
    return found[-1][1], text[start:]


def relays(name: str, message: str) -> bool:
    """The exception only passes on that something else ended."""
    return RELAY.fullmatch(name) is not None or RELAYED.search(message) is not None


def hear_exception(names: Sequence[str], message: str) -> Heard | None:
    """What an exception tells by its classes and message; None: it is the user's own."""
    heard = _first_sign(BEFORE_CLASS, message)
    if heard is not None:
        return heard
    for name in names:
        for pattern, kind in CLASSES:
            if pattern.fullmatch(name):
                because = message if name in message else f"{name}: {message}".rstrip(": ")
                return Heard(kind=kind, because=short(because), own_cap=_allowed(message))
    hints = LIBRARY.fullmatch(names[0]) is not None
    return _first_sign([sign for sign in AFTER_CLASS if hints or not sign.hint], message)


def _first_sign(signs: Sequence[Sign], text: str) -> Heard | None:
    for sign in signs:
        found = sign.pattern.search(text)
        if found is not None:
            because = f"{sign.says} says: {short(_line_at(text, found.start()))}"
            own_cap = sign.kind == "device_oom" and _allowed(text)
            return Heard(kind=sign.kind, because=because, own_cap=own_cap, doubt=sign.doubt)
    return None


def _allowed(text: str) -> bool:
    """torch's own cap refused: what it holds and what it tried are more than it is allowed.

    The clause "4.00 GiB allowed;" alone does not say so: it is there whenever a cap is set, also
    when the device is what ran out (c10, CUDACachingAllocator.cpp). Sizes are rounded in the text.
    """
    allowed, tried = _ALLOWED.search(text), _TRIED.search(text)
    if allowed is None:
        return False
    if tried is None:
        return True
    reserved = sum(_bytes(found.groups()) for found in _RESERVED.finditer(text))
    return reserved + _bytes(tried.groups()) > 0.99 * _bytes(allowed.groups())


def _bytes(size: tuple[str | None, ...]) -> float:
    number, unit = size
    return float(number or 0) * _UNITS[unit or "bytes"]


def _line_at(text: str, position: int) -> str:
    start = text.rfind("\n", 0, position) + 1
    return text[start:].split("\n", 1)[0]


def short(text: str) -> str:
    """The first line, at a length that a table bears."""
    line = text.strip().split("\n", 1)[0].strip()
    return line if len(line) <= 160 else line[:157] + "..."
