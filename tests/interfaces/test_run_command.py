"""``scheduler run``: bad input changes nothing and says what to do; good input becomes the host."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError
from pathlib import Path
from typing import Any

import msgspec
import pytest

from probes.reading import Device, LeftOut
from scheduler.core.model import Run
from scheduler.interfaces import run as run_command
from scheduler.machine import budgets
from scheduler.machine.runs import RunSpec, RunStatus, read_whole, write_whole
from scheduler.machine.state import StateFolder, new_run, open_state
from scheduler.machine.summon import NoSupervisor

GIB = 1 << 30
CARD = Device(
    key="0000:03:00.0",
    kind="amd",
    name="RX 7900 GRE",
    total_bytes=16 * GIB,
    source="amdgpu",
    because="test",
)
IGPU = LeftOut(key="0000:0c:00.0", name="Radeon Graphics", because="its carve-out is small")

Scheduler = Callable[..., Any]


class Became(Exception):
    """What the process would have become: takes its arguments."""


@pytest.fixture(autouse=True)
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine with one card, a script in the working directory, and no supervisor needed."""

    def become(path: str, arguments: list[str]) -> None:
        raise Became(path, arguments)

    (tmp_path / "here").mkdir()
    (tmp_path / "here/train.py").touch()
    monkeypatch.chdir(tmp_path / "here")
    here = budgets.Here((budgets.budget_for(CARD, 2),), ((),), (IGPU,), ())
    monkeypatch.setattr(budgets, "look_here", lambda: here)
    monkeypatch.setenv("SCHEDULER_CONFIG", os.devnull)
    monkeypatch.setattr(run_command, "ensure_supervisor", lambda state: None)
    monkeypatch.setattr(os, "execv", become)
    return tmp_path / "here"


def begun(scheduler: Scheduler, state: StateFolder, *arguments: str) -> RunSpec:
    """The run that these arguments begin, and what it was started with."""
    with pytest.raises(Became) as became:
        scheduler("run", *arguments)
    path, command = became.value.args
    assert path == command[0] == sys.executable
    assert command[1:4] == ["-P", "-m", "scheduler.study.host"]
    spec = read_whole(Path(command[4]) / "run.json", RunSpec)
    assert spec is not None
    assert state.run(spec.run.id) == Path(command[4])
    return spec


BAD: dict[tuple[str, ...], str] = {
    (): "say what to run",
    ("missing.py",): "there is no script 'missing.py' in ",
    (".",): "is a folder",
    ("no such:thing!",): "neither a script that is there nor MODULE:FUNCTION",
    ("--device", "gpu7", "train.py"): "there are: 0000:03:00.0 (RX 7900 GRE)",
    ("--device", "0000:0c:00.0", "train.py"): "its carve-out is small",
    ("--memory-per-trial", "lots", "train.py"): '"6GiB", "6GB", "6G", "512MiB"',
    ("--memory-per-trial", "6 GB", "train.py"): "without a space",
    ("--memory-per-trial", "0", "train.py"): "cannot do with 0 of memory",
    ("--memory-per-trial", "15GiB", "train.py"): "has 14.4 GiB to give (16.0 GiB in all, 1.6",
    ("--memory-per-trial", "6G", "--reserve", "12G", "train.py"): "has 4.0 GiB to give",
    ("--reserve", "12G", "train.py"): "is to get 6.0 GiB, and 0000:03:00.0 has 4.0 GiB",
    ("--reserve", "-1", "train.py"): "is not a size",
    ("--n-trials", "0", "train.py"): "n-trials",
    ("--max-trials", "0", "train.py"): "max-trials",
    ("--direction", "minimize", "train.py"): "--direction is for MODULE:FUNCTION",
    ("--storage", "sqlite:///s.db", "train.py"): "--storage is for MODULE:FUNCTION",
    ("--study-name", "s", "train.py"): "--study-name is for MODULE:FUNCTION",
    ("--direction", "up", "a:b"): "minimize",
    ("--unheard-of", "train.py"): "unheard-of",
    ("--resume", "train-1", "train.py"): "leave out: target",
    ("--resume", "train-1", "--n-trials", "3"): "leave out: n_trials",
    ("--resume", "train-1"): "there is no run 'train-1'",
}


