"""How long a supervisor takes to start on what a busy year has left in its state folder.

A year of 400 trials a day in a run a day, four at once on a card, goes through the real core,
journal and chronicle by the events' own clock; both files are bounded as the supervisor bounds
them, and the year ends when the journal is about to be shortened again, so that there is most to
replay. Fewer polls are written than a year has, one in two minutes: more would only shorten the
journal more often. Beside it are the folders of 365 runs that are over. Then `scheduler start` is
timed on a copy of it, by turns with an empty folder. Wanted: under 2 s. Where the machine has other
things to do, what the supervisor computed tells more than how long it took.

    python bench/start_after_a_year.py [days]
"""

from __future__ import annotations

import heapq
import random
import shutil
import signal
import statistics
import sys
import time
from collections import deque
from pathlib import Path
from typing import NamedTuple

import measure
import psutil

import scheduler.loop as loop
from probes.reading import Device, Held, Reading
from scheduler.core.actions import Action, Start
from scheduler.core.core import Core
from scheduler.core.events import Event, Exited, Found, Joined, Left, Offered, Sampled, Started
from scheduler.core.model import Budget, Evidence, Process, Run, Trial
from scheduler.machine import processes
from scheduler.machine.chronicle.chronicle import NAME, Chronicle
from scheduler.machine.chronicle.telling import entries_of
from scheduler.machine.journal import Journal
from scheduler.machine.runs import Best, RunSpec, RunStatus, write_whole
from scheduler.machine.state import CONTROL, HOSTS, StateFolder
from scheduler.machine.summon import supervisor_of
from scheduler.machine.world import JOURNAL_BYTES

DAYS, TRIALS_A_DAY, AT_ONCE = 365, 400, 4
DAY_S, POLL_S, BEGAN_S = 86400.0, 120.0, 1.76e9
LASTS_S = 0.9 * AT_ONCE * DAY_S / TRIALS_A_DAY
TIMES, WANTED_S = 7, 2.0
GIB = 1 << 30

CARD = Device(
    key="0000:03:00.0", kind="amd", name="a card", total_bytes=16 * GIB, source="", because=""
)
BUDGET = Budget(device=CARD, reserve_bytes=GIB, promise_bytes=3 * GIB, max_attempts=AT_ONCE)
COMPLETE = Evidence(outcome="complete", exit_code=0, proven=True)
KILLED = Evidence(signal=9, proven=True)


