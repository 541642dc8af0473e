"""How a run stands, written in its host's place while none lives; and what its user may change.

Also what a run that is cancelled leaves behind no longer.
"""

from __future__ import annotations

import logging
import shutil
import time
from pathlib import Path

import msgspec

from scheduler.machine.hosts import read_status
from scheduler.machine.runs import RunSpec, RunStatus, State, read_whole, write_whole
from scheduler.machine.state import StateFolder

_log = logging.getLogger(__name__)


def read_spec(state: StateFolder, run: str) -> RunSpec | None:
    """None where there is none, or where it cannot be read; that is logged."""
    try:
        return read_whole(state.run(run) / "run.json", RunSpec)
    except (msgspec.MsgspecError, OSError) as error:
        _log.error("run %s cannot be read: %s", run, error)
        return None


def write_priority(state: StateFolder, spec: RunSpec, priority: int) -> RunSpec:
    """Into run.json, where the next life of its host finds it too. Raises OSError."""
    run = msgspec.structs.replace(spec.run, priority=priority)
    changed = msgspec.structs.replace(spec, priority=priority, run=run)
    write_whole(state.run(spec.run.id) / "run.json", changed)
    return changed


def remove_checkpoints(folder: Path) -> None:
    """Of all trials of the run in *folder*: it is cancelled, and none of them comes back."""
    shutil.rmtree(folder / "checkpoints", ignore_errors=True)


def write_status(
    state: StateFolder,
    run: str,
    stands: State,
    *,
    hold: str | None = None,
    error: str | None = None,
) -> None:
    """What its last host has counted stays. Nothing is written where nothing is new.

    Raises OSError.
    """
    now = read_status(state, run)
    if now is None:
        now = RunStatus(run=run, state="starting", host_pid=0, updated_at_s=0.0)
    changed = msgspec.structs.replace(
        now,
        state=stands,
        host_pid=0,
        hold=hold,
        error=error,
        exit_code=None,
        running={},
        live={},
    )
    if changed != now:
        changed = msgspec.structs.replace(changed, updated_at_s=time.time())
        write_whole(state.run(run) / "status.json", changed)
