"""What a run is to start from, as the command line takes it: files, studies, runs of ours."""

from __future__ import annotations

from pathlib import Path

import optuna
import pytest

from scheduler.core.model import Run
from scheduler.interfaces.errors import BadInput
from scheduler.interfaces.run import command
from scheduler.interfaces.strategy_options import read_asked
from scheduler.machine.api.listing import read_run
from scheduler.machine.config.settings import Config
from scheduler.machine.runs import RunSpec, RunStatus, write_whole
from scheduler.machine.state import new_run, open_state
from scheduler.strategies.asked import Asked, WarmStartAsked


def asked(*words: str) -> WarmStartAsked:
    given = command.make_context("run", [*words, "train.py"]).params
    return read_asked(given, Config()).warm_start


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def a_run(folder: Path, **said: object) -> str:
    """A run of ours, that was started in *folder* and has *said* something of its study."""
    run = new_run(open_state(), "train")
    spec = RunSpec(
        run=Run(id=run), kind="script", target="t.py", folder=str(folder), created_at_s=1.0
    )
    status = RunStatus(run=run, state="finished", host_pid=1, updated_at_s=1.0, **said)
    write_whole(open_state().run(run) / "run.json", spec)
    write_whole(open_state().run(run) / "status.json", status)
    return run


def test_files_and_the_option_itself_in_their_order() -> None:
    Path("best.json").write_text('\ufeff[{"lr": 0.1}, {"lr": 0.2}]', encoding="utf-8")
    found = asked("--best-params", '{"lr": 0.3}', "--best-params", "best.json")
    assert found.params == ({"lr": 0.3}, {"lr": 0.1}, {"lr": 0.2})
    wanted = ("--best-params", "best.json, setting 1", "best.json, setting 2")
    assert found.sources == wanted


def test_a_study_is_found_from_any_folder(tmp_path: Path) -> None:
    """A host changes its folder as its script likes."""
    optuna.create_study(storage="sqlite:///old.db", study_name="old")
    Path("old.journal").write_text("")
    database = f"sqlite:///{tmp_path}/old.db"
    found = asked("--from-study", "sqlite:///old.db", "old", "--top", "2", "--known-results")
    wanted = WarmStartAsked(storage=database, study_name="old", top=2, known_results=True)
    assert found == wanted
    assert asked("--from-study", "old.db", "old").storage == database
    assert asked("--from-study", "old.journal", "old").storage == f"{tmp_path}/old.journal"
    url = "postgresql://me:secret@there/db"
    assert asked("--from-study", url, "old").storage == url


def test_a_runs_own_study(tmp_path: Path) -> None:
    optuna.create_study(storage="sqlite:///old.db", study_name="old")
    run = a_run(tmp_path, storage="sqlite:///old.db", study_name="old")
    found = asked("--from-study", run, "-")
    assert (found.storage, found.study_name) == (f"sqlite:///{tmp_path}/old.db", "old")
    for said in ({}, {"storage": "postgresql://me:***@there/db", "study_name": "old"}):
        with pytest.raises(BadInput, match=r"has no study yet|give that storage's own URL"):
            asked("--from-study", a_run(tmp_path, **said), "-")


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("--best-params", "none.json"), "there is no file 'none.json' in "),
        (("--best-params", "{'lr': 1}"), "--best-params, line 1, column 2: this is no JSON"),
        (("--from-study", "sqlite:///none.db", "s"), "there is no file 'none.db' in "),
        (("--from-study", "none", "-"), "'none' is no database's URL, no file in "),
        (("--from-study", "mysql://me:secret@there/db", "-"), "mysql://there/db -: name the study"),
        (("--top", "3"), "--top and --known-results go with --from-study"),
        (("--allow-extra",), "--allow-extra goes with --best-params"),
    ],
)
def test_what_cannot_be_is_refused(words: tuple[str, ...], says: str) -> None:
    with pytest.raises(BadInput) as found:
        asked(*words)
    assert says in str(found.value)
    assert "secret" not in str(found.value)


def test_a_password_is_not_shown(tmp_path: Path) -> None:
    warm_start = WarmStartAsked(storage="mysql://me:secret@there/db", study_name="s")
    run = a_run(tmp_path)
    spec = RunSpec(
        run=Run(id=run),
        kind="script",
        target="t.py",
        folder=str(tmp_path),
        created_at_s=1.0,
        asked=Asked(warm_start=warm_start),
    )
    write_whole(open_state().run(run) / "run.json", spec)
    shown = read_run(open_state(), run, None).spec
    assert shown is not None
    assert shown.asked.warm_start.storage == "mysql://me:***@there/db"
