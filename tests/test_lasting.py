"""A supervisor that stays: its queue, and what survives when it, a host or the machine dies."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from desk import ATTEMPTS, Desk, sitting_down
from script_runs import COMMAND, processes_of, wait_for

from scheduler.core.model import Process
from scheduler.interfaces.client import order
from scheduler.machine import hosts, processes
from scheduler.machine.summon import supervisor_of

pytestmark = pytest.mark.processes


@pytest.fixture
def desk(tmp_path: Path, state: Path) -> Iterator[Desk]:
    with sitting_down(tmp_path, state) as one:
        yield one


def test_a_submitted_run_goes_on_when_its_terminal_is_gone(desk: Desk) -> None:
    """With the submitter's environment, which is kept for this user's eyes only."""
    desk.environment["TOLD"] = "secret-42"
    begun = desk.begin("submit", *ATTEMPTS, desk.script(), "an argument")
    out, _ = begun.communicate(timeout=60)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(begun.pid, signal.SIGHUP)  # as the kernel does when a terminal is closed
    run = out.decode().strip()
    assert run == "train-1"
    status = desk.wait_for(run, "finished")
    assert status.exit_code == 0
    assert desk.complete(run) == 4
    assert "best of 4 an argument" in desk.output(run)
    environment = desk.state.run(run) / hosts.ENVIRONMENT
    assert environment.stat().st_mode & 0o777 == 0o600
    assert json.loads(environment.read_text())["TOLD"] == "secret-42"
    assert "secret-42" not in desk.state.log.read_text()
    assert supervisor_of(desk.state) is not None
    wait_for(lambda: desk.told()[-1] == "finished", "the word that it is finished")
    assert [word for word in desk.told() if word in ("queued", "started")] == ["queued", "started"]


def test_a_run_is_followed_and_ends_with_its_hosts_exit_code(desk: Desk) -> None:
    desk("start")
    assert "best of 4" in desk("run", *ATTEMPTS, desk.script())
    (desk.own / "bad.py").write_text("print('it begins', flush=True)\nraise SystemExit(7)\n")
    assert "it begins" in desk("run", *ATTEMPTS, "bad.py", code=7)
    assert desk.stands("bad-1") == "failed"
    assert "no_such_module" in desk("run", *ATTEMPTS, "no_such_module:f", code=2)


def test_ctrl_c_while_it_is_followed_is_the_runs(desk: Desk) -> None:
    desk("start")
    follower = desk.begin("run", *ATTEMPTS, desk.script(free=0))
    desk.two_running()
    follower.send_signal(signal.SIGINT)
    wait_for(lambda: "no new attempts" in desk.output("train-1"), "the word that it was heard")
    follower.send_signal(signal.SIGINT)
    out, _ = follower.communicate(timeout=60)
    assert follower.returncode == 131, out.decode()
    assert "go on with: scheduler run --resume train-1" in out.decode()
    assert desk.stands("train-1") == "interrupted"
    desk.go()
    assert "best of 4" in desk("run", "--resume", "train-1")
    assert desk.complete("train-1") == 4


def test_killed_its_attempts_train_on_and_the_next_one_takes_them_over(desk: Desk) -> None:
    """The next one, which the host has started, stays too, and keeps the queue."""
    run = desk.submit(desk.script(free=0))
    before = {one.process for one in desk.two_running()}
    desk.kill_supervisor()
    assert all(one is not None and processes.is_alive(one) for one in before)
    wait_for(lambda: supervisor_of(desk.state), "the next supervisor")
    assert {one.process for one in desk.two_running()} == before
    desk.go()
    desk.wait_for(run, "finished")
    assert desk.complete(run) == 4
    assert desk.state.lasting.exists()
    second = desk.submit(desk.script(trials=1))
    desk.wait_for(second, "finished")


def test_a_killed_host_is_started_again(desk: Desk) -> None:
    run = desk.submit(desk.script(free=1))
    desk.two_running()
    first = desk.host(run)
    processes.send(first, signal.SIGKILL)
    wait_for(lambda: desk.host(run) != first, "the next host")
    desk.go()
    desk.wait_for(run, "finished")
    assert desk.complete(run) == 4
    assert not [one for one in children(desk.supervisor()) if state_of(one) == "Z"]


def test_a_host_that_dies_again_and_again_is_given_up(desk: Desk) -> None:
    (desk.own / "mad.py").write_text("import os\nos.kill(os.getpid(), 9)\n")
    status = desk.wait_for(desk.submit("mad.py"), "failed")
    assert "ended 4 times in 10 min without being asked to (SIGKILL)" in (status.error or "")


def test_a_run_whose_host_cannot_be_started_says_why(desk: Desk) -> None:
    first = desk.submit(desk.script(free=0))
    desk.two_running()
    elsewhere = desk.own / "elsewhere"
    elsewhere.mkdir()
    shutil.copy(desk.own / "train.py", elsewhere)
    done = subprocess.run(
        [*COMMAND, "submit", "--after", first, "train.py"],
        capture_output=True,
        text=True,
        cwd=elsewhere,
        env=desk.environment,
    )
    shutil.rmtree(elsewhere)
    desk.go()
    status = desk.wait_for(done.stdout.strip(), "failed")
    assert f"the folder {elsewhere} is not there any more" in (status.error or "")


def test_of_two_started_at_once_one_stays(desk: Desk) -> None:
    with ThreadPoolExecutor(2) as pool:
        said = list(pool.map(lambda _: desk("start"), range(2)))
    pids = {line.split("pid ")[1].split(",")[0] for line in said}
    assert pids == {str(desk.supervisor().pid)}
    assert f"a supervisor runs already: pid {desk.supervisor().pid}, in" in desk("start")


def kill_all(state: Path) -> list[int]:
    """What was there to be killed: a process may have been forked since one looked."""
    found = sorted(processes_of(state))
    for pid in found:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    return found


def test_after_a_reboot_what_was_running_is_put_back(desk: Desk, tmp_path: Path) -> None:
    """All dies at once, and pids that the journal tells of are other processes' by now."""
    boot = tmp_path / "boot"
    boot.write_text("first\n")
    desk.environment[hosts.BOOT_VARIABLE] = str(boot)
    os.environ[hosts.BOOT_VARIABLE] = str(boot)
    try:
        run = desk.submit(desk.script(free=1))
        desk.two_running()
        wait_for(lambda: not kill_all(desk.state.path), "the end of all")
        boot.write_text("second\n")
        desk.go()
        desk("start")
        desk.wait_for(run, "finished")
        assert desk.complete(run) == 4
        assert "the machine was started anew" in desk.state.log.read_text()
    finally:
        del os.environ[hosts.BOOT_VARIABLE]


