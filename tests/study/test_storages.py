"""Whatever storage a script chooses stays its storage, with the host as its only writer."""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import optuna
import pytest
from script_runs import Runner

pytestmark = pytest.mark.processes


def test_sqlite_by_url(scripts: Runner, way: str) -> None:
    """``load_if_exists`` goes on where the study was; ``load_study`` finds it; nothing of it is
    in our folder."""
    text = """
        import optuna, tell
        optuna.delete_study(study_name="old", storage="sqlite:///s.db")

        def objective(trial):
            trial.report(1.0, 0)
            trial.set_user_attr("k", [trial.number])
            return trial.suggest_float("x", 0, 1)

        study = optuna.create_study(
            study_name="s", storage="sqlite:///s.db", load_if_exists=True, direction="maximize")
        study.optimize(objective, n_trials=2)
        again = optuna.load_study(study_name="s", storage="sqlite:///s.db")
        again.optimize(objective, n_trials=1)
        tell.say(trials=tell.trials(study), same=len(again.trials))
    """
    url = f"sqlite:///{scripts.own}/s.db"
    optuna.create_study(study_name="old", storage=url)
    before = optuna.create_study(study_name="s", storage=url, direction="maximize")
    before.optimize(lambda trial: trial.suggest_float("x", 0, 1), n_trials=2)
    result = scripts(text, "--start", way).ok()
    study = optuna.load_study(study_name="s", storage=url)
    assert [trial.state.name for trial in study.trials] == ["COMPLETE"] * 5
    assert [trial.user_attrs.get("k") for trial in study.trials] == [None, None, [2], [3], [4]]
    assert [trial.intermediate_values for trial in study.trials[2:]] == [{0: 1.0}] * 3
    assert optuna.get_all_study_names(url) == ["s"]
    assert list(result.folder.glob("study-*.db")) == []
    assert result.status.complete == 1  # of the last call
    assert result.status.storage == "sqlite:///s.db"


def test_storage_objects(scripts: Runner, way: str) -> None:
    """An RDBStorage with arguments of its own, and a journal file."""
    text = """
        import optuna, tell
        from optuna.storages import JournalStorage, RDBStorage
        from optuna.storages.journal import JournalFileBackend

        def objective(trial):
            trial.report(trial.suggest_float("x", 0, 1), 1)
            return len(trial.study.trials)

        rdb = RDBStorage("sqlite:///rdb.db", engine_kwargs={"connect_args": {"timeout": 30}})
        journal = JournalStorage(JournalFileBackend("journal.log"))
        for storage in (rdb, journal):
            study = optuna.create_study(study_name="s", storage=storage)
            study.enqueue_trial({"x": 0.5})
            study.optimize(objective, n_trials=2)
        tell.say(trials=tell.trials(study))
    """
    scripts(text, "--start", way).ok()
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend

    for storage in (
        f"sqlite:///{scripts.own}/rdb.db",
        JournalStorage(JournalFileBackend(f"{scripts.own}/journal.log")),
    ):
        trials = optuna.load_study(study_name="s", storage=storage).trials
        assert [trial.state.name for trial in trials] == ["COMPLETE"] * 2
        assert trials[0].params == {"x": 0.5}


def test_a_script_that_starts_afresh_each_time(scripts: Runner, way: str) -> None:
    """It deletes its database before it makes a study. An attempt that runs the script again does
    not delete the one in use; a new run does."""
    text = """
        import os, pathlib, optuna, tell
        if os.path.exists("s.db"):
            os.remove("s.db")
        pathlib.Path("journal.log").unlink(missing_ok=True)
        if "other" in optuna.get_all_study_names("sqlite:///more.db"):
            optuna.delete_study(study_name="other", storage="sqlite:///more.db")
        from optuna.storages import JournalStorage
        from optuna.storages.journal import JournalFileBackend

        def objective(trial):
            pathlib.Path(f"scratch-{trial.number}").touch()
            pathlib.Path(f"scratch-{trial.number}").unlink()
            return trial.suggest_float("x", 0, 1)

        counts = []
        for name, storage in (
            ("s", "sqlite:///s.db"),
            ("other", "sqlite:///more.db"),
            ("j", JournalStorage(JournalFileBackend("journal.log"))),
        ):
            study = optuna.create_study(study_name=name, storage=storage)
            study.optimize(objective, n_trials=2)
            counts.append(len(study.trials))
        tell.say(counts=counts)
    """
    for _ in range(2):
        assert scripts(text, "--start", way).ok().said["counts"] == [2, 2, 2]
        assert list(scripts.own.glob("scratch-*")) == []


