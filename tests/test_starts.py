"""A real supervisor started on what others have left: damaged journals, old ones, those of an
earlier boot, and each other."""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from script_runs import wait_for
from test_daemon import Host, device, is_read, started

from probes.reading import Reading
from scheduler.core.actions import Start
from scheduler.core.concurrency import Limit
from scheduler.core.core import Core
from scheduler.core.events import Found, Joined, Offered, Remembered, Running, Sampled, Started
from scheduler.core.model import Attempt, Process, Run, Trial
from scheduler.interfaces.client import ask
from scheduler.machine import hosts, processes
from scheduler.machine.api.answers import Status
from scheduler.machine.budgets import look_here
from scheduler.machine.state import StateFolder, open_state
from scheduler.machine.summon import supervisor_of

pytestmark = pytest.mark.processes
DATA = Path(__file__).parent / "data"
MIB = 1 << 20
MANY = 10


@pytest.fixture(name="folder")
def _folder(state: Path) -> Iterator[StateFolder]:
    """A state folder whose supervisor, if there is one, ends with the test."""
    one = open_state()
    yield one
    if (supervisor := supervisor_of(one)) is not None:
        processes.send(supervisor, 9)
        assert processes.wait_gone(supervisor, 30.0)


@pytest.fixture
def host(folder: StateFolder) -> Iterator[Host]:
    one = Host(folder, "script-1")
    one.children = {}
    yield one
    one.close()


def cut_in_the_last_line(text: bytes) -> bytes:
    return text[: text[:-1].rindex(b"\n") + 20]


def with_a_byte_that_is_another(text: bytes) -> bytes:
    return text[:5] + b"\xff" + text[6:]


def with_the_zeros_of_a_power_cut(text: bytes) -> bytes:
    return text + bytes(4096)


@pytest.mark.parametrize(
    "damage",
    [cut_in_the_last_line, with_a_byte_that_is_another, with_the_zeros_of_a_power_cut],
)
def test_by_a_damaged_journal_it_starts_and_hosts_say_what_runs(
    folder: StateFolder, host: Host, damage: object
) -> None:
    """With what they were promised, before anything else is admitted."""
    first = started(folder)
    host.join()
    running = host.run_attempt()
    processes.send(first, 9)
    assert processes.wait_gone(first, 30.0)
    host.disconnect()
    folder.journal.write_bytes(damage(folder.journal.read_bytes()))
    assert started(folder) != first
    host.join(running)
    wait_for(lambda: any(one.process for one in device(folder).attempts), "the attempt that runs")
    assert device(folder).attempts[0].process == running.process
    assert device(folder).promised_bytes == 64 * MIB
    assert host.run_attempt(1).attempt.id != running.attempt.id
    assert host.finish(running).settlement == "done"
    aside = list(folder.path.glob("journal.damaged-*"))
    assert len(aside) == (damage is with_a_byte_that_is_another)


@pytest.mark.parametrize("name", sorted(path.name for path in DATA.glob("journal-*.jsonl")))
def test_by_a_journal_of_an_earlier_version_it_starts(
    folder: StateFolder, host: Host, name: str
) -> None:
    """Which tells of a card that is not there, of this run, and of the same trials."""
    shutil.copy(DATA / name, folder.journal)
    count = len((DATA / name).read_bytes().splitlines())
    started(folder)
    assert f"replayed {count} events in" in folder.log.read_text()
    host.join()
    host.offer(2)
    attempt = host.hear_any(Start).attempt
    running = Running(attempt=attempt, process=host.spawn(attempt))
    assert host.finish(running).settlement == "done"
    assert not list(folder.path.glob("journal.damaged-*"))


def test_of_ten_started_at_once_one_lives_and_the_others_say_where(folder: StateFolder) -> None:
    begun = [
        subprocess.Popen(
            [sys.executable, "-P", "-m", "scheduler.daemon", "--lasting"],
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(MANY)
    ]
    try:
        wait_for(lambda: sum(one.poll() is not None for one in begun) == MANY - 1, "nine ends")
        (living,) = (one for one in begun if one.poll() is None)
        there = wait_for(lambda: ask(folder, "/v1/status", Status), "its answer")
        assert there.supervisor.pid == living.pid
        said = {one.communicate()[1] for one in begun if one is not living}
        assert said == {f"a supervisor runs already: pid {living.pid}, in {folder.path}\n"}
        assert {one.returncode for one in begun if one is not living} == {1}
        living.terminate()
        assert living.wait(30.0) == 0
    finally:
        for one in begun:
            one.kill()
            one.wait()
            assert one.stderr is not None
            one.stderr.close()


def of_an_earlier_boot(process: Process) -> Remembered:
    """An attempt runs on the host's RAM, which has taught that it bears one at once."""
    at_s, run = time.time() - 60.0, Run(id="script-1", promise_bytes=64 * MIB)
    (ram,) = (one for one in look_here().budgets if one.device.key == "host")
    reading = Reading(device="host", total_bytes=8 << 30, used_bytes=0, held=())
    core = Core()
    for event in (
        Found(at_s=at_s, budgets=(ram,), boot_id="the first"),
        Joined(at_s=at_s, run=run),
        Sampled(at_s=at_s, readings=(reading,)),
        Offered(at_s=at_s, trial=Trial(run=run.id, number=0)),
        Started(at_s=at_s, attempt="script-1/0.1", process=process),
    ):
        core.handle(event)
    known = core.remember()
    (device,) = known.devices
    assert list(device.lives) == ["script-1/0.1"]
    learned = msgspec.structs.replace(device, limit=Limit(at_most=1))
    return msgspec.structs.replace(known, devices=(learned,))


def test_after_a_reboot_a_pid_of_before_it_is_nobodys_and_what_was_learned_stays(
    folder: StateFolder, host: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another process has it by now, with the same tick, even."""
    other = host.spawn(Attempt(
        id="other", trial=Trial(run="o", number=0), device="host", promise_bytes=0, cap_bytes=None,
        started_at_s=0.0,
    ))  # fmt: skip
    folder.journal.write_bytes(msgspec.json.encode(of_an_earlier_boot(other)) + b"\n")
    (tmp_path / "boot").write_text("the second")
    monkeypatch.setenv(hosts.BOOT_VARIABLE, str(tmp_path / "boot"))
    started(folder)
    wait_for(lambda: is_read(folder), "a reading")
    assert device(folder).attempts == ()
    assert device(folder).promised_bytes == 0
    assert device(folder).at_most == 1
    assert "the machine was started anew" in folder.log.read_text()
    host.join()
    assert host.run_attempt().attempt.id == "script-1/0.2"
    assert processes.is_alive(other)
