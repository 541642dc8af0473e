"""The user's side of the supervisor: orders, pauses, rules in force, kept runs, and leaving.

Belongs to the loop's thread. What the core has to know of it becomes an event.
"""

from __future__ import annotations

import contextlib
import logging
import re
import time
from collections.abc import Callable, Mapping

from scheduler.core.events import Event, Prioritised, Ruled, Served
from scheduler.core.model import Process, Rule
from scheduler.core.view import DeviceView, View
from scheduler.machine import hosts, processes
from scheduler.machine.keeper import RUNS_AT_ONCE, Keeper, Tell
from scheduler.machine.leaving import GRACE_S, Leaving
from scheduler.machine.orders import (
    CancelRun,
    InterruptRun,
    Leave,
    Order,
    PauseDevice,
    PauseRun,
    Prioritise,
    Refused,
    ResumeDevice,
    ResumeRun,
    Stay,
    TakeRun,
)
from scheduler.machine.pauses import Pauses
from scheduler.machine.runs import FINAL
from scheduler.machine.state import StateFolder

_log = logging.getLogger(__name__)
_RUN = re.compile(r"\w[\w.-]*", re.ASCII)  #: what ``state.new_run`` makes; it names a folder

Rules = Callable[[], tuple[Rule, ...]]
Joined = Mapping[str, Process | None]


