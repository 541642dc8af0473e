"""``scheduler simulate``: the sample, a run of which little is known, and what is refused."""

from __future__ import annotations

import datetime
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import msgspec
import optuna
import pytest
from optuna.distributions import IntDistribution
from optuna.trial import TrialState, create_trial

from scheduler.core.model import Run
from scheduler.interfaces.simulate_input import sized
from scheduler.machine import peaks
from scheduler.machine.chronicle.timeline import NAME, Moment, Part
from scheduler.machine.peaks import Peak
from scheduler.machine.runs import RunSpec, RunStatus, write_whole
from scheduler.machine.state import StateFolder, new_run, open_state

Scheduler = Callable[..., Any]
SAMPLE = Path(__file__).parents[2] / "examples" / "workload.json"
GIB = 1 << 30
BEGAN_S = 1_700_000_000.0


def told(said: Any) -> Any:
    assert said.code == 0, said.err
    return json.loads(said.out)


def test_the_sample_and_what_it_would_be_otherwise(scheduler: Scheduler, tmp_path: Path) -> None:
    drawing = tmp_path / "memory.svg"
    few = ("--orders", "1", "--n-trials", "20")
    found = told(
        scheduler(
            "simulate", str(SAMPLE), *few, "--at-most", "1", "--json", "--picture", str(drawing)
        )
    )
    now, fewer, one, both = found["rows"]
    names = ["as it is", "--at-most 1", "--n-trials 20", "all of these"]
    assert [it["name"] for it in found["rows"]] == names
    assert fewer["at_once"] <= 1 < now["at_once"]
    assert fewer["makespan_s"] > now["makespan_s"] > one["makespan_s"]
    assert now["low_s"] == now["makespan_s"] == now["high_s"]
    assert both["makespan_s"] < fewer["makespan_s"]
    assert now["unfinished"] == 0
    assert (found["trials"], now["orders"]) == (60, 1)
    title = ElementTree.parse(drawing).getroot().find("{http://www.w3.org/2000/svg}title")
    assert title is not None
    assert title.text == "workload.json, all of these"


def test_people_get_a_table_and_hear_what_is_assumed(
    scheduler: Scheduler, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "160")
    short = ("--orders", "1", "--n-trials", "5", "--contention", "fitted")
    said = scheduler("simulate", str(SAMPLE), *short)
    lines = said.out.splitlines()
    assert lines[0] == "workload.json: 60 trials, simulated in one order"
    assert lines[1].split()[:2] == ["takes", "trials/h"]
    assert [line.split("  ")[1] for line in lines[2:4]] == ["as it is", "--n-trials 5"]
    assert any(line.startswith("  assumed: two at once do 2.24") for line in lines)


