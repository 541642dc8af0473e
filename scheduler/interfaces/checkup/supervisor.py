"""The supervisor: if one runs, does it answer, and is it well?"""

from __future__ import annotations

import fcntl
import time
from pathlib import Path

import msgspec

from probes.number import read_text_or_none
from scheduler.interfaces.checkup.findings import Check, Where, ok, problem
from scheduler.interfaces.client import NoAnswer, ask
from scheduler.machine.api.answers import Status
from scheduler.machine.sizes import format_duration

NAME = "supervisor"


class Facts(msgspec.Struct, frozen=True, kw_only=True):
    """All None or False: none runs."""

    pid: int | None = None
    up_s: float | None = None
    runs: int = 0
    problem: str | None = None  #: what keeps it from admitting anything
    no_answer: str | None = None
    is_locked: bool = False  #: one runs, by the lock


def check(where: Where) -> tuple[Check, ...]:
    return judge(read(where))


def read(where: Where) -> Facts:
    if not where.state.path.is_dir():
        return Facts()
    pid = (read_text_or_none(str(where.state.lock)) or "").strip()
    held = Facts(pid=int(pid) if pid.isdigit() else None, is_locked=_is_locked(where.state.lock))
    try:
        status = ask(where.state, "/v1/status", Status)
    except NoAnswer as error:
        return msgspec.structs.replace(held, no_answer=str(error))
    if status is None:
        return held
    return Facts(
        pid=status.supervisor.pid,
        up_s=time.time() - status.supervisor.since_s,
        runs=sum(run.connected for run in status.view.runs),
        problem=status.supervisor.problem,
        is_locked=True,
    )


def _is_locked(path: Path) -> bool:
    try:
        with open(path, "rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False


def judge(facts: Facts) -> tuple[Check, ...]:
    who = f"pid {facts.pid}" if facts.pid is not None else "of unknown pid"
    end = f"End it; runs go on, and start another: kill {facts.pid}" if facts.pid else None
    if facts.no_answer is not None:
        return (problem(NAME, f"{who}: {facts.no_answer}", end),)
    if facts.up_s is None and facts.is_locked:
        return (problem(NAME, f"{who} holds the lock, but nobody listens on its socket", end),)
    if facts.up_s is None:
        return (ok(NAME, "none is running; the next run starts one"),)
    if facts.problem is not None:
        return (problem(NAME, f"{who}: nothing new starts: {facts.problem}"),)
    runs = f"{facts.runs} run{'' if facts.runs == 1 else 's'} connected"
    return (ok(NAME, f"{who} answers, up {format_duration(facts.up_s)}, {runs}"),)