def test_stopped_now_and_started_again_runs_go_on(desk: Desk) -> None:
    run = desk.submit(desk.script(free=1))
    attempts = desk.two_running()
    refused = desk("stop", code=1)
    assert "2 trials are running: --drain lets what runs finish, --now stops it" in refused
    assert "the supervisor has ended" in desk("stop", "--now")
    assert desk.stands(run) == "queued"
    assert not any(one.process and processes.is_alive(one.process) for one in attempts)
    assert not desk.state.lasting.exists()
    desk.go()
    desk("start")
    desk.wait_for(run, "finished")
    assert desk.complete(run) == 4


def test_drained_what_runs_finishes_and_the_rest_waits(desk: Desk) -> None:
    run = desk.submit(desk.script(trials=6, free=0))
    desk.two_running()
    stopping = desk.begin("stop", "--drain")
    assert stopping.stdout is not None
    assert stopping.stdout.readline() == b"2 trials run still\n"
    wait_for(lambda: "no new attempts" in desk.output(run), "the host to hear of it")
    desk.go()
    stopping.communicate(timeout=60)
    assert stopping.returncode == 0
    status = desk.status(run)
    assert status is not None
    assert (status.state, status.complete) == ("queued", 2)
    desk("start")
    desk.wait_for(run, "finished")
    assert desk.complete(run) == 6