@pytest.fixture
def run(state: StateFolder) -> str:
    """Eight trials of 100 s and 2 GiB, two at once; the last was pruned after half of its time. The
    card has 8 GiB, of which others hold 1."""
    name = new_run(open_state(), "train")
    folder = state.run(name)
    study = optuna.create_study(storage=f"sqlite:///{folder}/study-1.db", study_name="s")
    space = {"batch": IntDistribution(1, 100)}
    for number in range(8):
        start = datetime.datetime.fromtimestamp(BEGAN_S + 100.0 * (number // 2))
        trial = create_trial(
            state=TrialState.PRUNED if number == 7 else TrialState.COMPLETE,
            value=1.0,
            params={"batch": 10 + number % 2},
            distributions=dict(space),
        )
        trial.datetime_start = start
        trial.datetime_complete = start + datetime.timedelta(seconds=50 if number == 7 else 100)
        study.add_trial(trial)
    for number in range(20):
        peak = Peak(params={"batch": 10 + number % 2}, bytes=2 * GIB, line=0, kind="amd")
        peaks.append(folder, peak)
    moments = [
        Moment(
            BEGAN_S + at_s, "card", 8 * GIB, 5 * GIB, GIB, GIB // 2, (Part(f"{name}/0.1", 1, 1),)
        )
        for at_s in (0.0, 100.0)
    ]
    lines = b"".join(msgspec.json.encode(one) + b"\n" for one in moments)
    (state.path / NAME).write_bytes(lines)
    spec = RunSpec(run=Run(id=name), kind="script", target="t.py", folder="/", created_at_s=BEGAN_S)
    write_whole(folder / "run.json", spec)
    status = RunStatus(
        run=name,
        state="finished",
        host_pid=0,
        updated_at_s=BEGAN_S + 400.0,
        study_name="s",
        storage=f"sqlite:///{folder}/study-1.db",
        complete=7,
        pruned=1,
    )
    write_whole(folder / "status.json", status)
    return name


def test_a_run_is_played_again_with_what_was_seen_of_it(scheduler: Scheduler, run: str) -> None:
    """Two at once at a use of 0.3 do not slow each other down, so each takes 100 s alone too."""
    found = told(
        scheduler("simulate", run, "--json", "--use", "30%", "--at-most", "1", "--no-pruning")
    )
    now, one, whole, both = found["rows"]
    assert (found["subject"], found["trials"]) == (f"run {run}", 8)
    assert now["at_once"] > 1.5
    assert now["makespan_s"] < 500
    assert both["makespan_s"] == pytest.approx(800, rel=0.02)
    assert one["makespan_s"] <= both["makespan_s"]
    assert whole["ran_out"] == 0
    assert any("hold 1.0 GiB of card all the time" in one for one in found["assumed"])


def test_of_a_run_that_is_not_over_what_is_left_is_played(
    scheduler: Scheduler, state: StateFolder, run: str
) -> None:
    path = state.run(run) / "status.json"
    path.write_text(
        json.dumps({**json.loads(path.read_text()), "state": "interrupted", "n_trials": 20})
    )
    assert told(scheduler("simulate", run, "--json", "--orders", "1"))["trials"] == 12


def test_company_made_them_slower_than_they_would_have_been(scheduler: Scheduler, run: str) -> None:
    """All of the device each: together 1.44 times what one does."""
    found = told(scheduler("simulate", run, "--json", "--use", "100%", "--at-most", "1"))
    alone = found["rows"][1]
    assert alone["makespan_s"] == pytest.approx(800 * 1.44 / 2, rel=0.12)


@pytest.mark.parametrize(
    ("text", "because"),
    [
        ("{", "is no JSON"),
        ('{"cards": []}', "it has no cards"),
        ('{"cards": [{"total_bytes": "16GiB"}]}', "either trials or drawn"),
        ('{"cards": [{"total_bytes": "16 GiB"}]}', "is not a size"),
        ('{"cards": [{"totl_bytes": 1}]}', "unknown field"),
        ('{"cards": [{"total_bytes": 9}], "trials": [{"peak_bytes": 1, "duration_s": 0}]}',
         "a trial needs a duration"),
    ],
)  # fmt: skip
def test_a_file_that_makes_no_sense_is_refused(
    scheduler: Scheduler, tmp_path: Path, text: str, because: str
) -> None:
    path = tmp_path / "w.json"
    path.write_text(text)
    said = scheduler("simulate", str(path))
    assert said.code == 2
    assert because in said.err


def test_what_is_neither_a_file_nor_a_run_is_said_so(scheduler: Scheduler) -> None:
    assert "gone.json is not there" in scheduler("simulate", "gone.json").err
    assert "there is no run 'gone'" in scheduler("simulate", "gone").err


def test_sizes_are_read_wherever_a_field_holds_bytes() -> None:
    told = {"cards": [{"total_bytes": "1KiB", "name": "1KiB", "strangers": [[0, "2KiB"], [5, 7]]}]}
    assert sized(told) == {
        "cards": [{"total_bytes": 1024, "name": "1KiB", "strangers": [[0, 2048], [5, 7]]}]
    }
    assert sized({"peak_bytes": ["1KiB", 3]}) == {"peak_bytes": [1024, 3]}