class Steward:
    """*rules* are those that nobody ordered: windows, programs. Asked once a poll.

    *wake*: ``look`` is wanted. *grace_s*: what a host has to end, with all that it runs.
    """

    def __init__(
        self,
        state: StateFolder,
        wake: Callable[[], None],
        *,
        rules: Rules = tuple,
        runs_at_once: Callable[[], int] = lambda: RUNS_AT_ONCE,
        grace_s: float = GRACE_S,
        tell: Tell | None = None,
    ) -> None:
        self._state = state
        self._rules = rules
        self._others: tuple[Rule, ...] = ()
        self._said: tuple[Rule, ...] | None = None
        self._pauses = Pauses(state.path / "pauses.json")
        self._tidy()
        self._keeper = Keeper(
            state,
            wake,
            at_most=runs_at_once,
            is_paused=self._pauses.has_run,
            tell=tell,
            grace_s=grace_s,
        )
        self._leaving = Leaving(self._keeper.tell, grace_s=grace_s)
        self.is_lasting = False

    def _tidy(self) -> None:
        """A run that is over is paused no longer."""
        for run in self._pauses.runs():
            status = hosts.read_status(self._state, run)
            if status is not None and status.state in FINAL:
                with contextlib.suppress(OSError):
                    self._pauses.resume_run(run)

    @property
    def is_leaving(self) -> bool:
        return self._leaving.how is not None

    def stay(self) -> None:
        """Raises OSError where that cannot be written down for the next supervisor."""
        if not self.is_lasting:
            self._state.lasting.touch(mode=0o600)
            self.is_lasting = True
            self._keeper.begin()

    def ruled(self) -> tuple[Ruled, ...]:
        """The rules in force, where they are others than the core was last told."""
        try:
            self._others = self._rules()
        except Exception:  # a bug there must not end what runs; the former rules hold
            _log.exception("the rules in force cannot be found out")
        now = (*self._leaving.rules(), *self._pauses.rules(), *self._others)
        if now == self._said:
            return ()
        self._said = now
        return (Ruled(at_s=time.time(), rules=now),)

    def priority(self, run: str) -> int | None:
        """As its user has last set it; None: unknown."""
        return self._keeper.priority(run) if _RUN.fullmatch(run) else None

    def look(self, joined: Joined, *, may_start: bool) -> bool:
        """What is due once a poll and after each order; whether it is time to leave."""
        if self.is_lasting:
            self._keeper.look(may_start=may_start and not self.is_leaving)
        if not self.is_leaving:
            return False
        living = self._living(joined)
        for host in living:
            self._keeper.watch(host)
        return self._leaving.look(living)

    def _living(self, joined: Joined) -> set[Process]:
        others = {one for one in joined.values() if one is not None and processes.is_alive(one)}
        return others | set(self._keeper.living())

    # -- orders ----------------------------------------------------------------------------------

    def carry_out(self, order: Order, view: View, joined: Joined) -> tuple[Event, ...]:
        """What the core must know of it. Raises Refused."""
        try:
            return (*self._carry_out(order, view, joined), *self.ruled())
        except OSError as error:
            problem = f"{self._state.path} cannot be written: {error.strerror}"
            raise Refused(503, problem) from error

    def _carry_out(self, order: Order, view: View, joined: Joined) -> tuple[Event, ...]:
        match order:
            case TakeRun(run=run):
                self._take(run)
            case PauseRun(run=run, stop=stop):
                self._check_going(run, view)
                self._pauses.pause_run(run, stop)
            case ResumeRun(run=run):
                self._resume(run)
            case CancelRun(run=run):
                self._keeper.end(self._known(run), "cancel")
                self._pauses.resume_run(run)
            case InterruptRun(run=run):
                self._keeper.end(self._known(run), "interrupt")
            case Prioritise(run=run, priority=priority):
                self._keeper.prioritise(self._known(run), priority)
                return (Prioritised(at_s=time.time(), run=run, priority=priority),)
            case PauseDevice(device=device, stop=stop):
                _device(device, view)
                self._pauses.pause_device(device, stop)
            case ResumeDevice(device=device):
                return self._serve(_device(device, view))
            case Stay():
                self._check_staying()
                self.stay()
            case Leave(how=how):
                self._leave(how, view, joined)
        return ()

    def _known(self, run: str) -> str:
        if not _RUN.fullmatch(run) or not self._state.run(run).is_dir():
            raise Refused(404, f"there is no run {run!r} in {self._state.path}")
        return run

    def _check_staying(self) -> None:
        if self.is_leaving:
            raise Refused(503, "the supervisor is being stopped; start it again when it has left")

    def _take(self, run: str) -> None:
        self._check_staying()
        self.stay()
        self._keeper.take(self._known(run))

    def _check_going(self, run: str, view: View) -> None:
        if self._keeper.is_kept(self._known(run)):
            return
        if not any(one.run.id == run and one.connected for one in view.runs):
            raise Refused(409, f"run {run} does not run, there is nothing to pause")

    def _resume(self, run: str) -> None:
        if self._pauses.has_run(self._known(run)):
            self._pauses.resume_run(run)
        elif self._keeper.is_kept(run):
            raise Refused(409, f"run {run} is not paused")
        else:
            self._take(run)

    def _serve(self, device: DeviceView) -> tuple[Event, ...]:
        key = device.budget.device.key
        if device.out_because is not None:
            self._pauses.resume_device(key)
            return (Served(at_s=time.time(), device=key),)
        if not self._pauses.has_device(key):
            raise Refused(409, f"device {key} is not paused, and in service")
        self._pauses.resume_device(key)
        return ()

    def _leave(self, how: str, view: View, joined: Joined) -> None:
        if how == "drain":
            self._leaving.begin("drain")
            return
        if how == "plain" and (seen := _what_runs(view, len(self._living(joined)))):
            ways = "--drain lets what runs finish, --now stops it and puts it back"
            raise Refused(409, f"{seen}: {ways}")
        self._leaving.begin("now")


def _device(key: str, view: View) -> DeviceView:
    for one in view.devices:
        if one.budget.device.key == key:
            return one
    known = ", ".join(one.budget.device.key for one in view.devices)
    raise Refused(404, f"there is no device {key!r} here; there are: {known or 'none'}")


def _what_runs(view: View, living: int) -> str | None:
    """ "2 trials are running"; None: nothing does."""
    states = [one.state for device in view.devices for one in device.attempts]
    trials = sum(state != "releasing" for state in states)
    count, word = (trials, "trial") if trials else (living, "run")
    if not count:
        return None
    return f"1 {word} is running" if count == 1 else f"{count} {word}s are running"
