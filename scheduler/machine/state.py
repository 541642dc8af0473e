"""The state folder: where a user's supervisor, its sockets and the runs live. Makes and checks it.

    supervisor.lock   held by the supervisor while it runs; holds its pid
    supervisor.log    what the supervisor says
    hosts.sock        hosts speak to the supervisor here (``scheduler.wire``)
    control.sock      the command line asks here (``machine.api.control``)
    journal.jsonl     events of the supervisor now running
    lasting           is there while a supervisor runs that stays, or was killed
    pauses.json       runs and devices that the user has paused
    runs/RUN/         one folder a run (``machine.runs``)

What the files hold is told where they are written. The folder belongs to one user: whoever can
write to it can make the supervisor end processes.
"""

from __future__ import annotations

import contextlib
import os
import re
import socket
import stat
from collections.abc import Iterator
from pathlib import Path

import msgspec

VARIABLE = "SCHEDULER_STATE_DIR"
HOSTS = "hosts.sock"
CONTROL = "control.sock"


class StateError(Exception):
    """The state folder cannot be used. Takes what was seen, what was wanted and what to do."""

    def __init__(self, path: str, seen: str, wanted: str, remedy: str) -> None:
        super().__init__(path, seen, wanted, remedy)

    def __str__(self) -> str:
        path, seen, wanted, remedy = self.args
        return f"the state folder {path} {seen}; it must be {wanted}. {remedy}"


class StateFolder(msgspec.Struct, frozen=True):
    """Names what is in the folder. Made by ``find``, which touches nothing, or by ``open``."""

    path: Path

    @property
    def lock(self) -> Path:
        return self.path / "supervisor.lock"

    @property
    def log(self) -> Path:
        return self.path / "supervisor.log"

    @property
    def journal(self) -> Path:
        return self.path / "journal.jsonl"

    @property
    def lasting(self) -> Path:
        return self.path / "lasting"

    @property
    def runs(self) -> Path:
        return self.path / "runs"

    def run(self, run: str) -> Path:
        """The folder of one run, there or not."""
        return self.runs / run

    def run_ids(self) -> list[str]:
        """All runs, newest first."""
        try:
            return sorted(os.listdir(self.runs), key=self._made_at_ns, reverse=True)
        except FileNotFoundError:
            return []

    def _made_at_ns(self, run: str) -> int:
        """run.json is written once; the folder's own time moves with every file made in it."""
        for path in (self.run(run) / "run.json", self.run(run)):
            with contextlib.suppress(OSError):
                return path.stat().st_mtime_ns
        return 0


def find() -> StateFolder:
    """The folder in force: the environment's, else the user's own. It need not exist."""
    named = os.environ.get(VARIABLE)
    if named:
        return StateFolder(Path(named).absolute())
    from platformdirs import user_state_path

    return StateFolder(user_state_path("gpu-trial-scheduler"))


def open_state() -> StateFolder:
    """The folder in force, made if it is not there.

    Raises StateError where it is not a folder of ours that nobody else can enter.
    """
    state = find()
    try:
        state.path.mkdir(mode=0o700, parents=True, exist_ok=True)
    except FileExistsError:
        raise StateError(str(state.path), "is a file", "a folder", _elsewhere()) from None
    except OSError as error:
        seen = f"cannot be made: {error.strerror}"
        raise StateError(str(state.path), seen, "a folder of yours", _elsewhere()) from None
    check(state)
    try:
        state.runs.mkdir(mode=0o700, exist_ok=True)
    except OSError as error:
        seen = f"has no folder runs/ and it cannot be made: {error.strerror}"
        raise StateError(str(state.path), seen, "one that we made", _elsewhere()) from None
    return state


def check(state: StateFolder) -> None:
    """Raises StateError unless the folder is ours alone and can be written."""
    path, found = str(state.path), state.path.stat()
    if not stat.S_ISDIR(found.st_mode):
        raise StateError(path, "is a file", "a folder", _elsewhere())
    if found.st_uid != os.getuid():
        raise StateError(
            path, f"belongs to uid {found.st_uid}", f"yours (uid {os.getuid()})", _elsewhere()
        )
    if found.st_mode & 0o077:
        seen = f"can be entered by others (mode {stat.S_IMODE(found.st_mode):04o})"
        raise StateError(path, seen, "yours alone (mode 0700)", f"Run: chmod 700 {path}")
    if not os.access(path, os.W_OK | os.X_OK):
        raise StateError(path, "cannot be written", "writable", f"Run: chmod 700 {path}")


def _elsewhere() -> str:
    return f"Set {VARIABLE} to another folder."


def new_run(state: StateFolder, stem: str) -> str:
    """Makes the folder of a new run named after *stem* and returns the run's id.

    mkdir is atomic, so two callers never get the same id.
    """
    stem = re.sub(r"[^A-Za-z0-9_.-]+", "-", stem).strip("-.") or "run"
    taken = [_number_in(name, stem) for name in state.run_ids()]
    number = max(taken, default=0) + 1
    while True:
        run = f"{stem}-{number}"
        with contextlib.suppress(FileExistsError):
            state.run(run).mkdir(mode=0o700)
            return run
        number += 1


def _number_in(name: str, stem: str) -> int:
    found = re.fullmatch(re.escape(stem) + r"-(\d+)", name)
    return int(found[1]) if found else 0


@contextlib.contextmanager
def _reach(state: StateFolder, name: str) -> Iterator[str]:
    """A short address of a socket in the folder.

    A unix socket's path may have 107 bytes (unix(7)), a state folder's often has more; the kernel
    resolves /proc/self/fd/N to the folder.
    """
    folder = os.open(state.path, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{folder}/{name}"
    finally:
        os.close(folder)


def listen(state: StateFolder, name: str) -> socket.socket:
    """A listening socket in the folder, for us only. Takes the place of one left behind.

    Only the holder of the lock may call it.
    """
    (state.path / name).unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    with _reach(state, name) as address:
        listener.bind(address)
        os.chmod(address, 0o600)  # before listen(): until then nobody can connect
    listener.listen(64)
    return listener


def connect(state: StateFolder, name: str, timeout_s: float | None = None) -> socket.socket:
    """A connection to a socket in the folder. Raises OSError where nobody listens."""
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    connection.settimeout(timeout_s)
    try:
        with _reach(state, name) as address:
            connection.connect(address)
    except BaseException:
        connection.close()
        raise
    return connection
