"""Whether a run's host still runs, by what it wrote into the run's folder."""

from __future__ import annotations

import msgspec

from scheduler.machine import processes
from scheduler.machine.runs import RunStatus, read_whole
from scheduler.machine.state import StateFolder


def read_status(state: StateFolder, run: str) -> RunStatus | None:
    """None where there is none, or where it cannot be read."""
    try:
        return read_whole(state.run(run) / "status.json", RunStatus)
    except (msgspec.MsgspecError, OSError):
        return None


def is_alive(status: RunStatus) -> bool:
    """Whether the process that wrote *status* runs. A later one with its pid does not count."""
    return processes.was_running(status.host_pid, status.updated_at_s)


def is_host_alive(state: StateFolder, run: str) -> bool | None:
    """None where nothing is known of a host: it never wrote a status."""
    status = read_status(state, run)
    return None if status is None else is_alive(status)
