"""A submitted run that is killed piece by piece, and what is seen of its supervisor meanwhile.

What is made of it is said in ``chaos`` and ``chaos_record``.
"""

from __future__ import annotations

import contextlib
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path

import measure
from chaos_record import Kill, Kind, Note, Recovery

sys.path.insert(0, str(Path(__file__).parents[1]))
from scheduler.core.model import Process
from scheduler.core.view import AttemptView
from scheduler.interfaces.client import NoAnswer, ask
from scheduler.machine import hosts, processes
from scheduler.machine.api.answers import Status
from scheduler.machine.deaths import DEATHS
from scheduler.machine.runs import FINAL
from scheduler.machine.state import StateFolder
from scheduler.machine.summon import supervisor_of
from tests.script_runs import processes_of

RESTART_S = 5.0  #: RestartSec of the unit that `scheduler service install` writes
LOOK_EVERY_S = 0.05
PROPORTION: tuple[Kind, ...] = ("daemon", "host", "attempt", "attempt", "attempt")
GAP_S = 1.6  #: between two kills, in the mean
KILLED_BY = 0.8  #: of the trials; the last kill is to be over before the last trial
DEADLINE_S = 1800.0
RUN = "train-1"


class Watch(threading.Thread):
    """Looks at the supervisor's status all the time; starts a supervisor where nobody does."""

    def __init__(self, state: StateFolder, environment: dict[str, str]) -> None:
        super().__init__(name="watch", daemon=True)
        self._state = state
        self._environment = environment
        self._done = threading.Event()
        self._lock = threading.Lock()
        self._heard_s = time.monotonic()
        self._missed_s: dict[str, float] = {}  #: when a promise's process was first seen to be gone
        self._open: list[tuple[Kill, bool]] = []  #: daemons' deaths, and whether nothing else died
        self.is_ready = False  #: the last answer said that the run may be given memory
        self.attempts: tuple[AttemptView, ...] = ()  #: as last answered
        self.seen: set[Process] = set()
        self.recoveries: list[Recovery] = []
        self.outlived_s = 0.0  #: the longest that a promise was seen without its process
        self.started = 0  #: supervisors, since nobody else did

    def run(self) -> None:
        while not self._done.wait(LOOK_EVERY_S):
            self.look()

    def stop(self) -> None:
        self._done.set()
        if self.is_alive():
            self.join()

    def killed(self, kill: Kill) -> None:
        """To be told just before it happens."""
        with self._lock:
            if kill.kind != "attempt":
                self._open = [(former, False) for former, _ in self._open]
            if kill.kind == "daemon":
                self._open.append((kill, self.is_ready))
                self.is_ready = False

    def look(self) -> Status | None:
        """The answer, if there is one."""
        try:
            status = ask(self._state, "/v1/status", Status)
        except NoAnswer:  # it died over it
            status = None
        with self._lock:
            if status is None:
                self.is_ready = False
            else:
                self._take(status)
        if status is None and time.monotonic() - self._heard_s > RESTART_S:
            self._start()
        return status

    def _start(self) -> None:
        self.started += 1
        self._heard_s = time.monotonic()
        subprocess.run([*measure.SCHEDULER, "start"], env=self._environment, capture_output=True)

    def _take(self, status: Status) -> None:
        self._heard_s = now_s = time.monotonic()
        self.attempts = tuple(one for each in status.view.devices for one in each.attempts)
        self.seen |= {one.process for one in self.attempts if one.process is not None}
        gone = {
            one.attempt.id
            for one in self.attempts
            if one.process is None or not processes.is_alive(one.process)
        }
        self._missed_s = {name: self._missed_s.get(name, now_s) for name in gone}
        outlived = [now_s - since_s for since_s in self._missed_s.values()]
        self.outlived_s = max(self.outlived_s, *outlived, 0.0)
        killed = {kill.process.pid for kill, _ in self._open}
        if status.supervisor.pid in killed:  # it answered, and died
            return
        self.is_ready = _may_admit(status)
        if self.is_ready:
            self.recoveries += [Recovery(kill.at_s, time.time(), one) for kill, one in self._open]
            self._open = []


def _may_admit(status: Status) -> bool:
    """The run is there, and a device whose memory is known."""
    joined = any(run.run.id == RUN and run.connected for run in status.view.runs)
    known = any(one.read_at_s and one.headroom_bytes is not None for one in status.view.devices)
    return joined and known


