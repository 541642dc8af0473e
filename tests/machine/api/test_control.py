"""The control API by a real server on a real socket: what it gives, takes and turns away."""

from __future__ import annotations

import json
import os
import shutil
import socket
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import pytest
from serving import Answer, Loop, add_run, answers, ask, exchange

from scheduler.machine import orders as said
from scheduler.machine import state as folder
from scheduler.machine.api import loopback
from scheduler.machine.api.answers import Devices, Events, Runs, Settings, Status
from scheduler.machine.api.control import Control
from scheduler.machine.api.listing import RunAnswer
from scheduler.machine.api.openapi import BODY_BYTES, ROUTES
from scheduler.machine.chronicle.chronicle import Chronicle
from scheduler.machine.orders import Orders, Refused
from scheduler.machine.state import StateFolder, open_state

TOKEN = "t" * 43
Serve = Callable[..., Control]


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> StateFolder:
    monkeypatch.setenv(folder.VARIABLE, str(tmp_path / "state"))
    return open_state()


@pytest.fixture
def chronicle(state: StateFolder) -> Iterator[Chronicle]:
    made = Chronicle(state.path / "events.jsonl")
    yield made
    made.close()


@pytest.fixture
def serve(state: StateFolder, chronicle: Chronicle) -> Iterator[Serve]:
    """Starts one; what is not said is as the supervisor has it."""
    made: list[Control] = []

    def start(**options: Any) -> Control:
        given = {"state": state, "orders": Orders(Loop().put), "chronicle": chronicle, **options}
        control = Control(folder.listen(state, folder.CONTROL), answers(state), **given)
        control.start()
        made.append(control)
        return control

    yield start
    for control in made:
        control.close()
        control._thread.join(30.0)
        assert not control._thread.is_alive()


class Shared(NamedTuple):
    """One server for all tests that leave nothing behind in it."""

    state: StateFolder
    loop: Loop
    port: int


@pytest.fixture(scope="module")
def _one_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shared]:
    state = StateFolder(tmp_path_factory.mktemp("state"))
    state.runs.mkdir()
    loop, chronicle = Loop(), Chronicle(state.path / "events.jsonl")
    control = Control(
        folder.listen(state, folder.CONTROL),
        answers(state),
        state=state,
        orders=Orders(loop.put),
        chronicle=chronicle,
        tcp=(0, TOKEN),
    )
    control.start()
    assert control.tcp_port is not None
    yield Shared(state, loop, control.tcp_port)
    control.close()
    chronicle.close()


@pytest.fixture
def shared(_one_server: Shared) -> Iterator[Shared]:
    """With no order taken and no run there."""
    _one_server.loop.taken.clear()
    yield _one_server
    for path in _one_server.state.runs.iterdir():
        path.unlink() if path.is_symlink() else shutil.rmtree(path)


# -- reading ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/v1/status", Status),
        ("/v1/devices", Devices),
        ("/v1/config", Settings),
        ("/v1/runs", Runs),
        ("/v1/runs/train-1", RunAnswer),
        ("/v1/events", Events),
    ],
)
def test_each_answer_is_what_it_is_said_to_be(shared: Shared, path: str, kind: type[Any]) -> None:
    add_run(shared.state)
    got = ask(shared.state, "GET", path)
    assert (got.status, got.headers["content-type"]) == (200, "application/json")
    msgspec.json.decode(got.body, type=kind, strict=True)


def test_a_run_is_told_with_its_storages_password_left_out(shared: Shared) -> None:
    add_run(shared.state, storage="postgresql://me:secret@db/x")
    for path in ("/v1/runs", "/v1/runs/train-1"):
        got = ask(shared.state, "GET", path)
        assert b"me:***@db" in got.body
        assert b"secret" not in got.body


@pytest.mark.parametrize("name", ["train-9", "..", ".", "%2e%2e", "a%0a", "%00", "x" * 300])
def test_a_run_that_is_not_there_is_told_so(shared: Shared, name: str) -> None:
    add_run(shared.state)
    got = ask(shared.state, "GET", f"/v1/runs/{name}")
    assert got.status == 404
    assert "there is no" in got.said["error"]


