"""Hosts' connections: what they send becomes events, and nothing they send does harm."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from queue import SimpleQueue

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from probes.reading import Device
from scheduler import wire
from scheduler.core.actions import Halt, Hold, Note, Start
from scheduler.core.events import Event, Joined, Left, Offered, Running, Started
from scheduler.core.model import Attempt, Budget, Change, Process, Run, Trial
from scheduler.machine import state as folder
from scheduler.machine.sessions import MESSAGE_BYTES, Sessions
from scheduler.machine.state import StateFolder

GIB = 1 << 30
BUDGET = Budget(
    device=Device(
        key="host",
        kind="host",
        name="host RAM",
        total_bytes=8 * GIB,
        source="host",
        because="no GPU",
    ),
    reserve_bytes=GIB,
    promise_bytes=GIB,
    max_attempts=2,
)
WaitFor = Callable[[Callable[[], object], str], object]


class Host:
    """A host's end of the connection."""

    def __init__(self, state: StateFolder) -> None:
        self.connection = folder.connect(state, folder.HOSTS, 30.0)
        self.file = self.connection.makefile("rb")

    def say(self, message: wire.FromHost | bytes) -> None:
        line = message if isinstance(message, bytes) else wire.encode(message)
        self.connection.sendall(line)

    def hear(self) -> wire.ToHost | None:
        """None: the connection has ended."""
        try:
            line = self.file.readline()
        except ConnectionResetError:
            return None
        return wire.parse_to_host(line) if line else None

    def join(self, run: str = "train-1") -> wire.ToHost | None:
        self.say(Joined(at_s=-1.0, run=Run(id=run)))
        return self.hear()

    def close(self) -> None:
        self.file.close()
        self.connection.close()


class Supervisor:
    def __init__(self, path: Path) -> None:
        self.state = StateFolder(path)
        self.events: SimpleQueue[Event] = SimpleQueue()
        listener = folder.listen(self.state, folder.HOSTS)
        self.sessions = Sessions(listener, (BUDGET,), self.events.put)
        self.sessions.start()
        self.hosts: list[Host] = []

    def host(self) -> Host:
        self.hosts.append(Host(self.state))
        return self.hosts[-1]

    def event(self) -> Event:
        return self.events.get(timeout=30.0)


@pytest.fixture
def supervisor(tmp_path: Path) -> Iterator[Supervisor]:
    one = Supervisor(tmp_path)
    yield one
    for host in one.hosts:
        host.close()


def attempt(run: str) -> Attempt:
    return Attempt(
        id=f"{run}/0.1",
        trial=Trial(run=run, number=0),
        device="host",
        promise_bytes=GIB,
        cap_bytes=None,
        started_at_s=1.0,
    )


def test_a_host_is_welcomed_with_the_devices(supervisor: Supervisor) -> None:
    welcome = supervisor.host().join()
    assert isinstance(welcome, wire.Welcome)
    assert welcome.budgets == (BUDGET,)
    joined = supervisor.event()
    assert isinstance(joined, Joined)
    assert joined.at_s > 0  # ours, not the host's
    assert supervisor.sessions.connected == {"train-1"}


def test_a_lost_connection_is_a_left(supervisor: Supervisor) -> None:
    host = supervisor.host()
    host.join()
    host.close()
    assert isinstance(supervisor.event(), Joined)
    assert isinstance(supervisor.event(), Left)
    assert supervisor.sessions.connected == set()


def test_a_host_that_says_it_leaves_leaves_once(supervisor: Supervisor) -> None:
    host = supervisor.host()
    host.join()
    host.say(Left(at_s=0.0, run="train-1"))
    host.close()
    supervisor.host().join("other-1")
    kinds = [type(supervisor.event()) for _ in range(3)]
    assert kinds == [Joined, Left, Joined]


def test_actions_reach_the_host_of_their_run_only(supervisor: Supervisor) -> None:
    one, other = supervisor.host(), supervisor.host()
    one.join("train-1")
    other.join("train-2")
    start = Start(attempt=attempt("train-2"), because="it fits")
    hold = Hold(run="train-1", trial=3, because="it does not")
    halt = Halt(run="train-1", because="no GPU")
    change = Change(
        at_s=1.0,
        what="concurrency",
        run=None,
        trial=None,
        device="host",
        before="4",
        after="2",
        because="memory",
    )
    for action in (start, hold, halt, Note(change=change)):
        supervisor.sessions.send(action)
    assert [one.hear(), one.hear(), one.hear()] == [hold, halt, Note(change=change)]
    assert [other.hear(), other.hear()] == [start, Note(change=change)]


