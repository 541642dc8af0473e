"""The runs that the supervisor is responsible for: a queue, a host for each whose turn it is.

A host that dies without a word is started again, and goes on from what its run's folder and study
say. All that is known is in the runs' folders, so that a new supervisor finds the queue as the
last one left it, and hosts that it did not start itself.

Called by the loop, once a poll and after orders. What hosts do is none of its business.
"""

from __future__ import annotations

import logging
import math
import signal
import subprocess
import threading
import time
from collections.abc import Callable

from scheduler.core.model import Process
from scheduler.machine import hosts, processes, room
from scheduler.machine.deaths import Deaths
from scheduler.machine.leaving import GRACE_S
from scheduler.machine.orders import Refused
from scheduler.machine.runs import ASKED, FINAL, RunSpec, RunStatus, State, Wish, read_wish
from scheduler.machine.standing import read_spec, remove_checkpoints, write_priority, write_status
from scheduler.machine.state import StateFolder

_log = logging.getLogger(__name__)

Tell = Callable[[str, str, str], None]  #: what has happened in a word, in a sentence; to which run

RUNS_AT_ONCE = 4


class _Kept:
    """One run that is not over."""

    def __init__(self, spec: RunSpec) -> None:
        self.spec = spec
        self.child: subprocess.Popen[bytes] | None = None  #: until it is collected
        self.host: Process | None = None
        self.how: str = "it is gone"  #: how the last host ended
        self.deaths = Deaths()  #: of hosts, in our time and without being asked to
        self.is_told = False  #: its host was told to end
        self.told_s = math.inf  #: when it was told to end at once

    @property
    def id(self) -> str:
        return self.spec.run.id

    @property
    def order(self) -> tuple[int, float, str]:
        return (-self.spec.priority, self.spec.created_at_s, self.id)