@pytest.mark.parametrize("path", ["/", "/v1", "/v1/nothing", "/v1/status/", "/v2/status"])
def test_a_path_that_is_not_there_says_which_are(shared: Shared, path: str) -> None:
    got = ask(shared.state, "GET", path)
    assert got.status == 404
    assert f"there is no GET {path}; there are: " in got.said["error"]
    assert all(f"{route.method} {route.path}" in got.said["error"] for route in ROUTES)


def test_a_wrong_method_says_which_are_right(shared: Shared) -> None:
    got = ask(shared.state, "DELETE", "/v1/runs")
    assert got.status == 405
    assert {"GET", "POST"} <= set(got.headers["allow"].upper().split(", "))
    assert "there is no DELETE /v1/runs" in got.said["error"]


def test_what_is_no_http_is_answered_in_json_too(shared: Shared) -> None:
    got = exchange(folder.connect(shared.state, folder.CONTROL), b"hello there\r\n\r\n")
    assert got.status == 400
    assert "not HTTP" in got.said["error"]


def test_what_one_that_is_not_wired_cannot_do_it_says(serve: Serve, state: StateFolder) -> None:
    serve(state=None, orders=None, chronicle=None)
    for path in ("/v1/runs", "/v1/events"):
        assert ask(state, "GET", path).status == 503
    assert ask(state, "POST", "/v1/supervisor/stay").status == 503
    assert ask(state, "GET", "/v1/status").status == 200


# -- what happens ----------------------------------------------------------------------------------


def test_events_are_asked_for_by_number(
    serve: Serve, state: StateFolder, chronicle: Chronicle
) -> None:
    for number in range(5):
        chronicle.tell("run", "started", f"run {number}")
    serve()
    first = ask(state, "GET", "/v1/events?after=1&limit=2").said
    assert [one["number"] for one in first["entries"]] == [2, 3]
    assert first["next"] == 3
    assert ask(state, "GET", f"/v1/events?after={first['next']}").said["next"] == 5
    assert ask(state, "GET", "/v1/events?after=77").said == {"entries": [], "next": 5, "lost": 0}


def test_who_waits_gets_the_next_one_at_once(
    serve: Serve, state: StateFolder, chronicle: Chronicle
) -> None:
    serve()
    with ThreadPoolExecutor(8) as pool:
        waiting = [pool.submit(ask, state, "GET", "/v1/events?wait=20") for _ in range(8)]
        while len(chronicle._listeners) < 8:
            time.sleep(0.005)
        began_s = time.monotonic()
        chronicle.tell("run", "started", "now")
        told = [one.result().said for one in waiting]
        assert time.monotonic() - began_s < 15.0
    assert all([one["text"] for one in each["entries"]] == ["now"] for each in told)
    assert chronicle._listeners == []


def test_who_waits_in_vain_gets_an_empty_answer(shared: Shared) -> None:
    began_s = time.monotonic()
    assert ask(shared.state, "GET", "/v1/events?wait=0.2").said["entries"] == []
    assert time.monotonic() - began_s >= 0.2


def test_status_is_answered_while_orders_and_followers_wait(
    serve: Serve, state: StateFolder, chronicle: Chronicle
) -> None:
    given: list[said.Given] = []
    serve(orders=Orders(given.append))  # a loop that is slow to take them
    paths = [("GET", "/v1/events?wait=20"), ("POST", "/v1/supervisor/stay")] * 6
    with ThreadPoolExecutor(12) as pool:
        waiting = [pool.submit(ask, state, *one) for one in paths]
        while len(chronicle._listeners) < 6 or len(given) < 6:
            time.sleep(0.005)
        assert ask(state, "GET", "/v1/status").status == 200
        assert not any(one.done() for one in waiting)
        for one in given:
            assert one.take()
            one.answer(None)
        chronicle.tell("run", "started", "now")
        assert {one.result().status for one in waiting} == {200}


