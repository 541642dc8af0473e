"""``--watch``: whole pictures that fit the screen, a new one at once when it has another size."""

from __future__ import annotations

import fcntl
import os
import select
import shlex
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Iterator

import pytest

from scheduler.interfaces.watch import frame
from scheduler.machine.state import StateFolder

COMMAND = [sys.executable, "-c", "from scheduler.interfaces.cli import main; main()", "status"]
#: Redrawn every ten minutes, so that what comes earlier comes for a reason.
RARELY = "from scheduler.interfaces import cli, watch; watch.EVERY_S = 600.0; cli.main()"


def three(width: int) -> list[str]:
    return ["a", "b", "c" * width]


def test_a_picture_is_drawn_over_the_last_one() -> None:
    assert frame(three, (4, 5)) == "\x1b[Ha\x1b[K\r\nb\x1b[K\r\ncccc\x1b[K\r\n\x1b[J"


def test_what_has_no_room_is_counted() -> None:
    assert "… 2 more lines; the terminal has 3" in frame(three, (4, 3))
    assert frame(three, (4, 3)).count("\n") == 2
    assert "more lines" not in frame(three, (4, 4))


class Terminal:
    """A terminal of some size with ``status --watch`` on it."""

    def __init__(self, columns: int) -> None:
        self.ours, self._theirs = os.openpty()
        self.resize(columns)
        environment = {k: v for k, v in os.environ.items() if k not in ("COLUMNS", "LINES")}
        self.watching = subprocess.Popen(
            [sys.executable, "-c", RARELY, "status", "--watch"],
            stdout=self._theirs,
            env=environment,
        )
        self.seen = b""

    def resize(self, columns: int) -> None:
        size = struct.pack("HHHH", 50, columns, 0, 0)
        fcntl.ioctl(self._theirs, termios.TIOCSWINSZ, size)

    def read_until(self, wanted: bytes, limit_s: float = 60.0) -> None:
        deadline_s = time.monotonic() + limit_s
        while wanted not in self.seen:
            rest_s = deadline_s - time.monotonic()
            ready, _, _ = select.select([self.ours], [], [], max(0.0, rest_s))
            assert ready, f"{wanted!r} is not in {self.seen!r}"
            self.seen += os.read(self.ours, 65536)

    def close(self) -> None:
        self.watching.kill()
        self.watching.wait()
        os.close(self.ours)
        os.close(self._theirs)


@pytest.fixture
def terminal(state: StateFolder) -> Iterator[Terminal]:
    one = Terminal(80)
    yield one
    one.close()


@pytest.mark.processes
def test_a_new_size_is_drawn_at_once(terminal: Terminal) -> None:
    """The state folder's name is long: how it is broken tells the width."""
    terminal.read_until(b"no runs yet")
    terminal.seen = b""
    terminal.resize(30)
    terminal.watching.send_signal(signal.SIGWINCH)
    terminal.read_until(b"no supervisor is running (the\x1b[K")
    assert terminal.watching.poll() is None


@pytest.mark.processes
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_the_first_screen_comes_back(terminal: Terminal, number: signal.Signals) -> None:
    terminal.read_until(b"no runs yet")
    assert terminal.seen.startswith(b"\x1b[?1049h")
    terminal.watching.send_signal(number)
    terminal.read_until(b"\x1b[?1049l")
    code = terminal.watching.wait(60.0)
    assert code == (0 if number == signal.SIGINT else 128 + number)


@pytest.mark.processes
def test_ctrl_z_gives_the_terminal_back_for_a_while(state: StateFolder) -> None:
    """In a real shell: the first screen while it is stopped, no picture in the background."""
    ours, theirs = os.openpty()
    shell = subprocess.Popen(
        ["sh", "-i"],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env={**os.environ, "PS1": "", "ENV": "", "TERM": "xterm"},
        start_new_session=True,
        preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
    )
    terminal = Terminal.__new__(Terminal)
    terminal.ours, terminal.seen = ours, b""

    def then(typed: str, *wanted: bytes) -> bytes:
        """What the terminal shows from here on, until all of *wanted* is there."""
        terminal.seen = b""
        os.write(ours, typed.encode())
        for one in wanted:
            terminal.read_until(one)
        return terminal.seen

    try:
        then(shlex.join([*COMMAND, "--watch"]) + "\n", b"\x1b[?1049h", b"no runs yet")
        assert b"\x1b[?1049h" not in then("\x1a", b"\x1b[?1049l", b"Stopped")
        seen = then("bg\n", b"[1]")
        while b"Stopped" not in seen:  # again: it has run for a moment
            seen = then("jobs\n", b"[1]", b"--watch")
            assert b"no runs yet" not in seen
        then("fg\n", b"\x1b[?1049h", b"no runs yet")
        then("\x03echo $(( 40 + 2 ))\n", b"\x1b[?1049l", b"42")
    finally:
        os.close(ours)  # hangs up: SIGHUP for the shell and what it runs
        os.close(theirs)
        shell.kill()
        shell.wait()


@pytest.mark.processes
def test_as_json_it_is_an_object_a_line(state: StateFolder) -> None:
    watching = subprocess.Popen([*COMMAND, "--watch", "--json"], stdout=subprocess.PIPE)
    assert watching.stdout is not None
    lines = [watching.stdout.readline() for _ in range(2)]
    watching.send_signal(signal.SIGINT)
    watching.communicate(timeout=60)
    assert watching.returncode == 0
    assert all(line.startswith(b'{"at_s":') and line.endswith(b"}\n") for line in lines)