def test_a_restart_ends_no_attempt(desk: Desk) -> None:
    run = desk.submit(desk.script(free=0))
    before, first = {one.process for one in desk.two_running()}, desk.supervisor()
    desk("restart")
    assert desk.supervisor() != first
    assert {one.process for one in desk.two_running()} == before
    assert desk.state.lasting.exists()
    desk.go()
    desk.wait_for(run, "finished")
    assert desk.complete(run) == 4


def test_cancelled_running_or_queued(desk: Desk) -> None:
    first = desk.submit(desk.script(free=0))
    second = desk.submit(desk.script(free=0), "--after", first)
    third = desk.submit(desk.script(free=0), "--after", second)
    attempts = desk.two_running()
    assert order(desk.state, f"/v1/runs/{second}/cancel")
    desk.wait_for(second, "cancelled")
    status = desk.wait_for(third, "cancelled")
    assert status.error == f"it was to run after {second}, which is cancelled"
    assert order(desk.state, f"/v1/runs/{first}/cancel")
    desk.wait_for(first, "cancelled")
    assert not any(one.process and processes.is_alive(one.process) for one in attempts)


def test_after_and_priority_say_who_is_next(desk: Desk, tmp_path: Path) -> None:
    """One at a time; each run's first attempt says when it began."""
    config = tmp_path / "config.toml"
    config.write_text("[queue]\nruns_at_once = 1\n")
    desk.environment["SCHEDULER_CONFIG"] = str(config)
    first = desk.submit(desk.script(trials=2, free=0))
    desk.two_running()
    quick = desk.script(trials=1, name="quick.py")
    after = desk.submit(quick, "--after", first, "--priority", "9", "--name", "after")
    low = desk.submit(quick, "--name", "low")
    high = desk.submit(quick, "--priority", "-5", "--name", "high")
    desk.wait_for(low, "queued")
    wait_for(lambda: "at most 1 runs at once" in (desk.status(low).hold or ""), "why it waits")
    assert order(desk.state, f"/v1/runs/{high}/priority", {"priority": 7})
    assert desk.stands(after) == "queued"
    desk.go()
    ended = [desk.wait_for(run, "finished") for run in (first, after, high, low)]
    began_s = [status.started_at_s or 0.0 for status in ended]
    assert began_s == sorted(began_s)


def test_paused_it_starts_nothing_until_it_is_resumed(desk: Desk) -> None:
    """Also after a kill of the supervisor."""
    run = desk.submit(desk.script(free=0))
    desk.two_running()
    assert order(desk.state, f"/v1/runs/{run}/pause", {"stop": False})
    desk.kill_supervisor()
    desk.two_running()
    desk.go()
    wait_for(lambda: desk.status(run).complete == 2, "the end of what runs")
    status = wait_for(desk.view, "an answer")
    assert [rule.run for rule in status.view.rules] == [run]
    assert not desk.attempts()
    assert order(desk.state, f"/v1/runs/{run}/resume")
    desk.wait_for(run, "finished")


def test_a_state_folder_that_can_only_be_read_is_told(desk: Desk) -> None:
    """A file system that is mounted so, in a namespace of this process's own."""
    desk.state.path.mkdir(mode=0o700)
    (desk.state.path / "runs").mkdir(mode=0o700)
    path = desk.state.path
    prefix = f"mount --bind {path} {path} && mount -o remount,ro,bind {path} && exec "
    words = " ".join(f"'{word}'" for word in (*COMMAND, "start"))
    done = subprocess.run(
        ["unshare", "--mount", "sh", "-c", prefix + words],
        capture_output=True,
        text=True,
        timeout=120,
        env=desk.environment,
    )
    if "Operation not permitted" in done.stderr:
        pytest.skip(f"no mount of our own here: {done.stderr.strip()}")
    assert done.returncode == 2, done.stderr
    assert f"Error: the state folder {path} cannot be written" in done.stderr


def children(process: Process) -> list[int]:
    tasks = Path(f"/proc/{process.pid}/task").glob("*/children")
    return [int(pid) for path in tasks for pid in path.read_text().split()]


def state_of(pid: int) -> str:
    with contextlib.suppress(FileNotFoundError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    return ""
