"""The supervisor as a process: started, found, killed, and what becomes of what it served."""

from __future__ import annotations

import contextlib
import json
import os
import resource
import signal
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

import pytest
from script_runs import wait_for

from scheduler import daemon, wire
from scheduler.core.actions import Hold, Note, Settle, Start
from scheduler.core.events import Exited, Joined, Left, Offered, Running, Started
from scheduler.core.model import Attempt, Evidence, Process, Run, Trial
from scheduler.core.view import DeviceView
from scheduler.interfaces.client import ask, order
from scheduler.machine import processes, runs
from scheduler.machine import state as folder
from scheduler.machine.api.answers import Devices, Status
from scheduler.machine.state import StateFolder, open_state
from scheduler.machine.summon import NoSupervisor, ensure_supervisor, supervisor_of
from tests.emulated.card import EmulatedCard

pytestmark = pytest.mark.processes

MIB = 1 << 20
T = TypeVar("T")


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[StateFolder]:
    """A state folder whose supervisor, if there is one, ends with the test."""
    monkeypatch.setenv(folder.VARIABLE, str(tmp_path / "state"))
    one = open_state()
    yield one
    supervisor = supervisor_of(one)
    if supervisor is not None:
        processes.send(supervisor, signal.SIGKILL)
        assert processes.wait_gone(supervisor, 30.0)


def started(state: StateFolder) -> Process:
    ensure_supervisor(state)
    supervisor = supervisor_of(state)
    assert supervisor is not None
    return supervisor


def status(state: StateFolder) -> Status:
    answer = ask(state, "/v1/status", Status)
    assert answer is not None
    return answer


def device(state: StateFolder) -> DeviceView:
    (one,) = (it for it in status(state).view.devices if not it.budget.on_request)
    return one


def is_read(state: StateFolder) -> bool:
    return device(state).used_bytes is not None


class Host:
    """A host that speaks for itself; its attempts are real processes that sleep."""

    def __init__(self, state: StateFolder, run: str = "train-1", **options: Any) -> None:
        self.state = state
        self.run = Run(id=run, promise_bytes=64 * MIB, **options)
        self.children: dict[str, subprocess.Popen[bytes]] = {}

    def join(self, *running: Running) -> wire.Welcome:
        self.connection = folder.connect(self.state, folder.HOSTS, 20.0)
        self.file = self.connection.makefile("rb")
        self.say(Joined(at_s=0.0, run=self.run, running=running))
        welcome = self.hear()
        assert isinstance(welcome, wire.Welcome)
        return welcome

    def say(self, message: wire.FromHost) -> None:
        self.connection.sendall(wire.encode(message))

    def hear(self) -> wire.ToHost:
        line = self.file.readline()
        assert line, "the supervisor closed the connection"
        return wire.parse_to_host(line)

    def hear_any(self, kind: type[T]) -> T:
        """The next message of this kind; others are passed over."""
        while not isinstance(message := self.hear(), kind):
            pass
        return message

    def offer(self, number: int) -> None:
        self.say(Offered(at_s=0.0, trial=Trial(run=self.run.id, number=number)))

    def run_attempt(self, number: int = 0) -> Running:
        """Offers a trial, starts a process for it once it may, and sees it known."""
        self.offer(number)
        attempt = self.hear_any(Start).attempt
        running = Running(attempt=attempt, process=self.spawn(attempt))
        assert running.process is not None
        self.say(Started(at_s=0.0, attempt=attempt.id, process=running.process))
        wait_for(
            lambda: any(one.process == running.process for one in device(self.state).attempts),
            "the attempt's process in the status",
        )
        return running

    def spawn(self, attempt: Attempt) -> Process:
        child = subprocess.Popen(["sleep", "120"], start_new_session=True)
        self.children[attempt.id] = child
        found = processes.identify(child.pid)
        assert found is not None
        return found

    def finish(self, running: Running) -> Settle:
        """Ends an attempt as one that completes its trial."""
        attempt = running.attempt.id
        self.children[attempt].kill()
        self.children.pop(attempt).wait()
        evidence = Evidence(outcome="complete", exit_code=0)
        self.say(Exited(at_s=0.0, attempt=attempt, evidence=evidence))
        return self.hear_any(Settle)

    def disconnect(self) -> None:
        self.file.close()
        self.connection.close()

    def close(self) -> None:
        self.disconnect()
        for child in self.children.values():
            child.kill()
            child.wait()


@pytest.fixture
def host(state: StateFolder) -> Iterator[Host]:
    one = Host(state)
    yield one
    with contextlib.suppress(AttributeError):  # it never joined
        one.close()