@pytest.mark.parametrize("arguments", BAD, ids=" ".join)
def test_bad_input_is_told_and_changes_nothing(
    scheduler: Scheduler, state: StateFolder, arguments: tuple[str, ...]
) -> None:
    said = scheduler("run", *arguments)
    assert (said.code, said.out) == (2, "")
    assert BAD[arguments] in said.err
    assert not state.path.exists()


def test_all_that_was_asked_for_is_written_down(
    scheduler: Scheduler, state: StateFolder, machine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_command, "_umask", lambda: 0o027)
    began_s = time.time()
    spec = begun(
        *(scheduler, state, "--device", "0000:03:00.0", "--memory-per-trial", "4GiB"),
        *("--max-trials", "3", "--n-trials", "400", "--reserve", "2GiB", "--no-containment"),
        *("--start", "fork", "--name", "night run", "train.py", "--epochs", "30", "--help", "--"),
    )
    assert began_s <= spec.created_at_s <= time.time()
    assert spec == RunSpec(
        run=Run(
            id="night-run-1",
            name="night run",
            device="0000:03:00.0",
            promise_bytes=4 * GIB,
            reserve_bytes=2 * GIB,
            max_attempts=3,
            contain=False,
        ),
        kind="script",
        target="train.py",
        arguments=("--epochs", "30", "--help", "--"),
        folder=str(machine),
        created_at_s=spec.created_at_s,
        n_trials=400,
        start="fork",
        python=sys.executable,
        umask=0o027,
    )


def test_a_function_brings_its_study_with_it(scheduler: Scheduler, state: StateFolder) -> None:
    spec = begun(
        *(scheduler, state, "--direction", "maximize", "--storage", "sqlite:///s.db"),
        *("--study-name", "s", "package.module:objective"),
    )
    assert spec.kind == "function"
    assert (spec.direction, spec.storage, spec.study_name) == ("maximize", "sqlite:///s.db", "s")
    assert spec.run.id == "module-1"


def test_a_file_is_a_script_whatever_its_name(
    scheduler: Scheduler, state: StateFolder, machine: Path
) -> None:
    (machine / "a:b").touch()
    assert begun(scheduler, state, "a:b").kind == "script"


def test_without_a_supervisor_no_run_is_left_behind(
    scheduler: Scheduler, state: StateFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: StateFolder) -> None:
        raise NoSupervisor("it ended at once", "/log", "Traceback")

    monkeypatch.setattr(run_command, "ensure_supervisor", fail)
    said = scheduler("run", "train.py")
    assert said.code == 1
    assert "it ended at once; it said:\nTraceback" in said.err
    assert state.run_ids() == []


def test_a_state_folder_of_others_is_refused(scheduler: Scheduler, state: StateFolder) -> None:
    state.path.mkdir(mode=0o755)
    said = scheduler("run", "train.py")
    assert said.code == 2
    assert "chmod 700" in said.err


@pytest.mark.parametrize(
    ("version", "words"), [(None, "is not installed"), ("4.9.0", "Optuna 4.9.0 is too old; 5.0")]
)
def test_an_optuna_that_is_missing_or_too_old_is_told(
    scheduler: Scheduler,
    state: StateFolder,
    monkeypatch: pytest.MonkeyPatch,
    version: str | None,
    words: str,
) -> None:
    checks = "scheduler.interfaces.checks"
    monkeypatch.setattr(f"{checks}.util.find_spec", lambda name: version)
    monkeypatch.setattr(f"{checks}.metadata.version", lambda name: version)
    said = scheduler("run", "train.py")
    assert said.code == 2
    assert words in said.err
    assert sys.executable in said.err
    assert not state.path.exists()