# -- orders ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "body", "order"),
    [
        ("/v1/runs", {"run": "train-1"}, said.TakeRun(run="train-1")),
        ("/v1/runs/r-1/pause", {"stop": True}, said.PauseRun(run="r-1", stop=True)),
        ("/v1/runs/r-1/pause", None, said.PauseRun(run="r-1")),
        ("/v1/runs/train-1/resume", None, said.ResumeRun(run="train-1")),
        ("/v1/runs/r-1/cancel", {}, said.CancelRun(run="r-1")),
        ("/v1/runs/r-1/interrupt", None, said.InterruptRun(run="r-1")),
        ("/v1/runs/r-1/priority", {"priority": -3}, said.Prioritise(run="r-1", priority=-3)),
        ("/v1/devices/0000:03:00.0/pause", {}, said.PauseDevice(device="0000:03:00.0")),
        ("/v1/devices/host/resume", None, said.ResumeDevice(device="host")),
        ("/v1/supervisor/stay", None, said.Stay()),
        ("/v1/supervisor/drain", None, said.Leave(how="drain")),
        ("/v1/supervisor/stop", None, said.Leave(how="plain")),
        ("/v1/supervisor/stop", {"now": True}, said.Leave(how="now")),
    ],
)
def test_an_order_reaches_the_loop(shared: Shared, path: str, body: Any, order: said.Order) -> None:
    add_run(shared.state)
    got = ask(shared.state, "POST", path, body)
    assert (got.status, got.said) == (200, {"done": True})
    assert shared.loop.taken == [order]


def test_what_the_loop_refuses_is_told_in_its_words(serve: Serve, state: StateFolder) -> None:
    loop = Loop(lambda order: Refused(409, "run r-1 is finished"))
    serve(orders=Orders(loop.put))
    got = ask(state, "POST", "/v1/runs/r-1/pause")
    assert (got.status, got.said) == (409, {"error": "run r-1 is finished"})


@pytest.mark.parametrize(
    ("path", "raw", "words"),
    [
        ("/v1/runs", b"", "required field run"),
        ("/v1/runs", b"{", "not JSON"),
        ("/v1/runs", b"\xff\xfe", "not JSON"),
        ("/v1/runs", b"[]", "expected object, got array"),
        ("/v1/runs", b'{"run": 5}', "run: expected str, got int"),
        ("/v1/runs", b'{"run": "../x"}', "run: "),
        ("/v1/runs", b'{"run": "x\\n"}', "run: "),
        ("/v1/runs", b'{"run": "a", "python": "sh"}', "unknown field python"),
        ("/v1/runs", b'{"x":' + b"[" * 5000 + b"]" * 5000 + b"}", "x"),
        ("/v1/runs/r-1/priority", b'{"priority": 1e99}', "priority: "),
        ("/v1/runs/r-1/priority", b'{"priority": "1"}', "priority: expected int, got str"),
        ("/v1/runs/r-1/pause", b'{"stop": 1}', "stop: expected bool, got int"),
        ("/v1/runs/r-1/cancel", b'{"now": true}', "unknown field now"),
    ],
)
def test_a_wrong_body_is_told_by_its_field(
    shared: Shared, path: str, raw: bytes, words: str
) -> None:
    got = ask(shared.state, "POST", path, raw=raw)
    assert got.status == 400
    assert words in got.said["error"]
    assert shared.loop.taken == []


@pytest.mark.parametrize("query", ["after=-1", "limit=0", "wait=31", "wait=nan", "after=x", "x=1"])
def test_a_wrong_query_is_told_by_its_field(shared: Shared, query: str) -> None:
    got = ask(shared.state, "GET", f"/v1/events?{query}")
    assert got.status == 400
    assert query.partition("=")[0] in got.said["error"]


@pytest.mark.parametrize("size", [BODY_BYTES + 1, 1 << 20])
def test_a_long_body_is_refused(shared: Shared, size: int) -> None:
    assert ask(shared.state, "POST", "/v1/runs", raw=b" " * BODY_BYTES).status == 400
    got = ask(shared.state, "POST", "/v1/runs", raw=b" " * size)
    assert got.status == 413
    assert str(BODY_BYTES) in got.said["error"]


def _other_folder(path: Path) -> None:
    path.rename(path.with_name("elsewhere"))
    path.symlink_to(path.with_name("elsewhere"))