class Year:
    """The world and the journal of a core: trials of a run a day, one of 50 killed and put back."""

    def __init__(self, state: StateFolder, days: int) -> None:
        self.core = Core()
        self.events = self.trials = self.shortened = 0
        self._journal = Journal(state.journal)
        self._limit_bytes = JOURNAL_BYTES
        self._now_s = BEGAN_S
        self._chronicle = Chronicle(state.path / NAME, clock=lambda: self._now_s)
        self._end_s = BEGAN_S + days * DAY_S
        self._rng = random.Random(365)
        self._next: deque[Event] = deque([Found(at_s=BEGAN_S, budgets=(BUDGET,), boot_id="a")])
        self._ends: list[tuple[float, str, int]] = []
        self._polled_s = BEGAN_S
        self._day = self._offered = 0

    def next_event(self) -> Event | None:
        """Until the year is over and the journal is long."""
        if not self._next:
            self._go_on()
        if self._now_s > self._end_s and self._journal.size_bytes > 0.95 * self._limit_bytes:
            return None
        return self._next.popleft()

    def _go_on(self) -> None:
        """To whatever comes first: an end, a poll, a day."""
        if self._ends and self._ends[0][0] <= self._polled_s + POLL_S:
            self._now_s, attempt, _ = heapq.heappop(self._ends)
            evidence = KILLED if self._rng.random() < 0.02 else COMPLETE
            self._next.append(Exited(at_s=self._now_s, attempt=attempt, evidence=evidence))
            return
        self._now_s = self._polled_s = self._polled_s + POLL_S
        self._next.append(Sampled(at_s=self._now_s, readings=(self._reading(),)))
        day = int((self._now_s - BEGAN_S) // DAY_S) + 1
        if day > self._day:
            if self._day:
                self._next.append(Left(at_s=self._now_s, run=f"night-{self._day}"))
            self._day, self._offered = day, 0
            run = Run(id=f"night-{day}", promise_bytes=3 * GIB)
            self._next.append(Joined(at_s=self._now_s, run=run))
            self._offer()

    def _reading(self) -> Reading:
        held = tuple(Held(pid=pid, held_bytes=2 * GIB) for _, _, pid in self._ends)
        used_bytes = len(held) * 2 * GIB + self._rng.randrange(GIB)
        return Reading(device=CARD.key, total_bytes=16 * GIB, used_bytes=used_bytes, held=held)

    def _offer(self) -> None:
        trial = Trial(run=f"night-{self._day}", number=self._offered)
        self._offered += 1
        self._next.append(Offered(at_s=self._now_s, trial=trial))

    def perform(self, action: Action) -> None:
        self._chronicle.tell_all(entries_of(action))
        again = getattr(action, "again", None)
        if again is not None:
            self._next.append(Offered(at_s=self._now_s, trial=again))
        if isinstance(action, Start):
            self.trials += 1
            pid = 1000 + self.events % 4_000_000
            process = Process(pid=pid, started_ticks=self.events)
            attempt = action.attempt.id
            self._next.append(Started(at_s=self._now_s, attempt=attempt, process=process))
            lasts_s = LASTS_S * self._rng.uniform(0.2, 1.8)
            heapq.heappush(self._ends, (self._now_s + lasts_s, attempt, pid))
            self._offer()

    def append(self, event: Event) -> None:
        """As the supervisor's world does with the journal."""
        self.events += 1
        if isinstance(event, Sampled) and self._journal.size_bytes > self._limit_bytes:
            self._journal.begin_anew([self.core.remember()])
            self._limit_bytes = max(JOURNAL_BYTES, 2 * self._journal.size_bytes)
            self.shortened += 1
        self._journal.append(event)


def leave_runs(state: StateFolder, days: int) -> None:
    """The folders of runs that are over, as the supervisor finds them."""
    for day in range(1, days + 1):
        run, at_s = f"night-{day}", BEGAN_S + day * DAY_S
        folder = state.run(run)
        (folder / "logs").mkdir(parents=True, mode=0o700)
        spec = RunSpec(
            run=Run(id=run), kind="script", target="t.py", folder="/", created_at_s=at_s, kept=True
        )
        write_whole(folder / "run.json", spec)
        status = RunStatus(
            run=run,
            state="finished",
            host_pid=1,
            updated_at_s=at_s,
            n_trials=TRIALS_A_DAY,
            complete=TRIALS_A_DAY,
            finished_at_s=tuple(at_s + n for n in range(256)),
            durations_s=(LASTS_S,) * 256,
            best=Best(number=7, value=0.1, params={"rate": 0.003, "width": 64}),
        )
        write_whole(folder / "status.json", status)
        (folder / "output.log").write_bytes(b"[I 07:00:37] Trial 7 finished\n" * 400)


class Began(NamedTuple):
    """Seconds until `scheduler start` had returned, and how many the supervisor computed."""

    took_s: float
    cpu_s: float


def start(left: Path | None, folder: Path, environment: dict[str, str]) -> Began:
    """On a copy of *left*, or on an empty folder."""
    state = StateFolder(Path(environment["SCHEDULER_STATE_DIR"]))
    shutil.rmtree(state.path, ignore_errors=True)
    if left is not None:
        shutil.copytree(left, state.path)
        state.path.chmod(0o700)
    took_s = measure.run([*measure.SCHEDULER, "start"], environment, folder)
    supervisor = supervisor_of(state)
    assert supervisor is not None
    cpu = psutil.Process(supervisor.pid).cpu_times()
    processes.send(supervisor, signal.SIGKILL)
    processes.wait_gone(supervisor, 10.0)
    for name in (HOSTS, CONTROL):
        (state.path / name).unlink()
    return Began(took_s, cpu.user + cpu.system)


def sizes(folder: Path) -> str:
    files = sorted(path for path in folder.iterdir() if path.is_file())
    return ", ".join(f"{path.name} {path.stat().st_size / (1 << 20):.1f} MiB" for path in files)


def main() -> None:
    days = int(sys.argv[1]) if len(sys.argv) > 1 else DAYS
    with measure.workplace() as (folder, environment):
        left = StateFolder(folder / "left")
        left.runs.mkdir(parents=True, mode=0o700)
        year, began_s = Year(left, days), time.monotonic()
        loop.run(year.core, year, year)
        leave_runs(left, days)
        made_s = time.monotonic() - began_s
        print(f"{days} days, {year.trials} trials, {year.events} events, made in {made_s:.0f} s")
        print(f"the journal was shortened {year.shortened} times; {sizes(left.path)}", flush=True)
        begun = [
            (start(None, folder, environment), start(left.path, folder, environment))
            for _ in range(TIMES)
        ]
    for what, which in (("on an empty folder", 0), ("after a year", 1)):
        took, cpu = zip(*(pair[which] for pair in begun), strict=True)
        computed = measure.spread(cpu)
        print(f"{what}: {measure.spread(took)}, of which the supervisor computed {computed}")
    middle_s = statistics.median(full.took_s for _, full in begun)
    measure.verdict("a start after a year, s", middle_s, f"under {WANTED_S:g}", middle_s < WANTED_S)


if __name__ == "__main__":
    main()