class Keeper:
    """*wake* is called on other threads when a host has ended: look again then.

    *grace_s*: for a host that was told to end at once, with all that it runs.
    """

    def __init__(
        self,
        state: StateFolder,
        wake: Callable[[], None],
        *,
        at_most: Callable[[], int] = lambda: RUNS_AT_ONCE,
        is_paused: Callable[[str], bool] = lambda run: False,
        tell: Tell | None = None,
        grace_s: float = GRACE_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._state = state
        self._wake = wake
        self._at_most = at_most
        self._is_paused = is_paused
        self._report = tell or (lambda what, text, run: None)
        self._grace_s = grace_s
        self._clock = clock
        self._runs: dict[str, _Kept] = {}
        self._watched: set[Process] = set()
        self._began = False

    def begin(self) -> None:
        """Takes up all that an earlier supervisor kept and that is not over. Once."""
        if self._began:
            return
        self._began = True
        for run in self._state.run_ids():
            spec = read_spec(self._state, run)
            status = hosts.read_status(self._state, run)
            if spec is not None and spec.kept and (status is None or status.state not in FINAL):
                self._runs[run] = _Kept(spec)
        if self._runs:
            _log.info("takes up the runs %s", ", ".join(sorted(self._runs)))

    def take(self, run: str) -> None:
        """Puts a run into the queue. Raises Refused."""
        spec = read_spec(self._state, run)
        if spec is None:
            raise Refused(404, f"there is no run {run!r} in {self._state.path}")
        if not spec.kept:
            how_on = f"go on with: scheduler run --resume {run}"
            raise Refused(409, f"run {run} was not submitted, but begun in a terminal; {how_on}")
        status = hosts.read_status(self._state, run)
        if status is not None and status.state == "finished":
            raise Refused(409, f"run {run} is finished, nothing is left to do")
        if run in self._runs:
            return
        (self._state.run(run) / ASKED).unlink(missing_ok=True)
        kept = _Kept(spec)
        write_status(self._state, run, "queued")
        self._runs[run] = kept
        self._report("queued", f"run {run} waits for its turn", run)

    def is_kept(self, run: str) -> bool:
        return run in self._runs

    def look(self, *, may_start: bool) -> None:
        """Sees what has become of the hosts, and starts those whose turn it is."""
        for one in list(self._runs.values()):
            self._attend(one)
        if may_start:
            self._start_who_is_next()

    def living(self) -> tuple[Process, ...]:
        """The hosts of kept runs, as last seen."""
        return tuple(one.host for one in self._runs.values() if one.host is not None)

    # -- orders ----------------------------------------------------------------------------------

    def end(self, run: str, wish: Wish) -> None:
        """Cancels or interrupts a run, kept or not. Raises Refused."""
        spec, one = read_spec(self._state, run), self._runs.get(run)
        if spec is None:
            raise Refused(404, f"there is no run {run!r} in {self._state.path}")
        host = one.host if one else hosts.host_of(self._state.run(run))
        if one is None and host is None:
            status = hosts.read_status(self._state, run)
            stands = status.state if status else "not begun"
            raise Refused(409, f"run {run} does not run: it is {stands}")
        (self._state.run(run) / ASKED).write_text(wish, encoding="ascii")
        number = signal.SIGTERM if wish == "cancel" else signal.SIGINT
        if one is not None:
            self._tell(one, number)
            self._attend(one)
        elif host is not None:
            processes.send(host, number)

    def tell(self, host: Process, number: int) -> None:
        """Ends a host for the supervisor's sake: its run goes on with the next one."""
        for one in self._runs.values():
            if one.host == host:
                self._tell(one, number)
                return
        processes.send(host, number)

    def _tell(self, one: _Kept, number: int) -> None:
        one.is_told = True
        if number == signal.SIGTERM:
            one.told_s = min(one.told_s, self._clock())
        if one.host is not None:
            processes.send(one.host, number)

    def prioritise(self, run: str, priority: int) -> None:
        """Raises Refused, and OSError where it cannot be written down."""
        spec = read_spec(self._state, run)
        if spec is None:
            raise Refused(404, f"there is no run {run!r} in {self._state.path}")
        changed = write_priority(self._state, spec, priority)
        if run in self._runs:
            self._runs[run].spec = changed

    def priority(self, run: str) -> int | None:
        """As last set; None where nothing is known of the run."""
        spec = read_spec(self._state, run)
        return None if spec is None else spec.priority

    # -- hosts -----------------------------------------------------------------------------------

    def watch(self, process: Process) -> None:
        """Has ``wake`` called when *process* ends, be it our child or not."""
        if process in self._watched:
            return
        self._watched.add(process)

        def wait() -> None:
            processes.wait_gone(process, 1e6)
            self._watched.discard(process)
            self._wake()

        threading.Thread(target=wait, name=f"host {process.pid}", daemon=True).start()

    def _attend(self, one: _Kept) -> None:
        """What has become of its host; whether it is over."""
        self._collect(one)
        had, one.host = one.host, self._host_of(one)
        if one.host is not None:
            self.watch(one.host)
            if self._clock() - one.told_s > self._grace_s:
                processes.send(one.host, signal.SIGKILL)
            return
        status, wish = hosts.read_status(self._state, one.id), read_wish(self._state.run(one.id))
        if status is not None and status.state in FINAL:
            self._forget(one, status.state, status.error)
        elif wish is not None:
            self._conclude(one, "cancelled" if wish == "cancel" else "interrupted", None)
        elif had is not None or (status is not None and status.state != "queued"):
            died = had is not None and not one.is_told
            if not died or self._may_go_on(one, status):
                self._write(one, "queued", hold="it goes on where its last host has left it")

    def _collect(self, one: _Kept) -> None:
        if one.child is not None and (code := one.child.poll()) is not None:
            one.child = None
            one.how = f"exit code {code}" if code >= 0 else signal.Signals(-code).name

    def _host_of(self, one: _Kept) -> Process | None:
        """The one that holds the run's lock, else our child, which is about to."""
        holder = hosts.host_of(self._state.run(one.id))
        if holder is not None or one.child is None:
            return holder
        return processes.identify(one.child.pid)

    def _may_go_on(self, one: _Kept, status: RunStatus | None) -> bool:
        """After a host's death. *status* is what it has left."""
        one.deaths.add(self._clock(), status.finished_at_s if status is not None else ())
        if (times := one.deaths.too_many) is None:
            text = f"the host of run {one.id} has ended ({one.how}); the run goes on"
            _log.warning("%s", text)
            self._report("put back", text, one.id)
            return True
        log = self._state.run(one.id) / hosts.OUTPUT
        because = (
            f"its host ended {times} without being asked to ({one.how}), and finished no trial"
        )
        self._conclude(one, "failed", f"{because} meanwhile; see {log}")
        return False

    def _start_who_is_next(self) -> None:
        taken = sum(one.host is not None for one in self._runs.values())
        for one in sorted(self._runs.values(), key=lambda one: one.order):
            if one.host is not None:
                continue
            hold = self._obstacle(one)
            if one.id not in self._runs:  # it waited for one that failed
                continue
            if hold is None and taken >= self._at_most():
                hold = f"it waits for its turn: at most {self._at_most()} runs at once"
            if hold is None and (why := room.obstacle(self._state.run(one.id))) is not None:
                hold = f"{self._state.run(one.id)} takes nothing: {why}"
            if hold is None:
                self._start(one)
                taken += one.host is not None
            else:
                self._write(one, "queued", hold=hold)

    def _obstacle(self, one: _Kept) -> str | None:
        """Why it cannot start whoever else runs."""
        for other in one.spec.after:
            status = hosts.read_status(self._state, other)
            state = status.state if status else None
            if state in ("failed", "cancelled") or not self._state.run(other).is_dir():
                end = f"is {state}" if state else "is not there any more"
                self._conclude(one, "cancelled", f"it was to run after {other}, which {end}")
                return None
            if state != "finished":
                return f"it runs after {other}"
        return "paused by you" if self._is_paused(one.id) else None

    def _start(self, one: _Kept) -> None:
        try:
            one.child = hosts.start(self._state, one.spec)
        except (OSError, ValueError) as error:
            self._conclude(one, "failed", f"its host cannot be started: {error}")
            return
        one.host = processes.identify(one.child.pid)
        one.is_told, one.told_s = False, math.inf
        if one.host is not None:
            self.watch(one.host)
        _log.info("run %s has a host: pid %d", one.id, one.child.pid)
        self._report("started", f"run {one.id} has a host, pid {one.child.pid}", one.id)

    # -- what is written -------------------------------------------------------------------------

    def _conclude(self, one: _Kept, state: State, because: str | None) -> None:
        self._write(one, state, error=because)
        self._forget(one, state, because)

    def _forget(self, one: _Kept, state: State, because: str | None) -> None:
        self._runs.pop(one.id, None)
        if state == "cancelled":
            remove_checkpoints(self._state.run(one.id))
        text = f"run {one.id} is {state}" + (f": {because}" if because else "")
        _log.info("%s", text)
        self._report(state, text, one.id)

    def _write(
        self, one: _Kept, state: State, *, hold: str | None = None, error: str | None = None
    ) -> None:
        """Where it cannot be written now, the next look tries again."""
        try:
            write_status(self._state, one.id, state, hold=hold, error=error)
        except OSError as fault:
            _log.error("the status of run %s cannot be written: %s", one.id, fault)
