"""What a host finds of the run's earlier lives when it begins."""

from __future__ import annotations

from pathlib import Path

from scheduler.core.model import Change, Run
from scheduler.machine import changes
from scheduler.machine.runs import RunSpec, RunStatus, write_whole
from scheduler.study import life


def test_a_change_that_no_status_has_shown_is_not_lost(tmp_path: Path) -> None:
    """The host was killed between the record and the status, which is written twice a second."""
    spec = RunSpec(run=Run(id="r"), kind="script", target="t.py", folder="/", created_at_s=0.0)
    status = RunStatus(run="r", state="running", host_pid=1, updated_at_s=0.0)
    write_whole(tmp_path / "status.json", status)
    change = Change(
        at_s=1.0,
        what="ranges",
        run="r",
        trial=None,
        device=None,
        before="off",
        after="on",
        because="as given",
    )
    changes.append(tmp_path, change)
    assert life._board(tmp_path, spec).status.changes == (change,)
