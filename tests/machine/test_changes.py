"""The record of a run's changes: whole, private, and not lost to one bad line."""

from __future__ import annotations

from pathlib import Path

from scheduler.core.model import Change
from scheduler.machine import changes
from scheduler.machine.chronicle.rollbacks import Rollbacks
from scheduler.machine.state import StateFolder


def change(
    after: str, what: str = "budget", *, by: str = "scheduler", at_s: float = 10.0
) -> Change:
    return Change(
        at_s=at_s,
        what=what,
        run="r",
        trial=None,
        device=None,
        before="before",
        after=after,
        because="why",
        by=by,
    )


def test_what_is_added_is_read_with_its_number(tmp_path: Path) -> None:
    assert changes.read(tmp_path) == ([], 0)
    for after in ("a", "b"):
        changes.append(tmp_path, change(after))
    found, next_byte = changes.read(tmp_path)
    assert [(one.number, one.after) for one in found] == [(1, "a"), (2, "b")]
    path = tmp_path / changes.FILE
    assert next_byte == path.stat().st_size
    assert path.stat().st_mode & 0o777 == 0o600
    changes.append(tmp_path, change("c"))
    more, _ = changes.read(tmp_path, next_byte)
    assert [one.after for one in more] == ["c"]


def test_the_latest_are_plain_changes(tmp_path: Path) -> None:
    assert changes.latest(tmp_path, 2) == ()
    made = [change(after) for after in ("a", "b", "c")]
    for one in made:
        changes.append(tmp_path, one)
    assert changes.latest(tmp_path, 2) == tuple(made[1:])
    assert changes.latest(tmp_path / changes.FILE, 2) == (), "a record that cannot be read"


def test_a_line_that_was_cut_off_takes_no_other_along(tmp_path: Path) -> None:
    """And those after it keep the numbers that they are undone by."""
    changes.append(tmp_path, change("a"))
    path = tmp_path / changes.FILE
    path.write_bytes(path.read_bytes() + b'{"at_s":1.0,"wh')
    assert [one.after for one in changes.read(tmp_path)[0]] == ["a"]
    changes.append(tmp_path, change("c"))
    assert [(one.number, one.after) for one in changes.read(tmp_path)[0]] == [(1, "a"), (3, "c")]


class Chronicled:
    """A run's record, and what the supervisor tells of it."""

    def __init__(self, tmp_path: Path, since_s: float = 5.0) -> None:
        self.state = StateFolder(tmp_path)
        self.state.run("r").mkdir(parents=True)
        self.rollbacks = Rollbacks(self.state, since_s)

    def add(self, made: Change) -> None:
        changes.append(self.state.run("r"), made)

    def told(self, *runs: str) -> list[str]:
        return [draft.text for draft in self.rollbacks.look(runs)]


def test_what_a_run_records_by_itself_is_told_once(tmp_path: Path) -> None:
    run = Chronicled(tmp_path)
    assert run.told("r") == []
    run.add(change("stops"))
    run.add(change("2 at once", "concurrency"))  # the core has told it
    run.add(change("4 at once", "concurrency", by="you"))
    assert run.told("r") == [
        "budget of r: before -> stops: why",
        "concurrency of r: before -> 4 at once: why",
    ]
    assert run.told("r") == []


def test_the_last_words_of_a_run_that_has_just_left_are_told(tmp_path: Path) -> None:
    run = Chronicled(tmp_path)
    run.told("r")
    run.add(change("stops"))
    assert len(run.told()) == 1
    assert run.told() == []


def test_what_a_former_supervisor_has_told_is_not_told_again(tmp_path: Path) -> None:
    run = Chronicled(tmp_path, since_s=20.0)
    run.add(change("stops", at_s=19.0))
    assert run.told("r") == []
    run.add(change("goes on", at_s=21.0))
    assert len(run.told("r")) == 1