def test_a_folder_named_optuna_is_no_optuna(
    scheduler: Scheduler, state: StateFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Python takes any folder on its path for a package; this one was never installed."""

    def nothing(name: str) -> str:
        raise PackageNotFoundError(name)

    monkeypatch.setattr("scheduler.interfaces.checks.metadata.version", nothing)
    said = scheduler("run", "train.py")
    assert said.code == 2
    assert "Optuna is not installed for" in said.err
    assert not state.path.exists()


def test_a_state_folder_that_cannot_be_written_is_refused(
    scheduler: Scheduler, state: StateFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on a file system that is mounted to be read only, where modes say nothing."""
    state.path.mkdir(mode=0o700)
    monkeypatch.setattr(os, "access", lambda path, mode: str(path) != str(state.path))
    said = scheduler("run", "train.py")
    assert said.code == 2
    assert f"the state folder {state.path} cannot be written" in said.err
    assert list(state.path.iterdir()) == []


@pytest.fixture
def former(state: StateFolder, machine: Path) -> RunStatus:
    """A run that was begun, and the status of a host that died long ago."""
    run = new_run(open_state(), "train")
    spec = RunSpec(
        run=Run(id=run),
        kind="script",
        target="train.py",
        folder=str(machine),
        created_at_s=1.0,
    )
    write_whole(state.run(run) / "run.json", spec)
    status = RunStatus(run=run, state="running", host_pid=os.getpid(), updated_at_s=1.0)
    write_whole(state.run(run) / "status.json", status)
    return status


def test_an_interrupted_run_goes_on_where_it_was_started(
    scheduler: Scheduler,
    state: StateFolder,
    former: RunStatus,
    machine: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir("/")
    assert begun(scheduler, state, "--resume", former.run).run.id == former.run
    assert Path.cwd() == machine


@pytest.mark.parametrize(
    ("now", "words"),
    [
        ({"updated_at_s": time.time() + 60}, "is running already (pid "),
        ({"state": "finished"}, "run train-1 is finished"),
    ],
)
def test_a_run_that_goes_on_or_is_done_is_not_resumed(
    scheduler: Scheduler, state: StateFolder, former: RunStatus, now: dict[str, Any], words: str
) -> None:
    status = msgspec.structs.replace(former, **now)
    write_whole(state.run(former.run) / "status.json", status)
    said = scheduler("run", "--resume", former.run)
    assert said.code == 2
    assert words in said.err


def test_an_unknown_run_is_told_the_latest(
    scheduler: Scheduler, state: StateFolder, former: RunStatus
) -> None:
    said = scheduler("run", "--resume", "train-7")
    assert said.code == 2
    assert "the latest are: train-1" in said.err


def test_options_may_follow_a_function(scheduler: Scheduler, state: StateFolder) -> None:
    """It has no arguments of its own; a script has, and keeps them."""
    after = ("--n-trials", "5", "--direction", "maximize", "--storage", "sqlite:///s.db")
    spec = begun(scheduler, state, "--max-trials", "3", "package.module:objective", *after)
    assert (spec.target, spec.arguments, spec.n_trials) == ("package.module:objective", (), 5)
    assert (spec.direction, spec.storage, spec.run.max_attempts) == (
        "maximize",
        "sqlite:///s.db",
        3,
    )
    assert begun(scheduler, state, "train.py", *after).arguments == after
    said = scheduler("run", "package.module:objective", "--n-trials", "5", "more")
    assert said.code == 2
    assert "takes no arguments; seen: more" in said.err


def test_where_flags_say_nothing_the_configuration_does(
    scheduler: Scheduler, state: StateFolder, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    config = tmp_path / "config.toml"
    monkeypatch.setenv("SCHEDULER_CONFIG", str(config))
    config.write_text('[run]\nmax_trials = 3\nstart = "re-run"\n[attempts]\nnice = 5\n')
    spec = begun(scheduler, state, "train.py")
    assert (spec.run.max_attempts, spec.start, spec.nice) == (3, "re-run", 5)
    spec = begun(scheduler, state, "--max-trials", "1", "--start", "fork", "train.py")
    assert (spec.run.max_attempts, spec.start) == (1, "fork")
    config.write_text('[run]\nreserve = "12G"\nmemory_per_trial = "6G"\n')
    said = scheduler("run", "train.py")
    assert said.code == 2
    assert "is to get 6.0 GiB, and 0000:03:00.0 has 4.0 GiB" in said.err
    config.write_text("[run]\nmax_trails = 3\n")
    said = scheduler("run", "train.py")
    assert (said.code, said.out) == (2, "")
    assert "max_trails" in said.err
