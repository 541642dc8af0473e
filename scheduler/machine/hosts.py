"""Hosts as processes: started for a run that is kept, and told apart from those that are gone.

A host holds its run's ``host.lock`` as long as it lives, so that a run never has two; what is in
the file says which process that is. Such a lock belongs to the process alone (fcntl(2)): what is
forked from a host does not hold it.
"""

from __future__ import annotations

import fcntl
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from scheduler.core.model import Process
from scheduler.machine import processes
from scheduler.machine.runs import RunSpec, RunStatus, read_whole
from scheduler.machine.state import VARIABLE, StateFolder

if TYPE_CHECKING:
    import subprocess

LOCK = "host.lock"
ENVIRONMENT = "environment.json"
OUTPUT = "output.log"
BOOT_VARIABLE = "SCHEDULER_BOOT_ID_FILE"


class Holder(msgspec.Struct, frozen=True, kw_only=True):
    """What a host writes into its lock."""

    process: Process
    boot: str  #: after a reboot the same pid and tick may be another's


def boot_id() -> str:
    """Which life of the machine this is; $SCHEDULER_BOOT_ID_FILE stands in for the kernel's."""
    path = os.environ.get(BOOT_VARIABLE, "/proc/sys/kernel/random/boot_id")
    return Path(path).read_text(encoding="ascii").strip()


def hold(folder: Path) -> bool:
    """Takes the run for this process, for life; False where another one has it."""
    lock = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.lockf(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:  # EACCES or EAGAIN, by the system
        os.close(lock)
        return False
    process = processes.identify(os.getpid())
    assert process is not None
    os.ftruncate(lock, 0)
    os.pwrite(lock, msgspec.json.encode(Holder(process=process, boot=boot_id())), 0)
    return True


def host_of(folder: Path) -> Process | None:
    """The host of the run in *folder* that lives now; None: there is none that is known."""
    try:
        holder = read_whole(folder / LOCK, Holder)
    except (msgspec.MsgspecError, OSError):  # it is just being written
        return None
    if holder is None or holder.boot != boot_id() or not processes.is_alive(holder.process):
        return None
    return holder.process


def read_status(state: StateFolder, run: str) -> RunStatus | None:
    """None where there is none, or where it cannot be read."""
    try:
        return read_whole(state.run(run) / "status.json", RunStatus)
    except (msgspec.MsgspecError, OSError):
        return None


def is_alive(status: RunStatus) -> bool:
    """Whether the process that wrote *status* runs. A later one with its pid does not count."""
    return status.host_pid > 0 and processes.was_running(status.host_pid, status.updated_at_s)


def is_host_alive(state: StateFolder, run: str) -> bool | None:
    """None where nothing is known of a host: it never wrote a status."""
    if (state.run(run) / LOCK).exists():
        return host_of(state.run(run)) is not None
    status = read_status(state, run)
    return None if status is None else is_alive(status)


def write_environment(folder: Path) -> None:
    """Keeps this process's environment for the run's hosts: for its user's eyes only.

    Names and values may be any bytes; JSON's escapes keep those that are no text.
    """
    import json  # not on the way of `scheduler status`, as subprocess below

    path = folder / ENVIRONMENT
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        json.dump(dict(os.environ), file)


def start(state: StateFolder, spec: RunSpec) -> subprocess.Popen[bytes]:
    """A host for the run, with the environment of who submitted it. Our child until collected.

    Raises OSError or ValueError where it cannot be started.
    """
    import json
    import subprocess

    folder = state.run(spec.run.id)
    if not Path(spec.folder).is_dir():
        raise FileNotFoundError(f"the folder {spec.folder} is not there any more")
    environment = json.loads((folder / ENVIRONMENT).read_text())
    output = os.open(folder / OUTPUT, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    try:
        return subprocess.Popen(
            [spec.python or sys.executable, "-P", "-m", "scheduler.study.host", str(folder)],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            cwd=spec.folder,
            env={**environment, VARIABLE: str(state.path)},
            start_new_session=True,
            umask=-1 if spec.umask is None else spec.umask,
        )
    finally:
        os.close(output)
