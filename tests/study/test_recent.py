"""What pruners are shown is what they would read, without reading it all at each report."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import optuna
import pytest
from optuna.trial import FrozenTrial, TrialState

from scheduler.study import inside
from scheduler.study.keeping.in_turn import InTurn, as_read_lately
from scheduler.study.keeping.recent import AT_LEAST_S, Recent
from scheduler.study.keeping.storage import DurableStorage


class Scene:
    """A study behind ``InTurn``; ``reads`` counts how often all of its trials were read."""

    def __init__(self, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.behind = inside.cached(DurableStorage(path))
        self.storage = InTurn(self.behind)
        self.now_s, self.reads = 0.0, 0
        self.storage.recent = Recent(self.behind, lambda: self.now_s)
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self.study = optuna.create_study(storage=self.behind)
        inside.put_on_storage(self.study, self.storage, inside.study_id_of(self.study))
        read = self.behind.get_all_trials

        def counted(*arguments: object, **named: object) -> list[FrozenTrial]:
            self.reads += 1
            return read(*arguments, **named)  # type: ignore[arg-type]

        monkeypatch.setattr(self.behind, "get_all_trials", counted)

    def shown(self) -> list[FrozenTrial]:
        with as_read_lately(self.storage):
            return self.study.get_trials(deepcopy=False)

    def assert_true(self) -> None:
        shown, true = self.shown(), self.behind.get_all_trials(inside.study_id_of(self.study))
        assert [vars(one) for one in shown] == [vars(one) for one in true]
        self.reads -= 1


@pytest.fixture
def scene(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Scene]:
    one = Scene(tmp_path / "study.db", monkeypatch)
    yield one
    one.behind.remove_session()


def test_what_is_reported_is_seen_without_reading(scene: Scene) -> None:
    """Values, and the marks by which SuccessiveHalvingPruner knows its rungs."""
    trials = [scene.study.ask() for _ in range(3)]
    scene.shown()
    before = scene.shown()[0]
    read = scene.reads
    for step, trial in enumerate(trials * 3):
        trial.report(step / 2, step)
        trial.set_user_attr("step", step)
        trial_id = inside.trial_id_of(trial)
        scene.storage.set_trial_system_attr(trial_id, "completed_rung_0", step / 2)
        scene.assert_true()
    assert scene.reads == read
    assert before.intermediate_values == {}, "who holds what was shown before sees no change"


def test_a_trial_that_begins_or_ends_is_seen_at_once(scene: Scene) -> None:
    first = scene.study.ask()
    scene.assert_true()
    second = scene.study.ask()
    scene.assert_true()
    second.suggest_float("x", 0, 1)
    scene.assert_true()
    scene.study.tell(first, 1.0)
    scene.assert_true()
    scene.study.tell(second, state=TrialState.PRUNED)
    scene.assert_true()
    with as_read_lately(scene.storage):
        assert len(scene.study.get_trials(states=(TrialState.COMPLETE,))) == 1


def test_what_others_write_is_seen_after_a_while(scene: Scene) -> None:
    """Another program's trial on a storage that it shares with us; at once by all but pruners."""
    scene.shown()
    scene.behind.create_new_trial(inside.study_id_of(scene.study))
    assert (len(scene.shown()), len(scene.study.trials)) == (0, 1)
    scene.now_s += AT_LEAST_S
    scene.assert_true()
    assert len(scene.shown()) == 1
