"""The queue of kept runs: who is started, what becomes of a run whose host has ended.

Hosts are short programs in the place of Python, so that each test says what its host does.
"""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest

from scheduler.core.model import Process, Run
from scheduler.machine import hosts, processes
from scheduler.machine.deaths import DEATHS, WITHIN_S
from scheduler.machine.keeper import Keeper
from scheduler.machine.orders import Refused
from scheduler.machine.runs import ASKED, RunSpec, RunStatus, State, read_whole, write_whole
from scheduler.machine.state import StateFolder, open_state

WaitFor = Callable[[Callable[[], object], str], object]


class Clock:
    now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


class Scene:
    """A keeper, and hosts that do what a shell script says. ``$5`` is the run's folder."""

    def __init__(self, state: StateFolder, own: Path) -> None:
        self.state = state
        self.own = own
        self.clock = Clock()
        self.woken = threading.Event()
        self.at_most = 2
        self.paused: set[str] = set()
        self.told: list[tuple[str, str]] = []
        self.keeper = self.new_keeper()

    def new_keeper(self) -> Keeper:
        return Keeper(
            self.state,
            self.woken.set,
            at_most=lambda: self.at_most,
            is_paused=lambda run: run in self.paused,
            tell=lambda what, text, run: self.told.append((run, what)),
            grace_s=10.0,
            clock=self.clock,
        )

    def python(self, does: str) -> str:
        path = self.own / f"python-{len(list(self.own.iterdir()))}"
        path.write_text(f"#!/bin/sh\n{does}\n")
        path.chmod(0o700)
        return str(path)

    def submit(self, run: str, does: str = "exec sleep 60", **fields: object) -> None:
        folder = self.state.run(run)
        folder.mkdir(mode=0o700)
        asked: dict[str, object] = {
            "kind": "script",
            "target": "train.py",
            "folder": str(self.own),
            "created_at_s": float(len(list(self.state.runs.iterdir()))),
            "python": self.python(does),
            "kept": True,
        }
        spec = RunSpec(run=Run(id=run), **{**asked, **fields})  # type: ignore[arg-type]
        write_whole(folder / "run.json", spec)
        hosts.write_environment(folder)

    def take(self, run: str, does: str = "exec sleep 60", **fields: object) -> None:
        self.submit(run, does, **fields)
        self.keeper.take(run)

    def look(self) -> None:
        self.woken.clear()
        self.keeper.look(may_start=True)

    def until_woken(self) -> None:
        assert self.woken.wait(30.0), "nobody has seen a host end"

    def status(self, run: str) -> RunStatus:
        status = read_whole(self.state.run(run) / "status.json", RunStatus)
        assert status is not None
        return status

    def write(self, run: str, state: State, **fields: object) -> None:
        status = RunStatus(run=run, state=state, host_pid=1, updated_at_s=1.0)
        changed = msgspec.structs.replace(status, **fields)
        write_whole(self.state.run(run) / "status.json", changed)

    def host(self) -> Process:
        (one,) = self.keeper.living()
        return one

    def end(self) -> None:
        for host in self.keeper.living():
            processes.send(host, signal.SIGKILL)
            assert processes.wait_gone(host, 30.0)
        self.keeper.look(may_start=False)


@pytest.fixture
def scene(tmp_path: Path, state: Path) -> Iterator[Scene]:
    own = tmp_path / "own"
    own.mkdir()
    one = Scene(open_state(), own)
    yield one
    one.end()


