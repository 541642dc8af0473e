"""``--watch``: the same lines again and again, drawn over themselves on a terminal."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import sys
import time
from collections.abc import Callable, Iterator
from types import FrameType
from typing import NoReturn

EVERY_S = 1.0
_IN_THE_BACKGROUND_S = 0.1  #: between two tries to stop there
_FROM_THE_TERMINAL = (signal.SIGWINCH, signal.SIGTSTP, signal.SIGCONT)

#: What terminals have understood since xterm (xterm's ctlseqs). Without auto-wrap a line that is
#: too long is cut at the edge, whatever the terminal's idea of its cells; else it would push the
#: screen up.
_OTHER_SCREEN = "\x1b[?1049h\x1b[?25l\x1b[?7l"
_FIRST_SCREEN = "\x1b[?7h\x1b[?25h\x1b[?1049l"
_HOME, _CLEAR_LINE, _CLEAR_BELOW = "\x1b[H", "\x1b[K", "\x1b[J"

Drawn = Callable[[int], list[str]]  #: lines for a terminal of so many columns


def watch(lines: Drawn) -> NoReturn:
    """Until Ctrl-C, which is a KeyboardInterrupt here. Ctrl-Z gives the terminal back."""
    if not sys.stdout.isatty():
        follow(lines, gap="\n")
    with _other_screen(), _waiting_for(*_FROM_THE_TERMINAL):
        while True:
            _write(frame(lines, shutil.get_terminal_size()))
            heard = signal.sigtimedwait(_FROM_THE_TERMINAL, EVERY_S)
            if heard is not None and heard.si_signo == signal.SIGTSTP:
                _make_room()
            elif heard is not None and heard.si_signo == signal.SIGCONT:
                _write(_OTHER_SCREEN)  # who was stopped by SIGSTOP has left it to the shell


def follow(lines: Drawn, gap: str = "") -> NoReturn:
    """One text after the other, *gap* between them, for a file or another program."""
    with _waiting_for(signal.SIGWINCH):
        while True:
            text = "".join(f"{line}\n" for line in lines(shutil.get_terminal_size().columns))
            _write(text + gap)
            signal.sigtimedwait([signal.SIGWINCH], EVERY_S)


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


def _make_room() -> None:
    """Stops as Ctrl-Z would have it, the shell on the first screen; returns when the terminal is
    ours again.

    By SIGTSTP, which the kernel drops where no shell is left that could let us go on (a process
    group that is orphaned, setpgid(2)). Sent on in the background, we stop again, as one does that
    writes to the terminal there.
    """
    _write(_FIRST_SCREEN)
    while True:
        with _let_through(signal.SIGTSTP):
            signal.raise_signal(signal.SIGTSTP)
        signal.sigtimedwait([signal.SIGCONT], 0)
        if _is_in_front():
            break
        time.sleep(_IN_THE_BACKGROUND_S)
    _write(_OTHER_SCREEN)


def _is_in_front() -> bool:
    """Whether the terminal is ours to write to; it is where it belongs to no shell's session."""
    try:
        return os.tcgetpgrp(sys.stdout.fileno()) == os.getpgrp()
    except OSError:
        return True


@contextlib.contextmanager
def _let_through(number: signal.Signals) -> Iterator[None]:
    before = signal.pthread_sigmask(signal.SIG_UNBLOCK, [number])
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextlib.contextmanager
def _waiting_for(*numbers: signal.Signals) -> Iterator[None]:
    """They are waited for, not handled: drawing is never cut short by one."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, numbers)
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