class Chaos:
    """A run on a card, and its killer."""

    def __init__(
        self, folder: Path, environment: dict[str, str], *, trials: int, kills: int, seed: int
    ) -> None:
        self.folder = folder
        self.state = StateFolder(folder / "state")
        self.environment = environment
        self.trials = trials
        self.chance = random.Random(seed)
        self.kinds = [PROPORTION[number % len(PROPORTION)] for number in range(kills)]
        self.chance.shuffle(self.kinds)
        self.kills: list[Kill] = []
        self.done_at: list[int] = []  #: trials that were finished when a host was killed
        self.seen: set[Process] = set()  #: daemons and hosts
        self.watch = Watch(self.state, environment)

    def command(self, *words: str) -> None:
        measure.run([*measure.SCHEDULER, *words], self.environment, self.folder)

    def run(self, script: str) -> None:
        """From the submission until the run is over."""
        (self.folder / "train.py").write_text(script)
        self.command("start")
        options = ("--memory-per-trial", "3GiB", "--max-trials", "4")
        self.command("submit", *options, "--n-trials", str(self.trials), "train.py")
        self.watch.start()
        planned, end_s = len(self.kinds), time.monotonic() + DEADLINE_S
        while not self.is_over:
            if time.monotonic() > end_s:
                raise SystemExit(f"not over after {DEADLINE_S:.0f} s")
            time.sleep(self.pause_s(planned) if self.kinds else 0.2)
            if self.kinds:
                self.kill()
        if self.kinds:
            how = hosts.read_status(self.state, RUN)
            why = how.error or how.state if how else "unknown"
            left = f"{len(self.kinds)} of {planned} kills"
            raise SystemExit(f"the run was over before {left}: {why}")

    def pause_s(self, planned: int) -> float:
        """Until the next kill: by chance, and shorter where trials are ahead of kills."""
        ahead = (KILLED_BY - self.done / self.trials) / (len(self.kinds) / planned)
        return self.chance.expovariate(1 / GAP_S) * min(2.0, max(0.05, ahead))

    @property
    def done(self) -> int:
        status = hosts.read_status(self.state, RUN)
        if status is None:
            return 0
        return status.complete + status.pruned + status.failed + status.capacity

    @property
    def is_over(self) -> bool:
        status = hosts.read_status(self.state, RUN)
        return status is not None and status.state in FINAL

    def kill(self) -> None:
        """The next kind; where there is none of it now, it is tried again after the next pause."""
        victim = self.victim(self.kinds[-1])
        if victim is None or not processes.is_alive(victim):
            return
        if self.kinds[-1] == "host":
            if self.would_be_given_up:
                return
            self.done_at.append(self.done)
        kill = Kill(time.time(), self.kinds.pop(), victim)
        self.watch.killed(kill)
        processes.send(victim, signal.SIGKILL)
        self.kills.append(kill)
        self.seen.add(victim)

    @property
    def would_be_given_up(self) -> bool:
        """A run is, by design, whose fourth host dies with no trial finished since the first."""
        return len(self.done_at) >= DEATHS and self.done_at[-DEATHS] == self.done

    def victim(self, kind: Kind) -> Process | None:
        if kind == "daemon":
            return supervisor_of(self.state)
        if kind == "host":
            return hosts.host_of(self.state.run(RUN))
        running = [one.process for one in self.watch.attempts if one.process is not None]
        alive = [one for one in running if processes.is_alive(one)]
        return self.chance.choice(alive) if alive else None

    # -- the end -----------------------------------------------------------------------------------

    def promises_left(self) -> list[str]:
        """What the ledger holds once an end has had 15 s to show."""
        end_s = time.monotonic() + 15
        while True:
            status = self.watch.look()
            devices = status.view.devices if status else ()
            left = [one.attempt.id for device in devices for one in device.attempts]
            left += [f"{one.promised_bytes} bytes" for one in devices if one.promised_bytes]
            if (devices and not left) or time.monotonic() > end_s:
                return left if devices else ["no supervisor answers"]
            time.sleep(0.2)

    def processes_left(self, notes: Sequence[Note]) -> list[object]:
        """Whatever of the run lives after the supervisor was stopped."""
        self.command("stop", "--now")
        known = self.seen | self.watch.seen | {note.process for note in notes}
        end_s = time.monotonic() + 10
        while True:
            left = [one for one in known if processes.is_alive(one)]
            by_name = processes_of(self.state.path)
            if not (left or by_name) or time.monotonic() > end_s:
                return [*left, *by_name.items()]
            time.sleep(0.2)

    def end(self) -> None:
        """Whatever has gone wrong, nothing stays behind."""
        self.watch.stop()
        for pid in processes_of(self.state.path):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
