"""Attempts by running the script again, where a fork would not be safe.

A fresh process runs the script up to the same ``optimize`` call and waits there. One spare always
waits, so that its imports are paid for while another trial trains.

This module is both ends: ``spawn`` for the host, ``main`` for the process.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from multiprocessing.connection import Connection
from pathlib import Path

from scheduler.machine.runs import RunSpec, read_whole
from scheduler.study.attempt.courtesy import be_courteous
from scheduler.study.attempt.prepare import die_with_parent, restore_signals, thread_environment
from scheduler.study.channel import Line


class Spare:
    """A process on its way to the line, or waiting there."""

    def __init__(self, process: subprocess.Popen[bytes], connection: Connection) -> None:
        self.process = process
        self.connection = connection
        self.pidfd = os.pidfd_open(process.pid)

    def end(self) -> None:
        """Kill it; it has done nothing yet."""
        self.process.kill()
        self.process.wait()
        self.connection.close()
        os.close(self.pidfd)


def spawn(
    folder: Path, line: int, environment: dict[str, str | None], threads: int, log: Path
) -> Spare:
    """Start the script again, up to its *line*-th ``optimize`` call. Raises OSError.

    To be called from the thread that lives as long as the host: the child dies with it.
    """
    settled = os.environ | thread_environment(threads)
    for name, value in environment.items():
        if value is None:
            settled.pop(name, None)
        else:
            settled[name] = value
    ours, theirs = socket.socketpair()
    with theirs, open(os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), "wb") as output:
        process = subprocess.Popen(
            [
                *(sys.executable, "-P", "-m", "scheduler.study.starting.rerun"),
                *(str(folder), str(line), str(theirs.fileno()), str(os.getpid())),
            ],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env=settled,
            pass_fds=[theirs.fileno()],
            start_new_session=True,
        )
    return Spare(process, Connection(ours.detach()))


def main() -> None:
    folder, line, descriptor, host = sys.argv[1:]
    die_with_parent(int(host))
    restore_signals()
    spec = read_whole(Path(folder) / "run.json", RunSpec)
    if spec is not None:
        be_courteous(spec.nice, spec.io)  # its imports as well: others train meanwhile
    from scheduler.study.script import run_again

    run_again(Path(folder), int(line), Line(Connection(int(descriptor))))


if __name__ == "__main__":
    main()
