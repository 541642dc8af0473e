"""The control API as the supervisor serves it, without its loop: what tests of it share."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Callable
from typing import Any

import msgspec

from probes.reading import Device
from scheduler.core.core import Core
from scheduler.core.events import Found, Joined
from scheduler.core.model import Budget, Run
from scheduler.machine import state as folder
from scheduler.machine.api.answers import Answers, Devices, Setting, Settings, Status, Supervisor
from scheduler.machine.orders import Given, Order, Refused
from scheduler.machine.runs import RunSpec, RunStatus, State, write_whole
from scheduler.machine.state import StateFolder, new_run

BUDGET = Budget(
    device=Device(
        key="host", name="host RAM", kind="host", total_bytes=16 << 30, source="host", because="x"
    ),
    reserve_bytes=1 << 30,
    promise_bytes=1 << 30,
    max_attempts=2,
)


def answers(state: StateFolder) -> Answers:
    """As ``World`` publishes them: one device, and a host of train-1."""
    core = Core()
    core.handle(Found(at_s=1.0, budgets=(BUDGET,)))
    core.handle(Joined(at_s=2.0, run=Run(id="train-1")))
    supervisor = Supervisor(
        pid=os.getpid(), since_s=1.0, state_folder=str(state.path), journal_bytes=0
    )
    setting = Setting(key="api.port", value=None, source="default")
    return {
        "/v1/status": lambda: Status(supervisor=supervisor, view=core.view()),
        "/v1/devices": lambda: Devices(
            budgets=(BUDGET,), readings=(), sources={}, trees={}, left_out=(), absent=()
        ),
        "/v1/config": lambda: Settings(path=None, settings=(setting,)),
    }


def add_run(state: StateFolder, now: State | None = "running", **fields: Any) -> str:
    """A run's folder as the command line and a host, which is this test, leave it."""
    run = new_run(state, "train")
    spec = RunSpec(
        run=Run(id=run), kind="script", target="train.py", folder="/", created_at_s=1.0, **fields
    )
    write_whole(state.run(run) / "run.json", spec)
    if now is not None:
        status = RunStatus(run=run, state=now, host_pid=os.getpid(), updated_at_s=2e9)
        write_whole(state.run(run) / "status.json", status)
    return run


class Loop:
    """Takes orders in the world's place: says to each what *refuse* says."""

    def __init__(self, refuse: Callable[[Order], Refused | None] = lambda order: None) -> None:
        self.taken: list[Order] = []
        self._refuse = refuse

    def put(self, given: Given) -> None:
        assert given.take()
        self.taken.append(given.order)
        given.answer(self._refuse(given.order))


class Answer(msgspec.Struct, frozen=True):
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def said(self) -> Any:
        return json.loads(self.body)


def exchange(connection: socket.socket, request: bytes) -> Answer:
    """Sends *request* and reads until the other side hangs up."""
    with connection:
        connection.settimeout(20.0)
        connection.sendall(request)
        text = b""
        while part := connection.recv(1 << 16):
            text += part
    head, _, body = text.partition(b"\r\n\r\n")
    first, *lines = head.decode().split("\r\n")
    headers = dict(line.lower().split(": ", 1) for line in lines)
    return Answer(int(first.split()[1]), headers, body)


def ask(
    state: StateFolder, method: str, path: str, body: Any = None, *, raw: bytes | None = None
) -> Answer:
    """One request over the unix socket."""
    text = raw if raw is not None else b"" if body is None else json.dumps(body).encode()
    head = f"{method} {path} HTTP/1.0\r\nContent-Length: {len(text)}\r\n\r\n".encode()
    return exchange(folder.connect(state, folder.CONTROL), head + text)
