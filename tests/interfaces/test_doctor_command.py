"""``scheduler doctor`` as a whole: lines, JSON and exit codes, whatever hangs or breaks."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from scheduler.interfaces import doctor
from scheduler.interfaces.checkup import counters
from scheduler.interfaces.checkup.drivers import read_pci_cards
from scheduler.interfaces.checkup.examine import Part, examine, parts
from scheduler.interfaces.checkup.findings import Check, State, Where, ok, problem, warning
from scheduler.machine import processes
from scheduler.machine.state import StateFolder, open_state
from scheduler.machine.summon import ensure_supervisor
from tests.emulated.card import EmulatedCard
from tests.interfaces.checkup_samples import machine, only

Scheduler = Callable[..., Any]
MAIN = [sys.executable, "-c", "from scheduler.interfaces.cli import main; main()"]


@pytest.fixture
def release() -> Iterator[threading.Event]:
    """Set at the end, so that no thread is left waiting."""
    event = threading.Event()
    yield event
    event.set()


@pytest.mark.parametrize(
    ("states", "code_is_0", "verdict"),
    [
        (("ok", "skipped"), True, "trials can run"),
        (("ok", "warning"), True, "trials can run, with 1 warning"),
        (("problem", "ok"), False, "1 problem to solve before trials can run"),
        (
            ("problem", "warning", "problem", "warning"),
            False,
            "2 problems to solve before trials can run, with 2 warnings",
        ),
    ],
)
def test_the_verdict_counts(states: tuple[State, ...], code_is_0: bool, verdict: str) -> None:
    report = doctor.judge(tuple(Check(name="x", state=state, seen="y") for state in states))
    assert (report.can_run, report.verdict) == (code_is_0, verdict)


def test_what_to_do_stands_below() -> None:
    lines = list(doctor.check_lines(problem("permissions", "no rights", "sudo x")))
    assert lines == ["problem  permissions  no rights", "         do: sudo x"]
    assert list(doctor.check_lines(ok("x", "y"))) == ["ok       x            y"]


def test_this_machine_can_run_trials(scheduler: Scheduler, state: StateFolder) -> None:
    said = scheduler("doctor")
    if not read_pci_cards(Path("/sys")):  # a GPU may well have a problem
        assert said.code == 0, said.out
        assert said.out.splitlines()[-1].startswith("trials can run")
    assert "ok       optuna       Optuna 5." in said.out
    assert f"ok       state folder {state.path}, " in said.out
    assert not state.path.exists()


def test_json_is_the_report(scheduler: Scheduler, state: StateFolder) -> None:
    said = scheduler("doctor", "--json")
    report = msgspec.json.decode(said.out, type=doctor.Report)
    assert report.can_run == (said.code == 0)
    assert {check.name for check in report.checks} >= {"optuna", "device", "limits", "torch"}
    assert json.loads(said.out)["checks"][0]["state"] == "ok"


def test_a_state_folder_that_is_a_file_ends_with_1(
    scheduler: Scheduler, state: StateFolder
) -> None:
    state.path.write_text("")
    said = scheduler("doctor")
    assert said.code == 1
    assert f"problem  state folder {state.path} is a file" in said.out
    assert "         do: Set SCHEDULER_STATE_DIR" in said.out
    assert "to solve before trials can run" in said.out.splitlines()[-1]
    assert "supervisor   none is running" in said.out


@pytest.mark.processes
def test_a_running_supervisor_is_told(scheduler: Scheduler, state: StateFolder) -> None:
    ensure_supervisor(open_state())
    found = processes.identify(int(state.lock.read_text()))
    assert found is not None
    try:
        assert f"supervisor   pid {found.pid} answers, up " in scheduler("doctor").out
    finally:
        processes.send(found, 9)
        assert processes.wait_gone(found, 30.0)


@pytest.mark.processes
def test_a_card_with_another_makers_torch_and_no_files_has_two_problems(
    state: StateFolder, tmp_path: Path
) -> None:
    (tmp_path / "torch").mkdir()
    (tmp_path / "torch/__init__.py").write_text("raise AssertionError('imported')")
    (tmp_path / "torch/version.py").write_text("__version__ = '2.9.0'\ncuda = '12.8'\nhip = None")
    with EmulatedCard(tmp_path) as card:
        environment = os.environ | card.environment()
        environment["PYTHONPATH"] = f"{tmp_path}:{environment['PYTHONPATH']}"
        done = subprocess.run([*MAIN, "doctor"], capture_output=True, text=True, env=environment)
    assert done.returncode == 1, done.stderr
    assert (
        "problem  torch        torch 2.9.0, built for CUDA 12.8, but the GPU is AMD" in done.stdout
    )
    assert "ok       device       0000:03:00.0  AMD GPU 0x744c (gfx1100): 400 MiB" in done.stdout
    assert "ok       driver       0000:03:00.0 (AMD): amdgpu is loaded" in done.stdout
    if not Path("/dev/kfd").exists():
        assert "do: In a container: docker run --device=/dev/kfd" in done.stdout
        assert "2 problems to solve" in done.stdout


def waiting_on(event: threading.Event) -> Callable[[Where], tuple[Check, ...]]:
    def check(where: Where) -> tuple[Check, ...]:
        event.wait(120.0)
        return (ok("slow", "in the end"),)

    return check


def test_a_check_that_hangs_costs_itself_only(tmp_path: Path, release: threading.Event) -> None:
    wanted = (
        Part("slow", waiting_on(release), 0.05),
        Part("quick", lambda where: (warning("quick", "seen"),)),
        Part("slow too", waiting_on(release), 0.05, "warning"),
    )
    began_s = time.monotonic()
    found = list(examine(machine(tmp_path), wanted))
    assert time.monotonic() - began_s < 60.0
    assert [(check.name, check.state) for check in found] == [
        ("slow", "problem"),
        ("quick", "warning"),
        ("slow too", "warning"),
    ]
    assert found[0].seen == "did not answer in 0 s"


def test_what_is_known_is_told_before_the_rest(tmp_path: Path, release: threading.Event) -> None:
    quick = Part("quick", lambda where: (ok("quick", "seen"),))
    told = examine(machine(tmp_path), (quick, Part("slow", waiting_on(release), 30.0)))
    assert next(told).name == "quick"
    release.set()
    assert next(told).seen == "in the end"


def test_a_check_that_breaks_is_told_and_the_others_go_on(tmp_path: Path) -> None:
    def broken(where: Where) -> tuple[Check, ...]:
        raise KeyError("x")

    wanted = (Part("broken", broken), Part("quick", lambda where: (ok("quick", "seen"),)))
    first, second = examine(machine(tmp_path), wanted)
    assert (first.state, first.seen) == ("problem", "could not be looked at: KeyError: 'x'")
    assert second.state == "ok"


def test_a_counter_that_hangs_is_told(tmp_path: Path) -> None:
    with EmulatedCard(tmp_path) as card:
        card.break_used("hang")
        where = machine(tmp_path, sysfs=card.sysfs)
        check = only(tuple(examine(where, (Part("sysfs", counters.check, 0.2),))))
    assert (check.state, check.seen) == ("problem", "did not answer in 0 s")


def test_every_part_finds_something_on_an_empty_machine(tmp_path: Path) -> None:
    """Nothing of /sys, /proc and /dev is there: each check still says something."""
    where = machine(tmp_path)
    found = list(examine(where, parts(where)))
    assert {part.name for part in parts(where)} == {check.name for check in found}
    assert [check for check in found if check.state == "problem"] == []
    assert all(len(part.name) <= doctor.NAME_WIDTH for part in parts(where))
