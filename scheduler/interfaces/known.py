"""Which run is meant: its folder, and what it holds once the run has begun."""

from __future__ import annotations

import contextlib
from pathlib import Path

import msgspec

from scheduler.interfaces.errors import BadInput
from scheduler.machine import hosts
from scheduler.machine.runs import RunSpec, RunStatus, read_whole
from scheduler.machine.state import StateFolder


def known_run(state: StateFolder, run: str) -> Path:
    """The folder of a run. Raises BadInput, with the latest runs, where there is none."""
    runs = state.run_ids()
    if run not in runs:
        latest = f"the latest are: {', '.join(runs[:10])}" if runs else "there are none yet"
        raise BadInput(f"there is no run {run!r} in {state.path}; {latest}")
    return state.run(run)


def begun_run(state: StateFolder, run: str) -> tuple[Path, RunSpec, RunStatus]:
    """The folder of a run, what was asked for and how it stands. Raises BadInput."""
    folder = known_run(state, run)
    status, spec = hosts.read_status(state, run), None
    with contextlib.suppress(msgspec.MsgspecError, ValueError, OSError):
        spec = read_whole(folder / "run.json", RunSpec)
    if spec is None or status is None:
        raise BadInput(f"run {run} has not begun, or its folder {folder} cannot be read")
    return folder, spec, status
