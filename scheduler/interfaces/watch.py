"""``--watch``: the same lines again and again, drawn over themselves on a terminal."""

from __future__ import annotations

import contextlib
import shutil
import signal
import sys
from collections.abc import Callable, Iterator
from types import FrameType
from typing import NoReturn

EVERY_S = 1.0

#: What terminals have understood since xterm (xterm's ctlseqs). Without auto-wrap a line that is
#: too long is cut at the edge, whatever the terminal's idea of its cells; else it would push the
#: screen up.
_OTHER_SCREEN = "\x1b[?1049h\x1b[?25l\x1b[?7l"
_FIRST_SCREEN = "\x1b[?7h\x1b[?25h\x1b[?1049l"
_HOME, _CLEAR_LINE, _CLEAR_BELOW = "\x1b[H", "\x1b[K", "\x1b[J"

Drawn = Callable[[int], list[str]]  #: lines for a terminal of so many columns


def watch(lines: Drawn) -> NoReturn:
    """Until Ctrl-C, which is a KeyboardInterrupt here."""
    if not sys.stdout.isatty():
        follow(lines, gap="\n")
    with _other_screen(), _resizes():
        while True:
            _write(frame(lines, shutil.get_terminal_size()))
            _wait()


def follow(lines: Drawn, gap: str = "") -> NoReturn:
    """One text after the other, *gap* between them, for a file or another program."""
    with _resizes():
        while True:
            text = "".join(f"{line}\n" for line in lines(shutil.get_terminal_size().columns))
            _write(text + gap)
            _wait()


def frame(lines: Drawn, size: tuple[int, int]) -> str:
    """One picture of *size*, columns and rows, over whatever was there.

    It is written at once, and nothing is cleared that is drawn again: so it does not flicker.
    """
    columns, rows = size
    shown = lines(columns)
    room = max(1, rows - 1)
    if len(shown) > room:
        more = len(shown) - room + 1
        shown = [*shown[: room - 1], f"… {more} more lines; the terminal has {rows}"]
    return "".join([_HOME, *(f"{line}{_CLEAR_LINE}\r\n" for line in shown), _CLEAR_BELOW])


def _write(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()


def _wait() -> None:
    """A second, or until the terminal has another size."""
    signal.sigtimedwait([signal.SIGWINCH], EVERY_S)


@contextlib.contextmanager
def _resizes() -> Iterator[None]:
    """SIGWINCH is waited for, not handled: drawing is never cut short by it."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGWINCH])
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextlib.contextmanager
def _other_screen() -> Iterator[None]:
    """The first screen comes back however this ends, save SIGKILL."""

    def leave(number: int, frame: FrameType | None) -> NoReturn:
        sys.exit(128 + number)

    before = {one: signal.signal(one, leave) for one in (signal.SIGTERM, signal.SIGHUP)}
    _write(_OTHER_SCREEN)
    try:
        yield
    finally:
        _write(_FIRST_SCREEN)
        for number, handler in before.items():
            signal.signal(number, handler)
