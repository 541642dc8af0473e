"""Real runs for tests: ``scheduler run`` as a subprocess on the host's RAM, with a deadline.

Every process of a test inherits its private state folder in the environment, so that what a run
leaves behind can be found without knowing how it came to be.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import optuna
import pytest

from scheduler.machine.runs import RunSpec, RunStatus, read_whole
from scheduler.study.keeping.storage import DurableStorage

VARIABLE = "SCHEDULER_STATE_DIR"
DEADLINE_S = 120.0
COMMAND = (sys.executable, "-c", "from scheduler.interfaces.cli import main; main()")
#: Small enough for any machine that runs tests, and two at once.
SMALL = {"--memory-per-trial": "200MiB", "--max-trials": "2"}
THREADS = ("OMP", "MKL", "OPENBLAS", "NUMEXPR")
T = TypeVar("T")


def wait_for(condition: Callable[[], T], what: str, timeout_s: float = 60.0) -> T:
    """The first true value of *condition*; fails saying *what* was waited for and what was seen."""
    deadline_s = time.monotonic() + timeout_s
    while not (value := condition()):
        if time.monotonic() > deadline_s:
            pytest.fail(f"waited {timeout_s:.0f} s in vain for {what}; last seen: {value!r}")
        time.sleep(0.02)
    return value


def processes_of(state: Path) -> dict[int, str]:
    """Pid and command line of every live process that was started with this state folder."""
    found: dict[int, str] = {}
    wanted = f"{VARIABLE}={state}".encode()
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        with contextlib.suppress(OSError):
            if wanted in (entry / "environ").read_bytes().split(b"\0"):
                words = (entry / "cmdline").read_bytes().split(b"\0")
                found[int(entry.name)] = b" ".join(words).decode(errors="replace").strip()
    return found


def supervisor_of(state: Path) -> int | None:
    """The pid of the supervisor that runs on this state folder."""
    pids = [pid for pid, command in processes_of(state).items() if "scheduler.daemon" in command]
    return min(pids, default=None)


def sockets_of(state: Path) -> list[Path]:
    return [path for path in state.iterdir() if path.is_socket()] if state.is_dir() else []


@dataclass(frozen=True, kw_only=True)
class Result:
    """A run that is over. ``run`` is None where none was made."""

    code: int
    out: str
    err: str
    run: str | None
    folder: Path  #: of the run: status, logs, studies that were kept in memory

    @property
    def status(self) -> RunStatus:
        status = read_whole(self.folder / "status.json", RunStatus)
        assert status is not None, f"{self.folder} has no status\n{self}"
        return status

    @property
    def said(self) -> Any:
        """The last line of the script's output, which is JSON by agreement with the tests."""
        lines = self.out.strip().splitlines()
        assert lines, f"nothing was printed\n{self}"
        return json.loads(lines[-1])

    def study(self, index: int = 0) -> optuna.Study:
        """The *index*-th study that the script kept in memory."""
        storage = DurableStorage(self.folder / f"study-{index}.db")
        (known,) = storage.get_all_studies()
        return optuna.load_study(study_name=known.study_name, storage=storage)

    def log(self, number: int) -> str:
        """What the attempt with Optuna's trial number *number* printed."""
        return (self.folder / "logs" / f"{number}.log").read_text()

    def ok(self) -> Result:
        """The same; fails with all that was printed where the exit code is not 0."""
        assert self.code == 0, str(self)
        return self

    def __str__(self) -> str:
        return f"exit code {self.code}\n--- out\n{self.out}\n--- err\n{self.err}"


@dataclass
class Going:
    """A run that goes on. ``own`` is the folder of the script."""

    process: subprocess.Popen[bytes]
    state: Path
    own: Path
    run: str | None
    result: Result | None = field(default=None)

    @property
    def folder(self) -> Path:
        """The run's; waits until there is one."""
        if self.run is None:
            self.run = wait_for(self._newest, "the run's folder")
        return self.state / "runs" / self.run

    def _newest(self) -> str | None:
        """The run whose host this process has become."""
        for folder in (self.state / "runs").glob("*"):
            status = read_whole(folder / "status.json", RunStatus)
            if status is not None and status.host_pid == self.process.pid:
                return folder.name
        return None

    @property
    def status(self) -> RunStatus | None:
        return read_whole(self.folder / "status.json", RunStatus)

    def wait_for(self, condition: Callable[[], T], what: str, timeout_s: float = 60.0) -> T:
        """As ``wait_for``; says how the run stands where it fails, or ended before."""
        deadline_s = time.monotonic() + timeout_s
        while not (value := condition()):
            ended = self.process.poll() is not None and not condition()
            if ended or time.monotonic() > deadline_s:
                why = "the run ended" if ended else f"{timeout_s:.0f} s passed"
                pytest.fail(f"{why} before {what}; seen: {value!r}\n{self._describe()}")
            time.sleep(0.02)
        return value

    def wait_for_files(self, pattern: str, count: int = 1) -> list[Path]:
        """Files that the script's attempts make in its folder."""
        enough = lambda: len(found := sorted(self.own.glob(pattern))) >= count and found  # noqa: E731
        found = self.wait_for(enough, f"{count} files {pattern} in {self.own}")
        assert found
        return found

    def signal(self, number: int) -> None:
        self.process.send_signal(number)

    def kill_host(self) -> None:
        """The host and nothing else, as the kernel's OOM killer might."""
        self.process.kill()
        self.process.wait()

    def wait(self, deadline_s: float = DEADLINE_S) -> Result:
        """Until it ends by itself; fails, and kills it, at the deadline."""
        if self.result is None:
            try:
                self.process.wait(deadline_s)
            except subprocess.TimeoutExpired:
                told = self._describe()
                self.process.kill()
                self.process.wait()
                pytest.fail(f"the run did not end within {deadline_s:.0f} s\n{told}")
            run = self.run or self._newest()
            folder = self.state / "runs" / (run or "none")
            code = self.process.returncode
            self.result = Result(code=code, out=self.out, err=self.err, run=run, folder=folder)
        return self.result

    @property
    def out(self) -> str:
        return (self.own / "out.txt").read_text(errors="replace")

    @property
    def err(self) -> str:
        return (self.own / "err.txt").read_text(errors="replace")

    def _describe(self) -> str:
        parts = [f"--- out\n{self.out}", f"--- err\n{self.err}"]
        parts.append(f"--- processes\n{processes_of(self.state)}")
        for path in (self.state / "runs").glob("*/status.json"):
            parts.append(f"--- {path}\n{path.read_text()}")
        logs = [self.state / "supervisor.log", *(self.state / "runs").glob("*/logs/*.log")]
        parts += [f"--- {path}\n{path.read_text()[-2000:]}" for path in logs if path.is_file()]
        return "\n".join(parts)


