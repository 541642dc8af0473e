"""A user at a desk: scripts in a folder, the ``scheduler`` command, a supervisor that stays.

Real processes. Objectives wait for a file ``go`` where a test needs them to be running.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import optuna
import script_runs
from script_runs import COMMAND, VARIABLE, Result, processes_of, wait_for

from scheduler.core.model import Process
from scheduler.core.view import AttemptView
from scheduler.interfaces.client import ask
from scheduler.machine import hosts, processes
from scheduler.machine.api.answers import Status
from scheduler.machine.runs import RunStatus, read_whole
from scheduler.machine.state import StateFolder
from scheduler.machine.summon import supervisor_of

SCRIPT = """
    import os, pathlib, sys, time
    import optuna

    def objective(trial):
        x = trial.suggest_float("x", 0, 1)
        pathlib.Path(f"began-{trial.number}-{os.getpid()}").touch()
        while trial.number >= FREE and not pathlib.Path("go").exists():
            time.sleep(0.02)
        return x

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler())
    study.optimize(objective, n_trials=TRIALS)
    print("best of", len([t for t in study.trials if t.value is not None]), *sys.argv[1:])
"""
ATTEMPTS = ("--memory-per-trial", "100MiB", "--max-trials", "2")


class Desk:
    """A user at a desk: a folder with scripts, and the ``scheduler`` command."""

    def __init__(self, own: Path, state: Path) -> None:
        self.own = own
        self.state = StateFolder(state)
        self.environment = {**os.environ, VARIABLE: str(state)}
        self.prefix: tuple[str, ...] = ()  #: before each command

    def script(self, trials: int = 4, *, free: int = 1000, name: str = "train.py") -> str:
        """Trials from number *free* on wait for the file ``go``."""
        text = SCRIPT.replace("FREE", str(free)).replace("TRIALS", str(trials))
        lines = [line.removeprefix("    ") for line in text.splitlines()]
        (self.own / name).write_text("\n".join(lines))
        return name

    def __call__(self, *words: str, code: int = 0) -> str:
        done = subprocess.run(
            [*self.prefix, *COMMAND, *words],
            capture_output=True,
            text=True,
            timeout=120,
            cwd=self.own,
            env=self.environment,
        )
        assert done.returncode == code, f"{words}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done.stdout + done.stderr

    def begin(self, *words: str) -> subprocess.Popen[bytes]:
        """In a session of its own, as a terminal has it."""
        return subprocess.Popen(
            [*self.prefix, *COMMAND, *words],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            cwd=self.own,
            env=self.environment,
            start_new_session=True,
        )

    def submit(self, script: str, *options: str) -> str:
        return self("submit", *ATTEMPTS, *options, script).strip()

    def go(self) -> None:
        (self.own / "go").touch()

    def status(self, run: str) -> RunStatus | None:
        return read_whole(self.state.run(run) / "status.json", RunStatus)

    def stands(self, run: str) -> str | None:
        status = self.status(run)
        return status.state if status else None

    def wait_for(self, run: str, state: str, timeout_s: float = 60.0) -> RunStatus:
        deadline_s = time.monotonic() + timeout_s
        while self.stands(run) != state:
            assert time.monotonic() < deadline_s, self.describe(run, state)
            time.sleep(0.02)
        status = self.status(run)
        assert status is not None
        return status

    def describe(self, run: str, wanted: str) -> str:
        folder = self.state.run(run)
        logs = [self.state.log, folder / "status.json", folder / "output.log"]
        said = [f"{path}\n{path.read_text()[-3000:]}" for path in logs if path.exists()]
        return "\n".join([f"run {run} is not {wanted}", *said])

    def output(self, run: str) -> str:
        return (self.state.run(run) / hosts.OUTPUT).read_text()

    def supervisor(self) -> Process:
        found = wait_for(lambda: supervisor_of(self.state), "a supervisor")
        assert found is not None
        return found

    def kill_supervisor(self) -> None:
        supervisor = self.supervisor()
        processes.send(supervisor, signal.SIGKILL)
        assert processes.wait_gone(supervisor, 30.0)

    def view(self) -> Status | None:
        return ask(self.state, "/v1/status", Status)

    def attempts(self) -> list[AttemptView]:
        status = self.view()
        found = [one for device in status.view.devices for one in device.attempts] if status else []
        return [one for one in found if one.state == "running"]

    def two_running(self) -> list[AttemptView]:
        assert wait_for(lambda: len(self.attempts()) == 2, "two attempts")
        return self.attempts()

    def host(self, run: str) -> Process:
        found = wait_for(lambda: hosts.host_of(self.state.run(run)), f"a host of {run}")
        assert found is not None
        return found

    def told(self) -> list[str]:
        """What happened to runs, in a word each."""
        lines = (self.state.path / "events.jsonl").read_text().splitlines()
        return [one["what"] for one in map(json.loads, lines) if one["kind"] == "run"]

    def complete(self, run: str) -> int:
        study = Result.study(Result(code=0, out="", err="", run=run, folder=self.state.run(run)))
        values = {trial.params["x"] for trial in study.trials if trial.value is not None}
        complete = [t for t in study.trials if t.state == optuna.trial.TrialState.COMPLETE]
        assert len(values) == len(complete), "a trial was brought to its end twice"
        assert all(trial.state.is_finished() for trial in study.trials)
        return len(complete)


@contextlib.contextmanager
def sitting_down(folder: Path, state: Path) -> Iterator[Desk]:
    """In the end nothing is left behind."""
    own = folder / "own"
    own.mkdir()
    one = Desk(own, state)
    yield one
    try:
        if supervisor_of(one.state) is not None:
            one("stop", "--now")
        script_runs.assert_nothing_left(state)
    finally:
        for pid in processes_of(state):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