def _other_file(path: Path) -> None:
    (path / "run.json").rename(path / "x.json")
    (path / "run.json").symlink_to(path / "x.json")


def _of_another(path: Path) -> None:
    spec = json.loads((path / "run.json").read_text())
    spec["run"]["id"] = "other-1"
    (path / "run.json").write_text(json.dumps(spec))


def _loose_environment(path: Path) -> None:
    (path / "environment.json").write_text("{}")
    (path / "environment.json").chmod(0o644)


@pytest.mark.parametrize(
    ("spoil", "status"),
    [
        (_other_folder, 400),
        (_other_file, 400),
        (_of_another, 400),
        (_loose_environment, 400),
        (lambda path: (path / "run.json").unlink(), 400),
        (lambda path: (path / "run.json").write_bytes(b"{\xff"), 400),
        (lambda path: (path / "run.json").chmod(0o644), 400),
        (lambda path: path.chmod(0o777), 400),
        (lambda path: path.rename(path.with_name("gone")), 404),
    ],
)
def test_only_what_the_command_line_has_made_is_taken(
    shared: Shared, spoil: Callable[[Path], object], status: int
) -> None:
    add_run(shared.state)
    spoil(shared.state.run("train-1"))
    for path, body in (("/v1/runs", {"run": "train-1"}), ("/v1/runs/train-1/resume", None)):
        got = ask(shared.state, "POST", path, body)
        assert got.status == status, got.said
    assert shared.loop.taken == []


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give a file away")
def test_what_another_user_has_made_is_not_taken(shared: Shared) -> None:
    add_run(shared.state)
    os.chown(shared.state.run("train-1") / "run.json", 65534, 65534)
    assert ask(shared.state, "POST", "/v1/runs", {"run": "train-1"}).status == 400


# -- who may ask -----------------------------------------------------------------------------------

_AS_NOBODY = """
import os, socket, sys
os.setgid(65534); os.setuid(65534)
peer = socket.socket(socket.AF_UNIX)
peer.connect(sys.argv[1])
peer.settimeout(20)
try:
    peer.sendall(b"GET /v1/status HTTP/1.0\\r\\n\\r\\n")
    print(len(peer.recv(100)))
except (BrokenPipeError, ConnectionResetError):
    print(0)
"""


@pytest.mark.skipif(os.getuid() != 0, reason="only root can become another user")
def test_another_user_is_not_heard_even_where_permissions_let_him_in(
    serve: Serve, state: StateFolder, tmp_path: Path
) -> None:
    serve()
    with socket.socket(socket.AF_UNIX) as _, _short_link(state) as path:
        done = subprocess.run(
            [sys.executable, "-c", _AS_NOBODY, path], capture_output=True, text=True, check=True
        )
    assert done.stdout == "0\n"
    assert ask(state, "GET", "/v1/status").status == 200


class _short_link:
    """The socket's folder, opened to all, below a path that fits into an address."""

    def __init__(self, state: StateFolder) -> None:
        self._state = state

    def __enter__(self) -> str:
        import tempfile

        self._made = tempfile.TemporaryDirectory(dir="/tmp")
        os.chmod(self._made.name, 0o755)
        target = Path(self._made.name) / "control.sock"
        os.link(self._state.path / folder.CONTROL, target)
        os.chmod(target, 0o777)
        return str(target)

    def __exit__(self, *_: object) -> None:
        self._made.cleanup()


def by_tcp(port: int, headers: dict[str, str], request: str = "GET /v1/status") -> Answer:
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    connection = socket.create_connection(("127.0.0.1", port))
    return exchange(connection, f"{request} HTTP/1.0\r\n{lines}\r\n".encode())


def test_by_tcp_it_is_served_to_who_brings_the_token(shared: Shared) -> None:
    port = shared.port
    for host in (f"127.0.0.1:{port}", f"localhost:{port}", f"LOCALHOST:{port}"):
        got = by_tcp(port, {"Host": host, "Authorization": f"Bearer {TOKEN}"})
        assert got.status == 200