def test_it_is_nobodys_child_and_holds_nothing_of_its_callers(state: StateFolder) -> None:
    supervisor = started(state)
    proc = Path(f"/proc/{supervisor.pid}")
    assert os.readlink(proc / "cwd") == "/"
    assert os.readlink(proc / "fd/0") == os.devnull
    assert os.readlink(proc / "fd/1") == os.readlink(proc / "fd/2") == str(state.log)
    fields = (proc / "stat").read_text().rpartition(")")[2].split()
    parent, session = int(fields[1]), int(fields[3])
    assert parent != os.getpid()
    assert session != os.getsid(0)
    with pytest.raises(ChildProcessError):
        os.waitpid(supervisor.pid, os.WNOHANG)


def test_only_we_can_talk_to_it(state: StateFolder) -> None:
    started(state)
    for name in (folder.HOSTS, folder.CONTROL):
        assert stat.S_IMODE((state.path / name).stat().st_mode) == 0o600


def test_it_keeps_what_it_needs_not_out(state: StateFolder) -> None:
    """Its memory and start: no Optuna, torch, numpy, rich."""
    supervisor = started(state)
    mapped = Path(f"/proc/{supervisor.pid}/maps").read_text()
    assert "numpy" not in mapped
    assert "torch" not in mapped
    pages = int(Path(f"/proc/{supervisor.pid}/statm").read_text().split()[1])
    assert pages * os.sysconf("SC_PAGE_SIZE") < 80_000_000


def test_a_second_one_says_where_the_first_runs(state: StateFolder) -> None:
    supervisor = started(state)
    second = subprocess.run(
        [sys.executable, "-m", "scheduler.daemon"], capture_output=True, text=True
    )
    assert second.returncode == 1
    assert second.stderr == f"a supervisor runs already: pid {supervisor.pid}, in {state.path}\n"
    assert started(state) == supervisor


def test_of_many_started_at_once_one_stays(state: StateFolder) -> None:
    with ThreadPoolExecutor(4) as pool:
        assert len(set(pool.map(lambda _: started(state), range(4)))) == 1