def test_a_host_is_started_as_its_user_would(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its folder, environment and umask; no terminal; what it says is kept."""
    monkeypatch.setenv("TOLD", "by its user\udcff")
    says = 'pwd; echo "$TOLD" "$SCHEDULER_STATE_DIR"; umask; cat; echo "$@"; echo wrong >&2'
    scene.submit("a-1", says, umask=0o027)
    monkeypatch.delenv("TOLD")
    scene.keeper.take("a-1")
    scene.look()
    sid = os.getsid(scene.host().pid) if processes.is_alive(scene.host()) else None
    assert sid in (None, scene.host().pid)
    scene.until_woken()
    folder = scene.state.run("a-1")
    said = (folder / hosts.OUTPUT).read_bytes().splitlines()
    words = f"-P -m scheduler.study.host {folder}"
    assert said == [
        str(scene.own).encode(),
        b"by its user\xff " + str(scene.state.path).encode(),
        b"0027",
        words.encode(),
        b"wrong",
    ]
    for name in (hosts.OUTPUT, hosts.ENVIRONMENT):
        assert stat.S_IMODE((folder / name).stat().st_mode) == 0o600


def test_the_most_urgent_first_then_the_oldest_and_no_more_than_may(scene: Scene) -> None:
    for run, priority in (("a-1", 0), ("b-1", 0), ("c-1", 5), ("d-1", -1)):
        scene.take(run, priority=priority)
    scene.look()
    assert [run for run, what in scene.told if what == "started"] == ["c-1", "a-1"]
    assert scene.status("b-1").hold == "it waits for its turn: at most 2 runs at once"
    scene.keeper.prioritise("d-1", 9)
    for host in scene.keeper.living():
        processes.send(host, signal.SIGKILL)
        assert processes.wait_gone(host, 30.0)
    for run in ("a-1", "c-1"):
        scene.write(run, "finished")
    scene.look()
    assert [run for run, what in scene.told if what == "started"][2:] == ["d-1", "b-1"]


def test_after_waits_for_the_end_and_falls_with_a_failure(scene: Scene) -> None:
    scene.submit("a-1")
    scene.take("b-1", after=("a-1",))
    scene.take("c-1", after=("b-1",))
    scene.look()
    assert scene.keeper.living() == ()
    assert scene.status("b-1").hold == "it runs after a-1"
    scene.write("a-1", "interrupted")  # it may still be resumed
    scene.look()
    assert scene.status("b-1").state == "queued"
    scene.write("a-1", "failed")
    scene.look()
    assert scene.status("b-1").error == "it was to run after a-1, which is failed"
    assert scene.status("c-1").state == "cancelled"
    scene.take("d-1", after=("gone-1",))
    scene.look()
    assert scene.status("d-1").error == "it was to run after gone-1, which is not there any more"


def test_after_a_finished_run_it_starts(scene: Scene) -> None:
    scene.submit("a-1")
    scene.write("a-1", "finished")
    scene.take("b-1", after=("a-1",))
    scene.look()
    assert len(scene.keeper.living()) == 1


def test_a_paused_run_gets_no_host(scene: Scene) -> None:
    scene.paused.add("a-1")
    scene.take("a-1")
    scene.look()
    assert scene.keeper.living() == ()
    assert scene.status("a-1").hold == "paused by you"
    scene.paused.clear()
    scene.look()
    assert len(scene.keeper.living()) == 1


def test_a_host_that_ends_without_a_word_is_started_again_some_times(scene: Scene) -> None:
    """1. A run's script is killed for good reason each time. 2. It is started for ever, and takes
    the machine along each time."""
    scene.take("a-1", "exit 3")
    for _ in range(DEATHS + 1):
        scene.look()
        scene.until_woken()
    scene.look()
    status = scene.status("a-1")
    assert status.state == "failed"
    because = "ended 4 times in 10 min without being asked to (exit code 3), and finished no trial"
    assert because in str(status.error)
    assert not scene.keeper.is_kept("a-1")


def test_deaths_of_long_ago_are_forgotten(scene: Scene) -> None:
    scene.take("a-1", "exit 3")
    for _ in range(3 * DEATHS):
        scene.look()
        scene.until_woken()
        scene.clock.now_s += WITHIN_S / DEATHS
    scene.look()
    assert scene.keeper.is_kept("a-1")


def test_deaths_count_while_no_trial_is_finished_between_them(scene: Scene) -> None:
    """1. The kernel kills a run's host every two minutes, and each time some trials were finished.
    2. The run is given up, though it would have come to its end."""
    scene.take("a-1", "exit 3")
    for death in range(3 * DEATHS):
        scene.look()
        scene.until_woken()
        scene.write("a-1", "running", finished_at_s=(100.0, 101.0 + death // DEATHS))
    scene.look()
    assert scene.keeper.is_kept("a-1")
    scene.until_woken()
    scene.look()
    assert scene.status("a-1").state == "failed"


def test_no_zombie_is_left(scene: Scene) -> None:
    scene.take("a-1", "exit 0")
    scene.look()
    host = scene.host()
    scene.until_woken()
    scene.write("a-1", "finished")
    scene.look()
    assert processes.read_stat(host.pid) is None
    assert not scene.keeper.is_kept("a-1")
    assert scene.told[-1] == ("a-1", "finished")


def test_a_host_of_an_earlier_supervisor_is_carried_on(scene: Scene) -> None:
    """It is no child of ours; it is known by its lock, with the tick it was started at."""
    with HostProcess(scene, "a-1") as other:
        scene.write("a-1", "running", host_pid=other.pid)
        scene.keeper.begin()
        scene.look()
        assert scene.host().pid == other.pid
        other.kill()
        other.wait()
        scene.until_woken()
        scene.look()
        assert scene.host().pid != other.pid
        assert ("a-1", "started") in scene.told


def test_a_run_never_has_two_hosts(scene: Scene) -> None:
    """1. A supervisor is killed right after it has started a host. 2. The next one sees the run
    queued, and starts another."""
    scene.submit("a-1", f'exec {sys.executable} "$@"')
    with HostProcess(scene, "a-1") as other:
        done = subprocess.run(
            [sys.executable, "-m", "scheduler.study.host", str(scene.state.run("a-1"))],
            capture_output=True,
            text=True,
        )
        assert done.returncode == 2
        assert done.stderr == f"scheduler: run a-1 is running already (pid {other.pid})\n"


def test_what_was_running_before_a_reboot_starts_again(
    scene: Scene, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The pid and tick of its host are another process's by now."""
    with HostProcess(scene, "a-1") as other:
        scene.write("a-1", "running", host_pid=other.pid)
        (tmp_path / "boot").write_text("another life\n")
        monkeypatch.setenv(hosts.BOOT_VARIABLE, str(tmp_path / "boot"))
        scene.keeper.begin()
        scene.look()
        assert scene.host().pid != other.pid


class HostProcess:
    """A process that holds the lock of a run, as its host does."""

    def __init__(self, scene: Scene, run: str) -> None:
        if not scene.state.run(run).exists():
            scene.submit(run)
        self.folder = scene.state.run(run)

    def __enter__(self) -> subprocess.Popen[bytes]:
        text = (
            "import sys, time\nfrom pathlib import Path\nfrom scheduler.machine.hosts import hold\n"
            "assert hold(Path(sys.argv[1]))\nprint(flush=True)\ntime.sleep(60)\n"
        )
        self.process = subprocess.Popen(
            [sys.executable, "-c", text, str(self.folder)], stdout=subprocess.PIPE
        )
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == b"\n"
        return self.process

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.communicate()


def test_cancelled_it_is_told_once_and_killed_if_it_does_not_hear(
    scene: Scene, wait_for: WaitFor
) -> None:
    scene.take("a-1", 'trap "" TERM; echo deaf; while :; do sleep 0.05; done')
    scene.look()
    host = scene.host()
    output = scene.state.run("a-1") / hosts.OUTPUT
    wait_for(lambda: "deaf" in output.read_text(), "the host to be deaf")
    scene.keeper.end("a-1", "cancel")
    scene.clock.now_s += 9.0
    scene.look()
    assert processes.is_alive(host)
    scene.clock.now_s += 2.0
    scene.look()
    scene.until_woken()
    scene.look()
    assert scene.status("a-1").state == "cancelled"
    assert not scene.keeper.is_kept("a-1")


def test_a_cancelled_run_stays_so_with_the_next_supervisor(scene: Scene) -> None:
    scene.submit("a-1")
    scene.write("a-1", "running")
    (scene.state.run("a-1") / ASKED).write_text("cancel")
    scene.keeper.begin()
    scene.look()
    assert scene.status("a-1").state == "cancelled"
    assert scene.keeper.living() == ()


def test_one_that_waits_is_cancelled_or_interrupted_at_once(scene: Scene) -> None:
    scene.take("a-1")
    scene.take("b-1")
    scene.keeper.end("a-1", "cancel")
    scene.keeper.end("b-1", "interrupt")
    assert (scene.status("a-1").state, scene.status("b-1").state) == ("cancelled", "interrupted")
    scene.look()
    assert scene.keeper.living() == ()
    scene.keeper.take("b-1")  # it is resumed
    scene.look()
    assert len(scene.keeper.living()) == 1


def test_told_to_end_for_the_supervisors_sake_it_waits_for_the_next(scene: Scene) -> None:
    scene.take("a-1")
    scene.look()
    scene.keeper.tell(scene.host(), signal.SIGTERM)
    scene.until_woken()
    scene.keeper.look(may_start=False)
    assert scene.status("a-1").state == "queued"
    assert scene.keeper.living() == ()
    following = scene.new_keeper()
    following.begin()
    following.look(may_start=True)
    (host,) = following.living()
    processes.send(host, signal.SIGKILL)
    assert processes.wait_gone(host, 30.0)
    following.look(may_start=False)


@pytest.mark.parametrize(
    ("field", "words"),
    [("folder", "the folder {} is not there any more"), ("python", "No such file or directory")],
)
def test_a_host_that_cannot_be_started_says_why(
    scene: Scene, field: str, words: str, tmp_path: Path
) -> None:
    gone = str(tmp_path / "gone")
    scene.take("a-1", **{field: gone})
    scene.look()
    assert words.format(gone) in str(scene.status("a-1").error)
    assert scene.status("a-1").state == "failed"


def test_what_cannot_be_taken_is_refused(scene: Scene) -> None:
    for run, kept, state, status, words in (
        ("none-1", None, None, 404, "there is no run 'none-1'"),
        ("own-1", False, None, 409, "go on with: scheduler run --resume own-1"),
        ("done-1", True, "finished", 409, "nothing is left to do"),
    ):
        if kept is not None:
            scene.submit(run, kept=kept)
        if state is not None:
            scene.write(run, "finished")
        with pytest.raises(Refused, match=words) as refused:
            scene.keeper.take(run)
        assert refused.value.status == status
    with pytest.raises(Refused, match="does not run: it is finished"):
        scene.keeper.end("done-1", "cancel")


def test_the_queue_is_found_again(scene: Scene) -> None:
    """With what was submitted while no supervisor ran; not what is over, or a terminal's."""
    scene.submit("a-1")
    for run, state in (("b-1", "queued"), ("c-1", "running"), ("d-1", "failed")):
        scene.submit(run)
        scene.write(run, state)  # type: ignore[arg-type]
    scene.submit("e-1", kept=False)
    scene.at_most = 9
    scene.keeper.begin()
    scene.look()
    assert sorted(run for run, what in scene.told if what == "started") == ["a-1", "b-1", "c-1"]