def test_a_host_that_does_not_read_keeps_nobody_waiting(
    supervisor: Supervisor, wait_for: WaitFor
) -> None:
    deaf, other = supervisor.host(), supervisor.host()
    deaf.join("train-1")
    other.join("train-2")
    for _ in range(40):
        supervisor.sessions.send(Hold(run="train-1", trial=0, because="x" * (1 << 20)))
    hold = Hold(run="train-2", trial=0, because="")
    supervisor.sessions.send(hold)
    assert other.hear() == hold
    wait_for(lambda: supervisor.sessions.connected == {"train-2"}, "the deaf host's end")


def test_a_host_may_join_anew_over_its_old_connection(supervisor: Supervisor) -> None:
    """It may notice a broken connection before we do."""
    supervisor.host().join()
    assert isinstance(supervisor.host().join(), wire.Welcome)
    assert [type(supervisor.event()) for _ in range(3)] == [Joined, Left, Joined]


REFUSED = {
    b"junk\n": "not understood",
    b"{}\n": "not understood",
    b"\xff\xfe\n": "not understood",
    b"[" * 100_000 + b"\n": "not understood",
    b"x" * (MESSAGE_BYTES + 1): "longer than",
    wire.encode(Left(at_s=0.0, run="train-1")): "first message must be Joined",
    wire.encode(Joined(at_s=0.0, run=Run(id="a/b"))): "not the name of a run",
    wire.encode(Joined(at_s=0.0, run=Run(id=".."))): "not the name of a run",
    wire.encode(Joined(at_s=0.0, run=Run(id="a\0"))): "not the name of a run",
    wire.encode(Joined(at_s=0.0, run=Run(id="a", promise_bytes=1 << 64))): "too large",
    wire.encode(Joined(at_s=0.0, run=Run(id="a"))).replace(b"0.0", b"9" * 5000): "not understood",
    wire.encode(Joined(at_s=0.0, run=Run(id="a", device="0000:03:00.0"))): "there are: host",
    wire.encode(
        Joined(at_s=0.0, run=Run(id="a", promise_bytes=8 * GIB))
    ): "host has 7.0 GiB to give",
}


@pytest.mark.parametrize("line", REFUSED, ids=lambda line: repr(line[:20]))
def test_who_is_not_understood_is_told_why_and_the_others_go_on(
    supervisor: Supervisor, line: bytes
) -> None:
    good, bad = supervisor.host(), supervisor.host()
    good.join()
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # refused half-way
        bad.say(line)
    refused = bad.hear()
    assert isinstance(refused, wire.Refused)
    assert REFUSED[line] in refused.error
    assert bad.hear() is None
    offer = Offered(at_s=0.0, trial=Trial(run="train-1", number=0))
    good.say(offer)
    assert isinstance(supervisor.event(), Joined)
    assert isinstance(supervisor.event(), Offered)


def test_nobody_speaks_for_anothers_run(supervisor: Supervisor) -> None:
    host = supervisor.host()
    host.join()
    process = Process(pid=1, started_ticks=1)
    host.say(Started(at_s=0.0, attempt="train-12/0.1", process=process))
    refused = host.hear()
    assert isinstance(refused, wire.Refused)
    assert "train-12" in refused.error
    assert [type(supervisor.event()) for _ in range(2)] == [Joined, Left]


def test_nobody_reports_anothers_attempts(supervisor: Supervisor) -> None:
    host = supervisor.host()
    running = Running(attempt=attempt("train-2"), process=None)
    host.say(Joined(at_s=0.0, run=Run(id="train-1"), running=(running,)))
    assert host.hear() == wire.Refused(error="attempt 'train-2/0.1' is not of run train-1")


def test_lines_may_come_in_any_pieces(supervisor: Supervisor) -> None:
    host = supervisor.host()
    for byte in wire.encode(Joined(at_s=0.0, run=Run(id="train-1"))):
        host.say(bytes([byte]))
    assert isinstance(host.hear(), wire.Welcome)


@given(junk=st.binary(max_size=300))
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_bytes_harm_it(supervisor: Supervisor, junk: bytes) -> None:
    host = Host(supervisor.state)
    host.say(wire.encode(Joined(at_s=0.0, run=Run(id="junk-1"))) + junk)
    host.connection.shutdown(socket.SHUT_WR)
    while host.hear() is not None:
        pass
    host.close()
    last = Host(supervisor.state)
    assert isinstance(last.join("last-1"), wire.Welcome)
    last.close()


def test_a_large_message_is_taken_whole(supervisor: Supervisor) -> None:
    host = supervisor.host()
    run = Run(id="train-1", name="x" * (3 << 20))
    host.say(Joined(at_s=0.0, run=run))
    assert isinstance(host.hear(), wire.Welcome)
    joined = supervisor.event()
    assert isinstance(joined, Joined)
    assert msgspec.structs.replace(joined, at_s=0.0) == Joined(at_s=0.0, run=run)
