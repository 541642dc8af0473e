"""``scheduler report``: a page that needs nothing else, from a real study."""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import optuna
import pytest

from scheduler.core.model import Change, Run
from scheduler.interfaces import report as command
from scheduler.machine.chronicle.timeline import NAME, Moment, Part
from scheduler.machine.runs import RunSpec, RunStatus, write_whole
from scheduler.machine.state import StateFolder, new_run, open_state
from scheduler.study.keeping.storage import DurableStorage

Scheduler = Callable[..., Any]
CHANGE = Change(
    at_s=1000.0,
    what="pruning",
    run="r",
    trial=None,
    device=None,
    before="median",
    after="off",
    because="3 of 5 controls <were> good",
)


def begin(state: StateFolder, objectives: int = 1, trials: int = 12) -> str:
    """A run that is over, its study with a parameter whose name wants to be HTML."""
    run = new_run(open_state(), "train")
    spec = RunSpec(run=Run(id=run), kind="script", target="t.py", created_at_s=1000.0, folder="/")
    write_whole(state.run(run) / "run.json", spec)
    path = state.run(run) / "study-0.db"
    study = optuna.create_study(
        storage=DurableStorage(path), study_name="s", directions=["maximize"] * objectives
    )
    for number in range(trials):
        trial = study.ask()
        x = trial.suggest_float("<script>x", 0, 1)
        trial.suggest_categorical("kind", ["a", "b"])
        if objectives == 1:
            trial.report(x / 2, 0)
            trial.report(x, 1)
        study.tell(trial, [x] * objectives if number else [0.5] * objectives)
    status = RunStatus(
        run=run,
        state="finished",
        host_pid=os.getpid(),
        updated_at_s=time.time(),
        study_name="s",
        storage=f"sqlite:///{path}",
        complete=trials,
        changes=(CHANGE,),
    )
    write_whole(state.run(run) / "status.json", status)
    moment = Moment(time.time() - 5, "card", 16, 8, 2, 1, (Part(f"{run}/0.1", 6, 5),))
    (state.path / NAME).write_bytes(msgspec.json.encode(moment) + b"\n")
    return run


def test_a_page_holds_all_and_needs_no_network(
    scheduler: Scheduler, state: StateFolder, tmp_path: Path
) -> None:
    run = begin(state)
    said = scheduler("report", run, "--output", str(tmp_path / "a.html"))
    assert said.code == 0, said.err
    page = (tmp_path / "a.html").read_text()
    titles = re.findall(r"<h2>(.*?)</h2>", page)
    assert titles == [
        "History",
        "Intermediate values",
        "Importance of the parameters",
        "Value by parameter",
        "Parameters together",
        "Memory of card",
        "Best trials",
        "What was changed by itself, and by you",
    ]
    assert page.count('class="plotly-graph-div"') == 6, "each of them is drawn"
    assert not re.search(r"<(script|link|img)[^>]*(src|href)=", page), "nothing is loaded"
    assert "<th>&lt;script&gt;x</th>" in page
    assert "controls &lt;were&gt; good" in page
    assert not list(tmp_path.glob(".*")), "no half of one is left"


def test_as_json_it_is_the_same_without_pictures(scheduler: Scheduler, state: StateFolder) -> None:
    run = begin(state)
    said = scheduler("report", run, "--json")
    told = json.loads(said.out)
    assert told["run"]["id"] == run
    values = [one["value"] for one in told["best"]]
    assert values == sorted(values, reverse=True)
    assert set(told["importances"]) == {"<script>x", "kind"}
    assert [one["after"] for one in told["changes"]] == ["off"]
    assert told["memory"][0]["attempts"][0]["held_bytes"] == 5


@pytest.mark.parametrize(("objectives", "trials"), [(2, 5), (1, 0)])
def test_what_cannot_be_drawn_costs_the_rest_nothing(
    scheduler: Scheduler, state: StateFolder, tmp_path: Path, objectives: int, trials: int
) -> None:
    run = begin(state, objectives, trials)
    path = tmp_path / "a.html"
    said = scheduler("report", run, "--output", str(path))
    assert said.code == 0, said.err
    assert "Memory of card" in path.read_text()


def test_what_is_wrong_is_told(
    scheduler: Scheduler, state: StateFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = begin(state)
    assert scheduler("report", "none").code == 2
    said = scheduler("report", run, "--output", str(tmp_path / "no" / "a.html"))
    assert (said.code, "cannot be written" in said.err) == (2, True)
    (state.run(run) / "study-0.db").unlink()
    said = scheduler("report", run, "--output", str(tmp_path / "a.html"))
    assert (said.code, "not there any more" in said.err) == (1, True)
    assert not (tmp_path / "a.html").exists()


def test_a_missing_plotly_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "plotly", None)
    with pytest.raises(command.Failed, match=r"pip install .*\[report\]"):
        command._page(None, None)  # type: ignore[arg-type]
