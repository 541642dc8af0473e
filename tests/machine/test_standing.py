"""What a run leaves behind, by how its user wanted it to end."""

from __future__ import annotations

import pytest

from scheduler.core.model import Run
from scheduler.machine.keeper import Keeper
from scheduler.machine.runs import RunSpec, Wish, write_whole
from scheduler.machine.state import StateFolder, open_state


@pytest.mark.parametrize(("wish", "kept"), [("cancel", False), ("interrupt", True)])
def test_checkpoints_of_a_run_without_a_host_go_when_it_is_cancelled(
    state: StateFolder, wish: Wish, kept: bool
) -> None:
    """Its host was killed, say, or told to end and killed after its grace."""
    folder = open_state().run("a-1")
    saved = folder / "checkpoints" / "0-3" / "last.pt"
    saved.parent.mkdir(parents=True)
    saved.touch()
    run = RunSpec(
        run=Run(id="a-1"), kind="script", target="a.py", folder="/", created_at_s=0.0, kept=True
    )
    write_whole(folder / "run.json", run)
    keeper = Keeper(open_state(), lambda: None)
    keeper.take("a-1")
    assert saved.exists()
    keeper.end("a-1", wish)
    assert (folder / "checkpoints").exists() is saved.exists() is kept
    assert not keeper.is_kept("a-1")