@pytest.fixture
def notified(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    """What systemd hears (sd_notify(3)), in place of it."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as heard:
        heard.bind(str(tmp_path / "notify"))
        heard.settimeout(30.0)
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        yield heard


def test_one_whose_starter_was_killed_stays(state: StateFolder) -> None:
    """1. A host misses its supervisor and starts one. 2. The host is killed before that is up.
    3. The supervisor ends as well, and nobody is left to go on with the run."""
    ready, tell = os.pipe()
    os.close(ready)
    command = [sys.executable, "-P", "-m", "scheduler.daemon", "--background", str(tell)]
    with open(state.log, "w") as log:
        subprocess.run(command, pass_fds=(tell,), stderr=log, check=True)
    os.close(tell)
    wait_for(lambda: "INFO supervisor of" in state.log.read_text(), "a supervisor that is ready")
    wait_for(lambda: is_read(state), "a reading")


def test_systemd_hears_when_it_is_ready_and_when_it_leaves(
    state: StateFolder, notified: socket.socket
) -> None:
    child = subprocess.Popen([sys.executable, "-m", "scheduler.daemon", "--lasting"])
    assert notified.recv(100) == b"READY=1"
    assert status(state).supervisor.pid == child.pid
    child.terminate()
    assert notified.recv(100) == b"STOPPING=1"
    assert child.wait(30.0) == 0
    assert not state.lasting.exists()


def test_a_temporary_one_is_told_to_stay(state: StateFolder, host: Host) -> None:
    """It leaves some seconds after its last run, unless it was."""
    supervisor = started(state)
    host.join()
    assert order(state, "/v1/supervisor/stay")
    host.say(Left(at_s=0.0, run="train-1"))
    host.disconnect()
    assert not processes.wait_gone(supervisor, daemon.LINGER_S + 1.0)
    assert order(state, "/v1/supervisor/stop")
    assert processes.wait_gone(supervisor, 30.0)


def test_one_in_the_place_of_another_serves_its_hosts(state: StateFolder, host: Host) -> None:
    first = started(state)
    host.join()
    running = host.run_attempt()
    child = subprocess.Popen([sys.executable, "-m", "scheduler.daemon", "--lasting", "--instead"])
    assert processes.wait_gone(first, 30.0)
    wait_for(lambda: ask(state, "/v1/status", Status), "the second one's answer")
    host.disconnect()
    assert host.join(running).supervisor_pid == child.pid
    assert host.finish(running).settlement == "done"
    child.terminate()
    assert child.wait(30.0) == 0


def test_a_port_that_is_taken_ends_nothing(
    state: StateFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        config = tmp_path / "config.toml"
        config.write_text(f"[api]\nport = {port}\n")
        monkeypatch.setenv("SCHEDULER_CONFIG", str(config))
        started(state)
        assert status(state).supervisor.problem is None
        assert f"no API on port {port}" in state.log.read_text()


def test_one_that_cannot_start_says_why(state: StateFolder) -> None:
    state.journal.mkdir()
    with pytest.raises(NoSupervisor, match=r"IsADirectoryError.*journal\.jsonl"):
        ensure_supervisor(state)


def test_a_state_folder_of_others_is_refused(state: StateFolder) -> None:
    state.path.chmod(0o777)
    second = subprocess.run(
        [sys.executable, "-m", "scheduler.daemon"], capture_output=True, text=True
    )
    assert second.returncode == 2
    assert "chmod 700" in second.stderr
    state.path.chmod(0o700)


def test_it_leaves_when_the_last_host_has(state: StateFolder, host: Host) -> None:
    supervisor = started(state)
    host.join()
    host.finish(host.run_attempt())
    host.say(Left(at_s=0.0, run="train-1"))
    host.disconnect()
    assert processes.wait_gone(supervisor, 30.0)
    left = {path.name for path in state.path.iterdir()}
    kept = {"events.jsonl", "journal.old.jsonl", "runs", "supervisor.lock", "supervisor.log"}
    assert left - {"memory.jsonl"} == kept  # which is there if a poll met the attempt


def test_it_leaves_as_well_where_a_host_leaves_attempts_behind(
    state: StateFolder, host: Host
) -> None:
    """The host lives on, but has said that it leaves: nobody will tell how they ended."""
    supervisor = started(state)
    host.join()
    running = host.run_attempt()
    host.say(Left(at_s=0.0, run="train-1"))
    assert running.process is not None
    assert processes.wait_gone(running.process, 30.0)
    assert processes.wait_gone(supervisor, 30.0)


def test_asked_to_end_it_leaves_hosts_and_attempts_alone(state: StateFolder, host: Host) -> None:
    supervisor = started(state)
    host.join()
    running = host.run_attempt()
    processes.send(supervisor, signal.SIGTERM)
    assert processes.wait_gone(supervisor, 30.0)
    assert running.process is not None
    assert processes.is_alive(running.process)
    assert not (state.path / folder.HOSTS).exists()
    assert state.journal.exists()  # the next one has to know of the attempt


def test_killed_its_successor_knows_what_runs_before_it_admits(
    state: StateFolder, host: Host
) -> None:
    first = started(state)
    host.join()
    running = host.run_attempt()
    processes.send(first, signal.SIGKILL)
    assert processes.wait_gone(first, 30.0)
    host.disconnect()
    assert started(state) != first
    (attempt,) = device(state).attempts
    assert (attempt.attempt, attempt.process) == (running.attempt, running.process)
    assert device(state).promised_bytes == 64 * MIB
    host.join(running)
    assert host.run_attempt(1).attempt.id != running.attempt.id
    assert len(device(state).attempts) == 2
    assert host.finish(running).settlement == "done"


def test_an_attempt_that_outlives_its_host_is_ended_and_then_it_leaves(state: StateFolder) -> None:
    """The host is a process of its own, killed without a word."""
    script = f"""
import sys, time
sys.path[:0] = {[str(path) for path in Path(__file__).parents[:2]]!r}
from scheduler.machine.state import find
from tests.test_daemon import Host, started
host = Host(find())
started(host.state)
host.join()
running = host.run_attempt()
print(running.process.pid, flush=True)
time.sleep(120)
"""
    host = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    assert host.stdout is not None
    attempt = processes.identify(int(host.stdout.readline()))
    supervisor = supervisor_of(state)
    assert attempt is not None
    assert supervisor is not None
    began_s = time.monotonic()
    host.kill()
    host.wait()
    host.stdout.close()
    assert processes.wait_gone(attempt, 30.0)
    assert time.monotonic() - began_s > 4.0  # it was given time to end by itself
    assert processes.wait_gone(supervisor, 30.0)


def test_after_a_restart_a_living_hosts_attempts_are_left_alone(
    state: StateFolder, host: Host
) -> None:
    """It is known by what it wrote; it may be busy for longer than we wait for others."""
    first = started(state)
    host.join()
    running = host.run_attempt()
    state.run("train-1").mkdir()
    runs.write_whole(
        state.run("train-1") / "status.json",
        runs.RunStatus(
            run="train-1", state="running", host_pid=os.getpid(), updated_at_s=time.time()
        ),
    )
    processes.send(first, signal.SIGKILL)
    host.disconnect()
    assert processes.wait_gone(first, 30.0)
    second = started(state)
    assert running.process is not None
    assert not processes.wait_gone(running.process, 7.0)
    assert processes.is_alive(second)
    host.join(running)


def test_a_torn_journal_does_not_keep_it_from_starting(state: StateFolder) -> None:
    state.journal.write_bytes(b'{"type":"Left","at_s":1.0,"run":"a"}\n{"type":"Le')
    started(state)
    assert "cut a torn last line" in state.log.read_text()


def test_a_journal_of_junk_is_set_aside(state: StateFolder) -> None:
    state.journal.write_bytes(b"junk\nmore junk\n")
    started(state)
    assert (state.path / "journal.damaged-1.jsonl").read_bytes() == b"junk\nmore junk\n"
    assert "journal.damaged-1.jsonl" in state.log.read_text()


def test_on_a_full_disk_nothing_new_starts_and_what_ends_is_settled(
    state: StateFolder, host: Host
) -> None:
    """The disk is full for this process only: it may not make files any longer."""
    supervisor = started(state)
    host.join()
    running = host.run_attempt()
    no_limit = resource.RLIM_INFINITY
    full = state.journal.stat().st_size
    resource.prlimit(supervisor.pid, resource.RLIMIT_FSIZE, (full, no_limit))
    wait_for(lambda: status(state).supervisor.problem, "the full disk in the status")
    assert device(state).headroom_bytes is None
    host.offer(1)
    assert "journal cannot be written" in host.hear_any(Hold).because
    assert host.finish(running).settlement == "done"
    polled_s = time.monotonic() + 2.5  # polls go on, and are not believed
    while time.monotonic() < polled_s:
        assert device(state).headroom_bytes is None
        time.sleep(0.1)
    resource.prlimit(supervisor.pid, resource.RLIMIT_FSIZE, (no_limit, no_limit))
    assert host.hear_any(Start).attempt.trial.number == 1
    assert status(state).supervisor.problem is None
    assert processes.is_alive(supervisor)


def test_a_probe_that_hangs_holds_new_starts_until_it_answers(
    state: StateFolder, host: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with EmulatedCard(tmp_path) as card:
        for name, value in card.environment().items():
            monkeypatch.setenv(name, value)
        started(state)
        host.join()
        wait_for(lambda: is_read(state), "a reading")
        card.break_used("hang")
        wait_for(lambda: not is_read(state), "the reading to grow old")
        assert "has not answered for" in (device(state).problem or "")
        host.offer(0)
        assert "has not answered for" in host.hear_any(Hold).because
        card.mend()
        assert host.hear_any(Start).attempt.device == "0000:03:00.0"


def test_what_it_answers(state: StateFolder) -> None:
    supervisor = started(state)
    wait_for(lambda: is_read(state), "a reading")
    assert status(state).supervisor.pid == supervisor.pid
    devices = ask(state, "/v1/devices", Devices)
    assert devices is not None
    assert [one.device.key for one in devices.budgets] == [one.device for one in devices.readings]
    connection = folder.connect(state, folder.CONTROL, 30.0)
    with connection, connection.makefile("rwb") as file:
        file.write(b"GET /v1/nothing HTTP/1.0\r\n\r\n")
        file.flush()
        assert b" 404 " in file.readline()


class Broken:
    """A core with a bug."""

    def handle(self, event: object) -> tuple[()]:
        raise ZeroDivisionError


def test_a_journal_that_ends_the_core_ends_no_second_supervisor(
    state: StateFolder, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    line = json.dumps({"type": "Left", "at_s": 1.0, "run": "a"}).encode() + b"\n"
    state.journal.write_bytes(line)
    with monkeypatch.context() as patched:
        patched.setattr("scheduler.core.core.Core.handle", Broken.handle)
        daemon._recall(state)
    assert state.journal.read_bytes() == b""
    assert (state.path / "journal.damaged-1.jsonl").read_bytes() == line
    assert "ZeroDivisionError" in caplog.text


def test_messages_that_are_passed_over_are_of_the_wire() -> None:
    """``hear_any`` would wait for ever for anything else."""
    assert {Start, Hold, Note, Settle} <= set(wire.ToHost.__args__)  # type: ignore[attr-defined]
