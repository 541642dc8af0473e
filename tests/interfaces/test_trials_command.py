"""``scheduler trials``: what a run's study holds, told without changing it."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import optuna
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution
from optuna.study import StudyDirection
from optuna.trial import TrialState, create_trial

from scheduler.core.model import Run
from scheduler.interfaces.trials import STATES, trial_lines
from scheduler.machine.runs import RunSpec, RunStatus, write_whole
from scheduler.machine.state import StateFolder, new_run, open_state
from scheduler.study.keeping.memory import Studies
from scheduler.study.keeping.record import CAPACITY, PUT_BACK
from scheduler.study.keeping.storage import DurableStorage
from scheduler.study.reading.trials import State, TrialRow, _read_only, read_trials

Scheduler = Callable[..., Any]


def fill(study: optuna.Study) -> None:
    """One trial of each kind."""
    space: dict[str, Any] = {"x": FloatDistribution(0, 1)}
    params: dict[str, Any] = {"params": {"x": 0.25}, "distributions": space}
    study.add_trial(create_trial(value=1.5, **params))
    study.add_trial(create_trial(state=TrialState.PRUNED, **params))
    study.add_trial(create_trial(state=TrialState.FAIL, **params))
    too_big = {CAPACITY: "it needs 30 GiB"}
    study.add_trial(create_trial(state=TrialState.PRUNED, system_attrs=too_big, **params))
    study.add_trial(create_trial(state=TrialState.FAIL, system_attrs={PUT_BACK: {}}, **params))
    study.enqueue_trial({"x": 0.5})
    study.ask()


KINDS = ["complete", "pruned", "failed", "too big", "put back", "running"]


def begin(state: StateFolder, storage: str | None, name: str | None = "s", **fields: Any) -> str:
    run = new_run(open_state(), "train")
    spec = RunSpec(
        run=Run(id=run), kind="script", target="t.py", created_at_s=1.0, **{"folder": "/", **fields}
    )
    write_whole(state.run(run) / "run.json", spec)
    status = RunStatus(
        run=run,
        state="running",
        host_pid=os.getpid(),
        updated_at_s=time.time(),
        study_name=name,
        storage=storage,
    )
    write_whole(state.run(run) / "status.json", status)
    return run


def kinds(said: Any) -> list[str]:
    assert said.code == 0, said.err
    return [one["state"] for one in json.loads(said.out)["trials"]]


def test_a_study_of_ours_is_told_while_its_host_writes(
    scheduler: Scheduler, state: StateFolder
) -> None:
    run = begin(state, None)
    path = state.run(run) / "study-1.db"
    study = optuna.create_study(storage=DurableStorage(path), study_name="s")
    fill(study)
    _rewrite(state, run, f"sqlite:///{path}")
    assert kinds(scheduler("trials", run, "--json")) == KINDS
    said = scheduler("trials", run)
    assert said.out.splitlines()[0].split() == ["trial", "state", "value", "took", "parameters"]
    assert said.out.splitlines()[1].split() == ["0", "complete", "1.5", "0", "s", "x", "0.25"]
    assert kinds(scheduler("trials", run, "--json", "--state", "too big")) == ["too big"]
    study.tell(5, 3.0)  # the writer was not disturbed
    assert kinds(scheduler("trials", run, "--json"))[-1] == "complete"


def _rewrite(state: StateFolder, run: str, storage: str) -> None:
    path = state.run(run) / "status.json"
    status = json.loads(path.read_text())
    path.write_text(json.dumps({**status, "storage": storage}))


def test_a_users_file_is_found_from_the_folder_of_the_run(
    scheduler: Scheduler, state: StateFolder, tmp_path: Path
) -> None:
    fill(optuna.create_study(storage=f"sqlite:///{tmp_path}/a.db", study_name="s"))
    before = (tmp_path / "a.db").read_bytes()
    run = begin(state, "sqlite:///a.db", folder=str(tmp_path))
    assert kinds(scheduler("trials", run, "--json")) == KINDS
    assert (tmp_path / "a.db").read_bytes() == before


def test_a_journal_is_found_by_what_the_host_remembers(
    scheduler: Scheduler, state: StateFolder, tmp_path: Path
) -> None:
    path = tmp_path / "journal.log"
    backend = optuna.storages.journal.JournalFileBackend(str(path))
    fill(optuna.create_study(storage=optuna.storages.JournalStorage(backend), study_name="s"))
    run = begin(state, "JournalStorage")
    write_whole(state.run(run) / "studies.json", Studies(names=("s",), files=(str(path),)))
    before = path.read_bytes()
    assert kinds(scheduler("trials", run, "--json")) == KINDS
    assert path.read_bytes() == before


def test_a_file_that_is_read_cannot_be_written(tmp_path: Path) -> None:
    optuna.create_study(storage=f"sqlite:///{tmp_path}/a.db", study_name="s")
    with pytest.raises(optuna.exceptions.StorageInternalError):
        _read_only(tmp_path / "a.db").create_new_study([StudyDirection.MINIMIZE], "t")


@pytest.mark.filterwarnings("ignore:Choices for a categorical")
def test_what_a_script_chose_is_not_loaded(state: StateFolder) -> None:
    """It may be anything that a pickle holds."""
    run = begin(state, None)
    path = state.run(run) / "study-1.db"
    study = optuna.create_study(storage=DurableStorage(path), study_name="s")
    distribution = CategoricalDistribution([(1, 2), "a"])
    study.add_trial(
        create_trial(value=1.0, params={"c": (1, 2)}, distributions={"c": distribution})
    )
    for kept in (state.run(run) / "attributes").iterdir():
        kept.write_bytes(b"\x80\x04crubbish\nboom\n.")
    _rewrite(state, run, f"sqlite:///{path}")
    status = msgspec.json.decode((state.run(run) / "status.json").read_bytes(), type=RunStatus)
    spec = msgspec.json.decode((state.run(run) / "run.json").read_bytes(), type=RunSpec)
    (row,) = read_trials(state.run(run), spec, status)
    assert str(row.params["c"]).startswith("scheduler:pickled:")


@pytest.mark.parametrize(
    ("storage", "name", "words"),
    [
        (None, None, "it has no study yet"),
        ("sqlite:////nowhere/x.db", "s", "is not there any more"),
        ("JournalStorage", "s", "not there any more"),
        ("GrpcStorageProxy", "s", "only its script can open"),
        ("postgresql://me:***@db/x", "s", "the password is known to its script only"),
        ("nosuch://db/x", "s", "cannot be read"),
    ],
)
def test_a_study_that_cannot_be_reached_is_told_so(
    scheduler: Scheduler, state: StateFolder, storage: str | None, name: str | None, words: str
) -> None:
    run = begin(state, storage, name)
    said = scheduler("trials", run)
    assert (said.code, words in said.err) == (1, True), said.err
    assert "Traceback" not in said.err


def test_a_study_of_another_name_is_told_so(
    scheduler: Scheduler, state: StateFolder, tmp_path: Path
) -> None:
    optuna.create_study(storage=f"sqlite:///{tmp_path}/a.db", study_name="other")
    said = scheduler("trials", begin(state, f"sqlite:///{tmp_path}/a.db"))
    assert (said.code, "its study s" in said.err) == (1, True)


def test_a_run_that_has_not_begun_is_told_so(scheduler: Scheduler, state: StateFolder) -> None:
    run = new_run(open_state(), "train")
    (state.run(run) / "run.json").write_bytes(b"\xff")
    said = scheduler("trials", run)
    assert (said.code, "has not begun" in said.err) == (2, True)
    assert scheduler("trials", "train-9").code == 2


def test_the_states_are_those_of_the_study() -> None:
    assert set(STATES) == set(State.__args__)


def test_long_parameters_are_cut_to_the_width() -> None:
    row = TrialRow(
        number=7,
        state="complete",
        values=(1.0, 2.0, 3.0, 4.0),
        started_at_s=None,
        duration_s=90.0,
        params={f"parameter_{n}": n / 7 for n in range(20)},
    )
    heading, line = trial_lines([row], 80)
    assert len(line) == 80
    assert "1, 2, 3, …" in line
    assert line.endswith("…")
    assert heading.startswith("trial")
    assert trial_lines([], 80) == ["no trials"]
