"""What each request of the control API does: reads what was published, or gives an order.

One method for each ``name`` in ``openapi.ROUTES``, called on threads of the control socket's. None
of them can have anything run that this user has not submitted by the command line.
"""

from __future__ import annotations

import os
import re
import stat
from typing import Any, TypeVar

import msgspec

from scheduler.core.view import View
from scheduler.machine import orders as said
from scheduler.machine.api.answers import (
    Answers,
    Devices,
    Done,
    Events,
    EventsAsked,
    NewRun,
    Nothing,
    Pause,
    Priority,
    Runs,
    Settings,
    Status,
    StopSupervisor,
)
from scheduler.machine.api.listing import RunAnswer, read_run, read_runs
from scheduler.machine.api.openapi import document
from scheduler.machine.chronicle.chronicle import Chronicle
from scheduler.machine.orders import Order, Orders, Refused
from scheduler.machine.runs import RunSpec
from scheduler.machine.state import StateFolder

T = TypeVar("T")
_RUN = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,254}")


class Calls:
    """*answers*: what is published, by path. Each raises Refused where it cannot be."""

    def __init__(
        self,
        answers: Answers,
        state: StateFolder | None = None,
        orders: Orders | None = None,
        chronicle: Chronicle | None = None,
    ) -> None:
        self._answers = answers
        self._state = state
        self._orders = orders
        self.chronicle = chronicle
        self._document = document()

    # -- reading -----------------------------------------------------------------------------------

    def status(self) -> Status:
        return self._published("/v1/status", Status)

    def devices(self) -> Devices:
        return self._published("/v1/devices", Devices)

    def config(self) -> Settings:
        return self._published("/v1/config", Settings)

    def document(self) -> dict[str, Any]:
        return self._document

    def runs(self) -> Runs:
        return Runs(runs=read_runs(self._folder(), self._view()))

    def run(self, run: str) -> RunAnswer:
        if not is_run(run) or not self._folder().run(run).is_dir():
            raise Refused(404, f"there is no run {run!r}")
        return read_run(self._folder(), run, self._view())

    def events(self, asked: EventsAsked) -> Events:
        """What there is now; ``control`` waits for it where that is asked for."""
        if self.chronicle is None:
            raise Refused(503, "this supervisor does not write down what happens")
        after = min(asked.after, self.chronicle.last)  # another file's number: go on from here
        entries = self.chronicle.since(after, asked.limit)
        following = entries[-1].number if entries else after
        return Events(entries=entries, next=following, lost=self.chronicle.lost)

    def _published(self, path: str, kind: type[T]) -> T:
        if path not in self._answers:
            raise Refused(503, f"this supervisor has nothing to say to {path}")
        answer: T = self._answers[path]()
        return answer

    def _view(self) -> View | None:
        return self.status().view if "/v1/status" in self._answers else None

    def _folder(self) -> StateFolder:
        if self._state is None:
            raise Refused(503, "this supervisor does not know its state folder")
        return self._state

    # -- orders ------------------------------------------------------------------------------------

    def take_run(self, body: NewRun) -> Done:
        check_submitted(self._folder(), body.run)
        return self._give(said.TakeRun(run=body.run))

    def pause_run(self, body: Pause, run: str) -> Done:
        return self._give(said.PauseRun(run=self._known(run), stop=body.stop))

    def resume_run(self, body: Nothing, run: str) -> Done:
        """Also takes one that was interrupted into the queue again."""
        check_submitted(self._folder(), self._known(run))
        return self._give(said.ResumeRun(run=run))

    def cancel_run(self, body: Nothing, run: str) -> Done:
        return self._give(said.CancelRun(run=self._known(run)))

    def interrupt_run(self, body: Nothing, run: str) -> Done:
        return self._give(said.InterruptRun(run=self._known(run)))

    def prioritise(self, body: Priority, run: str) -> Done:
        return self._give(said.Prioritise(run=self._known(run), priority=body.priority))

    def pause_device(self, body: Pause, device: str) -> Done:
        return self._give(said.PauseDevice(device=device, stop=body.stop))

    def resume_device(self, body: Nothing, device: str) -> Done:
        return self._give(said.ResumeDevice(device=device))

    def stay(self, body: Nothing) -> Done:
        return self._give(said.Stay())

    def drain(self, body: Nothing) -> Done:
        return self._give(said.Leave(how="drain"))

    def stop(self, body: StopSupervisor) -> Done:
        return self._give(said.Leave(how="now" if body.now else "plain"))

    def _known(self, run: str) -> str:
        """A name that could not be a run's reaches no path."""
        if not is_run(run):
            raise Refused(404, f"there is no run {run!r}")
        return run

    def _give(self, order: Order) -> Done:
        if self._orders is None:
            raise Refused(503, "this supervisor takes no orders")
        self._orders.give(order)
        return Done()


def is_run(name: str) -> bool:
    """Whether *name* has the form of a run's id, and so of one plain folder's name."""
    return _RUN.fullmatch(name) is not None


def check_submitted(state: StateFolder, run: str) -> None:
    """Raises Refused unless *run* is a folder that this user's command line has made.

    What it holds says which program is to run. The state folder is this user's alone; so must be
    the run's, and no link may lead out of it.
    """
    if not is_run(run):
        raise Refused(400, f"run: {run!r} is not a run's id")
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        folder = os.open(state.run(run), flags)
    except FileNotFoundError:
        raise Refused(404, f"there is no run {run!r} in {state.path}") from None
    except OSError as error:
        raise Refused(400, f"run {run} is not a folder of ours: {error.strerror}") from None
    try:
        if not _is_ours(os.fstat(folder), others=0o022):
            raise Refused(400, f"the folder of run {run} is another user's, or others can write it")
        for name in ("run.json", "environment.json"):
            _check_file(folder, run, name, is_needed=name == "run.json")
        _check_names_itself(folder, run)
    finally:
        os.close(folder)


def _check_file(folder: int, run: str, name: str, *, is_needed: bool) -> None:
    try:
        found = os.stat(name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        if is_needed:
            raise Refused(400, f"run {run} has no {name}") from None
        return
    if not stat.S_ISREG(found.st_mode) or not _is_ours(found, others=0o077):
        raise Refused(400, f"{name} of run {run} must be a file of yours that is 0600")


def _is_ours(found: os.stat_result, *, others: int) -> bool:
    """*others*: what nobody else may be allowed."""
    return found.st_uid == os.getuid() and not found.st_mode & others


def _check_names_itself(folder: int, run: str) -> None:
    file = os.open("run.json", os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder)
    with open(file, "rb") as text:
        try:
            spec = msgspec.json.decode(text.read(), type=RunSpec)
        except (msgspec.MsgspecError, ValueError) as error:
            raise Refused(400, f"run.json of run {run} cannot be read: {error}") from None
    if spec.run.id != run:
        raise Refused(400, f"run.json of run {run} is that of run {spec.run.id!r}")