@pytest.mark.parametrize(
    ("changed", "status"),
    [
        ({"Authorization": None}, 401),
        ({"Authorization": "Bearer wrong"}, 401),
        ({"Authorization": f"Bearer {TOKEN}x"}, 401),
        ({"Authorization": f"Bearer {TOKEN[:-1]}"}, 401),
        ({"Authorization": "Bearer \xe9"}, 401),
        ({"Authorization": TOKEN}, 401),
        ({"Host": None}, 403),
        ({"Host": "evil.example"}, 403),
        ({"Host": "evil.example:{port}"}, 403),
        ({"Host": "127.0.0.1"}, 403),
        ({"Host": "127.0.0.1.evil.example:{port}"}, 403),
        ({"Origin": "https://evil.example"}, 403),
        ({"Origin": "http://127.0.0.1:{port}"}, 403),
        ({"Origin": "null"}, 403),
    ],
)
def test_by_tcp_all_others_are_turned_away(
    shared: Shared, changed: dict[str, str | None], status: int
) -> None:
    port = shared.port
    headers = {"Host": "127.0.0.1:{port}", "Authorization": f"Bearer {TOKEN}", **changed}
    lines = {name: value.format(port=port) for name, value in headers.items() if value is not None}
    for request in ("GET /v1/status", "POST /v1/supervisor/stay", "GET /nothing"):
        got = by_tcp(port, lines, request)
        assert got.status == status
        assert set(got.said) == {"error"}
    assert shared.loop.taken == []


def test_by_tcp_a_forwarded_address_changes_nothing(shared: Shared) -> None:
    port = shared.port
    assert by_tcp(port, {"Host": f"127.0.0.1:{port}", "X-Forwarded-For": ""}).status == 401


def test_tcp_is_off_by_default_and_reaches_this_machine_only(serve: Serve) -> None:
    assert serve().tcp_port is None
    with loopback.listen(0) as listener:
        assert listener.getsockname()[0] == "127.0.0.1"
        with pytest.raises(OSError, match="in use"):
            loopback.listen(listener.getsockname()[1])


def test_the_token_is_made_once_and_for_us_alone(state: StateFolder) -> None:
    token = loopback.token_of(state)
    assert loopback.token_of(state) == token
    assert len(token) >= 43
    assert stat.S_IMODE((state.path / "token").stat().st_mode) == 0o600


@pytest.mark.parametrize(
    "spoil",
    [
        lambda path: path.write_text("short"),
        lambda path: path.write_bytes(b"\xff" * 50),
        lambda path: path.chmod(0o640),
        lambda path: path.rename(path.with_name("x")) and path.symlink_to(path.with_name("x")),
    ],
)
def test_a_token_that_others_may_know_is_made_anew(
    state: StateFolder, spoil: Callable[[Path], object]
) -> None:
    before = loopback.token_of(state)
    spoil(state.path / "token")
    after = loopback.token_of(state)
    assert after != before
    assert loopback.token_of(state) == after
    assert stat.S_IMODE((state.path / "token").lstat().st_mode) == 0o600


# -- many at once ----------------------------------------------------------------------------------


def test_fifty_at_once_are_all_answered(shared: Shared) -> None:
    with ThreadPoolExecutor(50) as pool:
        got = list(pool.map(lambda _: ask(shared.state, "GET", "/v1/status").status, range(500)))
    assert got == [200] * 500


def test_it_ends_while_somebody_waits(
    serve: Serve, state: StateFolder, chronicle: Chronicle
) -> None:
    control = serve()
    waiting = threading.Thread(target=_ask_in_vain, args=(state,))
    waiting.start()
    while not chronicle._listeners:
        time.sleep(0.005)
    began_s = time.monotonic()
    control.close()
    assert time.monotonic() - began_s < 15.0
    waiting.join(30.0)
    assert not waiting.is_alive()


def _ask_in_vain(state: StateFolder) -> None:
    connection = folder.connect(state, folder.CONTROL)
    with connection:
        connection.sendall(b"GET /v1/events?wait=30 HTTP/1.0\r\n\r\n")
        while connection.recv(1 << 16):
            pass