class Runner:
    """Starts scripts in *own* with the state folder *state*.

    ``prefix``: the words of a command that ends by running the words after it in its own place.
    """

    def __init__(self, own: Path, state: Path) -> None:
        self.own = own
        self.state = state
        self.prefix: tuple[str, ...] = ()
        self._begun: list[Going] = []

    def environment(self, more: Mapping[str, str] | None = None) -> dict[str, str]:
        """Ours, with the state folder, and without a number of threads that somebody has set."""
        kept = {k: v for k, v in os.environ.items() if not k.startswith(THREADS)}
        return kept | {VARIABLE: str(self.state)} | dict(more or {})

    def write(self, text: str, name: str = "script.py") -> Path:
        path = self.own / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text))
        return path

    def begin(
        self,
        text: str | None,
        *options: str,
        arguments: tuple[str, ...] = (),
        environment: Mapping[str, str] | None = None,
        target: str | None = None,
    ) -> Going:
        """Start a run and return at once. *text* None: the target is there already."""
        script = str(self.write(text)) if text is not None else None
        given = list(options)
        for name, value in SMALL.items():
            if name not in options:
                given += [name, value]
        return self._start(["run", *given, target or script or "", *arguments], environment)

    def __call__(self, text: str | None, *options: str, **named: Any) -> Result:
        """Run a script to its end."""
        return self.begin(text, *options, **named).wait()

    def begin_resume(self, run: str, environment: Mapping[str, str] | None = None) -> Going:
        return self._start(["run", "--resume", run], environment, run)

    def resume(self, run: str, environment: Mapping[str, str] | None = None) -> Result:
        """Go on with a run, to its end."""
        return self.begin_resume(run, environment).wait()

    def _start(
        self, command: list[str], environment: Mapping[str, str] | None, run: str | None = None
    ) -> Going:
        with open(self.own / "out.txt", "wb") as out, open(self.own / "err.txt", "wb") as err:
            process = subprocess.Popen(
                [*self.prefix, *COMMAND, *command],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                cwd=self.own,
                env=self.environment(environment),
                start_new_session=True,
            )
        going = Going(process, self.state, self.own, run)
        self._begun.append(going)
        return going

    def command(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Any other command of ours."""
        return subprocess.run(
            [*COMMAND, *words],
            capture_output=True,
            text=True,
            timeout=DEADLINE_S,
            cwd=self.own,
            env=self.environment(),
        )

    def plain(self, text: str | None = None, *arguments: str) -> Result:
        """The same script by Python alone, as the user would without us."""
        path = self.own / "script.py" if text is None else self.write(text)
        done = subprocess.run(
            [sys.executable, str(path), *arguments],
            capture_output=True,
            text=True,
            timeout=DEADLINE_S,
            cwd=self.own,
            env=self.environment(),
        )
        none = self.state / "runs" / "none"
        return Result(code=done.returncode, out=done.stdout, err=done.stderr, run=None, folder=none)

    def spec(self, run: str) -> RunSpec:
        spec = read_whole(self.state / "runs" / run / "run.json", RunSpec)
        assert spec is not None
        return spec

    def kill_what_runs(self) -> None:
        """At the end of a test that failed half way."""
        for going in self._begun:
            if going.process.poll() is None:
                going.process.kill()
                going.process.wait()


def assert_nothing_left(state: Path, *, wait_for_supervisor: bool = False) -> None:
    """A host takes all its attempts along, and a supervisor its sockets.

    A supervisor in the background leaves by itself some seconds after the last run. To save these
    seconds in most tests it is told to leave, which is as good an end for it as any.
    """
    wait_for(lambda: _only_supervisor(state), f"the end of all but the supervisor of {state}")
    pid = supervisor_of(state)
    if pid is not None and not wait_for_supervisor:
        os.kill(pid, signal.SIGTERM)
    _wait_until(lambda: not processes_of(state), lambda: f"left running: {processes_of(state)}", 60)
    assert sockets_of(state) == []


def _only_supervisor(state: Path) -> bool:
    found = processes_of(state)
    return all("scheduler.daemon" in command for command in found.values())


def _wait_until(condition: Callable[[], bool], seen: Callable[[], str], timeout_s: float) -> None:
    deadline_s = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline_s, f"after {timeout_s:.0f} s {seen()}"
        time.sleep(0.02)