def test_study_in_memory_is_kept_in_the_runs_folder(scripts: Runner) -> None:
    """It lives in a file that only the user can read, and the study object goes on with it."""
    text = """
        import optuna, tell
        study = optuna.create_study(study_name="mine", directions=["minimize", "maximize"])
        study.set_metric_names(["loss", "score"])
        study.optimize(lambda trial: (trial.suggest_float("x", 0, 1), 2.0), n_trials=2)
        tell.say(name=study.study_name, names=study.metric_names, n=len(study.best_trials))
    """
    result = scripts(text).ok()
    assert result.said == {"name": "mine", "names": ["loss", "score"], "n": 1}
    kept = result.study()
    assert (kept.study_name, kept.metric_names) == ("mine", ["loss", "score"])
    assert len(kept.trials) == 2
    for path in result.folder.rglob("*"):
        assert path.stat().st_mode & 0o077 == 0, path


@pytest.fixture
def postgresql(tmp_path: Path) -> Iterator[str]:
    """The URL of a server of this test's own."""
    binaries = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    initdb = shutil.which("initdb") or (str(binaries[-1]) if binaries else None)
    if initdb is None:
        pytest.skip("no PostgreSQL server is installed here (initdb was not found)")
    pytest.importorskip("psycopg2", reason="PostgreSQL is reached through psycopg2, not installed")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    folder = Path(subprocess.check_output(["mktemp", "-d"], text=True).strip())
    become: list[str] = []
    if os.getuid() == 0:  # the server refuses to run as root
        try:
            user = pwd.getpwnam("postgres")
        except KeyError:
            pytest.skip("PostgreSQL does not run as root, and there is no user postgres")
        os.chown(folder, user.pw_uid, user.pw_gid)
        become = ["setpriv", f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--clear-groups"]
    options = [f"--pgdata={folder}/data", "--username=tester", "--auth=trust", "--no-sync"]
    subprocess.run([*become, initdb, *options], check=True, capture_output=True, cwd="/")
    server = [str(Path(initdb).parent / "pg_ctl"), f"--pgdata={folder}/data", "--wait"]
    settings = f"-p {port} -k {folder} -c listen_addresses=127.0.0.1 -c fsync=off"
    log = f"--log={folder}/log"
    subprocess.run([*become, *server, log, "-o", settings, "start"], check=True, cwd="/")
    try:
        yield f"postgresql+psycopg2://tester:secret@127.0.0.1:{port}/postgres"
    finally:
        subprocess.run([*become, *server, "--mode=immediate", "stop"], check=True, cwd="/")
        shutil.rmtree(folder)


def test_postgresql(scripts: Runner, way: str, postgresql: str) -> None:
    """A database server: its connection is the host's alone, and its password is not shown."""
    text = f"""
        import optuna, tell

        def objective(trial):
            trial.report(trial.suggest_float("x", 0, 1), 1)
            trial.set_user_attr("best", len(trial.study.get_trials(deepcopy=False)))
            return trial.params["x"]

        study = optuna.create_study(
            study_name="s", storage={postgresql!r}, load_if_exists=True)
        study.optimize(objective, n_trials=4)
        tell.say(n=len(study.trials), best=study.best_value)
    """
    result = scripts(text, "--start", way).ok()
    assert result.said["n"] == 4
    trials = optuna.load_study(study_name="s", storage=postgresql).trials
    assert [trial.state.name for trial in trials] == ["COMPLETE"] * 4
    assert "secret" not in (result.folder / "status.json").read_text()
    assert "postgresql" in (result.status.storage or "")


def test_a_storage_that_cannot_be_opened(scripts: Runner) -> None:
    """The error is the script's own, as without us."""
    text = """
        import optuna
        optuna.create_study(storage="sqlite:////no/such/folder/s.db")
    """
    result = scripts(text)
    assert result.code == 1
    assert "unable to open database file" in result.err


def test_a_storage_that_breaks_ends_the_run(scripts: Runner) -> None:
    """An outcome that cannot be told ends the call with the storage's error, and is not lost."""
    text = """
        import optuna, tell
        from optuna.storages import InMemoryStorage, RDBStorage

        class Breaks(RDBStorage):
            def set_trial_state_values(self, trial_id, state, values=None):
                if state.name == "COMPLETE":
                    raise OSError("the disk is gone")
                return super().set_trial_state_values(trial_id, state, values)

        study = optuna.create_study(study_name="s", storage=Breaks("sqlite:///s.db"))
        study.optimize(lambda trial: 1.0, n_trials=20)
    """
    result = scripts(text, "--max-trials", "1")
    assert result.code == 1
    assert "OSError: the disk is gone" in result.err
    whole = text.replace("the disk is gone", "").replace('"COMPLETE"', '"NEVER"')
    scripts.write(whole)
    assert result.run is not None
    scripts.resume(result.run).ok()
    trials = optuna.load_study(study_name="s", storage=f"sqlite:///{scripts.own}/s.db").trials
    assert [trial.state.name for trial in trials] == ["COMPLETE"] * 20
