"""New best values, as the runs' files say them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from scheduler.machine.chronicle.bests import Bests, sentence
from scheduler.machine.runs import Best, RunStatus, write_whole
from scheduler.machine.state import StateFolder


@pytest.fixture
def folder(tmp_path: Path) -> StateFolder:
    for run in ("a-1", "b-1"):
        (tmp_path / "runs" / run).mkdir(parents=True)
    return StateFolder(tmp_path)


def write(folder: StateFolder, run: str, best: Best | None) -> None:
    status = RunStatus(run=run, state="running", host_pid=1, updated_at_s=0.0, best=best)
    write_whole(folder.run(run) / "status.json", status)


def best(number: int, **params: Any) -> Best:
    return Best(number=number, value=number / 10, params=params)


def told(bests: Bests, *runs: str) -> list[str]:
    return sorted(draft.text for draft in bests.look(runs))


def test_a_new_best_is_told_once(folder: StateFolder) -> None:
    bests = Bests(folder)
    write(folder, "a-1", None)
    assert told(bests, "a-1") == []
    write(folder, "a-1", best(3, rate=0.12345, layers=2))
    (draft,) = bests.look(["a-1"])
    assert (draft.kind, draft.what, draft.run) == ("run", "best", "a-1")
    assert draft.text == "a-1 has a new best, 0.3 in trial 3: rate 0.1235, layers 2"
    assert told(bests, "a-1") == []
    write(folder, "a-1", best(3, rate=0.12345, layers=2))
    assert told(bests, "a-1") == [], "the file was written again and says the same"
    write(folder, "a-1", best(5))
    assert told(bests, "a-1") == ["a-1 has a new best, 0.5 in trial 5"]


def test_what_was_best_before_we_looked_is_not_told(folder: StateFolder) -> None:
    write(folder, "a-1", best(3))
    bests = Bests(folder)
    assert told(bests, "a-1") == []
    write(folder, "b-1", best(4))
    assert told(bests, "a-1", "b-1") == []


def test_the_last_word_of_a_run_that_ended_counts(folder: StateFolder) -> None:
    bests = Bests(folder)
    write(folder, "a-1", None)
    bests.look(["a-1"])
    write(folder, "a-1", best(3))
    assert told(bests) == ["a-1 has a new best, 0.3 in trial 3"]
    write(folder, "a-1", best(4))
    assert told(bests) == [], "it is known no more"


def test_a_file_that_is_not_there_or_torn_says_nothing(folder: StateFolder) -> None:
    bests = Bests(folder)
    assert told(bests, "a-1", "none-1") == []
    (folder.run("a-1") / "status.json").write_text("{")
    assert told(bests, "a-1") == []


def test_of_many_parameters_some_are_shown() -> None:
    params = {f"p{n}": n for n in range(9)}
    shown = sentence("a-1", best(1, **params))
    assert shown == "a-1 has a new best, 0.1 in trial 1: p0 0, p1 1, p2 2, p3 3, p4 4, ..."
