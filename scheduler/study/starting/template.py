"""The template: a copy of the host taken at the ``optimize`` call, from which attempts are forked.

It holds what the script had loaded and nothing of the serving host: no thread, no connection, no
trial. It is single-threaded, forks on request, and says how its children ended. It dies with the
host, its children die with it.

    host -> template   "NAME" and a descriptor: fork an attempt with this end of a socket pair
    template -> host   "forked NAME PID" or "ended NAME STATUS", STATUS as of waitpid
"""

from __future__ import annotations

import contextlib
import importlib
import os
import random
import select
import signal
import socket
import sys
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import NoReturn

from scheduler.study.attempt.prepare import (
    die_with_parent,
    forget_inherited_endings,
    leave,
    restore_signals,
)
from scheduler.study.channel import HostGone, Line

Begin = Callable[[Line], None]


class Template:
    """The host's end."""

    def __init__(self, pid: int, commands: socket.socket) -> None:
        self.pid = pid
        self.commands = commands

    def fork(self, name: str) -> Connection:
        """Ask for an attempt; returns the host's end of its line. Raises OSError if it is gone."""
        ours, theirs = socket.socketpair()
        with theirs:
            socket.send_fds(self.commands, [name.encode()], [theirs.fileno()])
        return Connection(ours.detach())

    def news(self) -> tuple[str, str, int] | None:
        """The next "forked" or "ended"; None when the template is gone."""
        try:
            message = self.commands.recv(4096).decode()
        except OSError:
            return None
        if not message:
            return None
        what, name, number = message.split(" ")
        return what, name, int(number)

    def close(self) -> None:
        """Let it end; returns when it has."""
        self.commands.close()
        with contextlib.suppress(ChildProcessError):
            os.waitpid(self.pid, 0)


def start(begin: Begin) -> Template:
    """Fork the template. In each attempt *begin* is called with its line, and must not return."""
    sys.stdout.flush()
    sys.stderr.flush()
    host = os.getpid()
    importlib.import_module("numpy.random")  # numpy loads it late; its state is to be inherited
    chance = random.getstate()
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    pid = os.fork()
    if pid == 0:
        try:
            ours.close()
            die_with_parent(host)
            random.setstate(chance)  # Python seeds anew in every fork
            _serve(theirs, begin)
        except BaseException:
            sys.excepthook(*sys.exc_info())
        os._exit(1)
    theirs.close()
    return Template(pid, ours)


def _serve(commands: socket.socket, begin: Begin) -> NoReturn:
    """Until the host closes its end; children that are left are killed with us."""
    os.setsid()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    woken, wake = socket.socketpair()
    woken.setblocking(False)
    wake.setblocking(False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(wake.fileno(), warn_on_full_buffer=False)
    children: dict[int, str] = {}
    while True:
        ready, _, _ = select.select([commands, woken], [], [])
        if woken in ready:
            with contextlib.suppress(BlockingIOError):
                woken.recv(4096)
            _tell_ended(commands, children)
        if commands in ready:
            try:
                message, descriptors, _, _ = socket.recv_fds(commands, 4096, 1)
            except ConnectionResetError:  # the host closed its end with news unread
                os._exit(0)
            if not message:
                os._exit(0)
            name = message.decode()
            children[_fork(descriptors[0], commands, (woken, wake), begin)] = name
            pid = next(reversed(children))
            commands.send(f"forked {name} {pid}".encode())


def _tell_ended(commands: socket.socket, children: dict[int, str]) -> None:
    while children:
        pid, status = os.waitpid(-1, os.WNOHANG)
        if pid == 0:
            return
        if (name := children.pop(pid, None)) is not None:
            commands.send(f"ended {name} {status}".encode())


def _fork(
    descriptor: int, commands: socket.socket, bells: tuple[socket.socket, ...], begin: Begin
) -> int:
    template = os.getpid()
    chance = random.getstate()
    pid = os.fork()
    if pid == 0:
        random.setstate(chance)
        _become_attempt(template, descriptor, commands, bells, begin)
    os.close(descriptor)
    return pid


def _become_attempt(
    template: int,
    descriptor: int,
    commands: socket.socket,
    bells: tuple[socket.socket, ...],
    begin: Begin,
) -> NoReturn:
    try:
        restore_signals()
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        os.setsid()
        die_with_parent(template)
        commands.close()
        for bell in bells:
            bell.close()
        forget_inherited_endings()
        begin(Line(Connection(descriptor)))
    except HostGone:
        pass
    except BaseException:
        sys.excepthook(*sys.exc_info())
    leave(1)
