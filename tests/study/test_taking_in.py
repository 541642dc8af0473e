"""A study that was in memory is taken into the run's folder; what a host remembers of its studies;
what an attempt may ask of its storage."""

from __future__ import annotations

import datetime
import os
from pathlib import Path

import optuna
import pytest

from scheduler.study import inside
from scheduler.study.keeping.memory import Memory, file_of
from scheduler.study.keeping.storage import COPIED, DurableStorage, take_in
from scheduler.study.serving import requests

pytestmark = pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")


@pytest.fixture
def study() -> optuna.Study:
    """In memory, with all that a script may put into it before it optimizes."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(study_name="mine", directions=["minimize", "maximize"])
    study.set_user_attr("day", datetime.date(2026, 1, 1))
    study.set_metric_names(["loss", "score"])
    study.enqueue_trial({"x": 0.5}, user_attrs={"when": datetime.time(1)})
    distribution = optuna.distributions.FloatDistribution(0, 1)
    study.add_trial(
        optuna.trial.create_trial(
            params={"x": 0.25},
            distributions={"x": distribution},
            values=[1.0, float("inf")],
            intermediate_values={0: 0.5},
            user_attrs={"tuple": (1, 2)},
        )
    )
    return study


def contents(study: optuna.Study) -> list[object]:
    return [
        study.study_name,
        study.directions,
        study.user_attrs,
        study.metric_names,
        [
            (t.number, t.state, t.values, t.params, t.distributions, t.user_attrs,
             dict(t.system_attrs), t.intermediate_values)
            for t in study.trials
        ],
    ]  # fmt: skip


def test_everything_is_taken_along(study: optuna.Study, tmp_path: Path) -> None:
    """Attributes that are not JSON, the queue, values, distributions, the study's own name."""
    before = contents(study)
    take_in(study, tmp_path / "s.db")
    assert contents(study) == before
    again = optuna.load_study(study_name="mine", storage=DurableStorage(tmp_path / "s.db"))
    assert contents(again) == before


def test_a_resume_finds_what_was_left(study: optuna.Study, tmp_path: Path) -> None:
    """The script has made its study anew, with another name; it is the old one that goes on."""
    take_in(study, tmp_path / "s.db")
    study.add_trial(optuna.trial.create_trial(values=[1.0, 2.0]))
    anew = optuna.create_study(directions=["minimize", "maximize"])
    anew.enqueue_trial({"x": 0.5})
    take_in(anew, tmp_path / "s.db")
    assert contents(anew) == contents(study)
    assert len(anew.trials) == 3


def test_an_interrupted_copy_is_begun_anew(study: optuna.Study, tmp_path: Path) -> None:
    """A kill in the middle leaves a part of the study; it is thrown away."""
    before = contents(study)
    part = DurableStorage(tmp_path / "s.db")
    study_id = part.create_new_study(study.directions, "half")
    part.create_new_trial(study_id, study.trials[0])
    take_in(study, tmp_path / "s.db")
    assert contents(study) == before
    storage = inside.storage_of(study)
    assert [known.study_name for known in storage.get_all_studies()] == ["mine"]
    assert storage.get_study_system_attrs(inside.study_id_of(study))[COPIED]


def test_what_another_could_have_written_is_not_unpickled(
    study: optuna.Study, tmp_path: Path
) -> None:
    """An attribute's file that others may write to could make us run anything."""
    take_in(study, tmp_path / "s.db")
    for path in (tmp_path / "attributes").iterdir():
        assert path.stat().st_mode & 0o077 == 0
        path.chmod(0o622)
    with pytest.raises(PermissionError):
        _ = study.user_attrs


def test_memory_of_studies(tmp_path: Path) -> None:
    """Names by the order of creation, null for one in memory, and the files not to be deleted."""
    url = f"sqlite:///{tmp_path}/own.db"
    own = optuna.create_study(study_name="own", storage=url)
    first = Memory(tmp_path)
    assert not first.resumed
    first.remember(0, own)
    first.remember(1, None)
    second = Memory(tmp_path)
    assert second.resumed
    assert [second.study(index) for index in range(3)] == ["own", None, None]
    assert second.is_ours("own")
    assert not second.is_ours("other")
    assert not second.is_ours(None)
    assert second.files() == {os.path.realpath(tmp_path / "own.db")}
    second.remember(0, own)  # it is killed before it makes its second study
    assert Memory(tmp_path).study(0) == "own"
    assert len(Memory(tmp_path)._earlier.names) == 2


def test_files_of_storages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An SQLite file, a journal file, relative or through a link; nothing for what has no file."""
    from optuna.storages import InMemoryStorage, JournalStorage, RDBStorage
    from optuna.storages.journal import JournalFileBackend

    monkeypatch.chdir(tmp_path)
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    real = os.path.realpath(tmp_path / "real")
    assert file_of(RDBStorage("sqlite:///link/s.db")) == f"{real}/s.db"
    assert file_of(JournalStorage(JournalFileBackend("link/j.log"))) == f"{real}/j.log"
    assert file_of(RDBStorage("sqlite:///:memory:")) in (None, os.path.realpath(":memory:"))
    assert file_of(InMemoryStorage()) is None


def test_an_attempt_may_not_call_just_anything(study: optuna.Study) -> None:
    """Only what a trial needs of its storage; nothing that deletes."""
    with pytest.raises(PermissionError):
        requests.on_storage([study], None, (0, "delete_study", (0,)))
    with pytest.raises(PermissionError):
        requests.on_storage([study], None, (0, "__class__", ()))


def test_the_hosts_record_of_a_trial_is_kept_up(study: optuna.Study) -> None:
    """What an attempt stores is what the pruner in the host sees."""
    single = optuna.create_study()
    asked = single.ask()
    distribution = optuna.distributions.CategoricalDistribution(["a", "b"])
    requests.on_storage(
        [single], asked, (0, "set_trial_param", (asked._trial_id, "k", 1.0, distribution))
    )
    requests.on_storage(
        [single], asked, (0, "set_trial_intermediate_value", (asked._trial_id, 3, 0.5))
    )
    record = inside.live_record(asked)
    assert record.params == {"k": "b"}
    assert record.intermediate_values == {3: 0.5}
    assert single.trials[0].params == {"k": "b"}


def test_only_news_are_sent() -> None:
    """What an attempt does not know yet, and what it knew unfinished."""
    study = optuna.create_study()
    for _ in range(4):
        study.ask()
    study.tell(0, 1.0)
    assert [t.number for t in requests.trials_since(study, 0, ())] == [0, 1, 2, 3]
    assert [t.number for t in requests.trials_since(study, 3, (1,))] == [1, 3]
