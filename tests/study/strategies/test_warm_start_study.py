"""A warm start on a real study: once, whatever is killed when, and nothing stays that is wrong.

A life ends here by dropping what it holds: what the next one knows is in the study.
"""

from __future__ import annotations

import io
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.distributions import BaseDistribution, FloatDistribution
from optuna.trial import TrialState

from scheduler.core.model import Trial
from scheduler.machine.runs import RunStatus
from scheduler.strategies.asked import Asked, WarmStartAsked
from scheduler.strategies.shown import WarmStartShown
from scheduler.study import inside
from scheduler.study.board import Board, best_of
from scheduler.study.keeping import resume
from scheduler.study.keeping.record import KNOWN, WARM, WITHDRAWN, Record
from scheduler.study.keeping.storage import DurableStorage
from scheduler.study.serving.quota import Quota
from scheduler.study.strategies.changes import Changes
from scheduler.study.strategies.scene import Scene
from scheduler.study.strategies.warm_start import WarmStart

Objective = Callable[[optuna.Trial], Any]


def objective(trial: optuna.Trial) -> float:
    x = trial.suggest_float("x", 0, 1)
    return x + trial.suggest_int("n", 1, 5)


class Life:
    """One life of a run's host, as far as its warm start is concerned."""

    def __init__(self, study: optuna.Study, folder: Path, run: str, line: int, **asked: Any):
        self.study = study
        self.record = Record(study, run, line)
        self.said = io.StringIO()
        status = RunStatus(run=run, state="running", host_pid=1, updated_at_s=1.0)
        self.board = Board(folder / "status.json", status, self.said)
        self.warm_start = WarmStart(
            Scene(
                asked=Asked(warm_start=WarmStartAsked(**asked)),
                study=study,
                record=self.record,
                quota=Quota(10, None),
                board=self.board,
                changes=Changes(run, self.board, ()),
                folder=folder,
                has_own_pruner=False,
                has_own_sampler=False,
                earlier=False,
            )
        )
        self.warm_start.begin()

    def runs(self, of: Objective = objective, state: TrialState | None = None) -> dict[str, Any]:
        """One trial from its ask to its end, as an attempt would have it; its parameters."""
        number = max(resume.begun(self.record), default=-1) + 1
        trial = self.record.ask(Trial(run=self.record.run, number=number), returned=False)
        if WARM in inside.live_record(trial).system_attrs:

            def choose(name: str, distribution: BaseDistribution) -> tuple[Any] | None:
                return self.warm_start.setting(trial, name, distribution)

            inside.choose_fixed(trial, choose)
        value = of(trial)
        frozen = self.record.frozen(trial.number)
        for name, distribution in frozen.distributions.items():
            self.warm_start.suggested(trial, name, frozen.params[name], distribution)
        inside.tell(self.study, trial.number, None if state else value, state)
        self.warm_start.finished(self.record.frozen(trial.number))
        while self.warm_start.is_at_work:
            self.warm_start.work()
        return frozen.params

    @property
    def shown(self) -> WarmStartShown:
        assert self.board.status.warm_start is not None
        return self.board.status.warm_start


class Runs:
    """A study and a folder that outlive their hosts."""

    def __init__(self, folder: Path, **study: Any) -> None:
        self.folder = folder
        self.study = optuna.create_study(
            storage=inside.cached(DurableStorage(folder / "own.db")),
            sampler=optuna.samplers.RandomSampler(seed=1),
            **study,
        )

    def life(self, run: str = "r", line: int = 0, **asked: Any) -> Life:
        return Life(self.study, self.folder, run, line, **asked)

    def waiting(self) -> list[dict[str, Any]]:
        found = self.study.get_trials(states=(TrialState.WAITING,))
        return [trial.system_attrs["fixed_params"] for trial in found]


@pytest.fixture
def runs(tmp_path: Path) -> Runs:
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return Runs(tmp_path)


@pytest.fixture(scope="module")
def ten_trials(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("earlier") / "old.db"
    sampler = optuna.samplers.RandomSampler(seed=2)
    storage = DurableStorage(path)
    study = optuna.create_study(storage=storage, study_name="old", sampler=sampler)
    study.optimize(objective, n_trials=10)
    storage.remove_session()
    storage.engine.dispose()
    return path


@pytest.fixture
def old(ten_trials: Path, tmp_path: Path) -> dict[str, Any]:
    """An earlier study with ten trials, as the options name it."""
    shutil.copy(ten_trials, tmp_path / "old.db")
    return {"storage": f"sqlite:///{tmp_path}/old.db", "study_name": "old"}


TWO = ({"x": 0.5, "n": 2}, {"x": 0.25, "n": 1})


def test_settings_come_after_the_scripts_own_and_before_what_is_drawn(runs: Runs) -> None:
    runs.study.enqueue_trial({"x": 0.75, "n": 5})
    life = runs.life(params=TWO, sources=("a", "b"))
    assert [life.runs() for _ in range(3)] == [{"x": 0.75, "n": 5}, *TWO]
    assert life.shown == WarmStartShown(settings=2, done=2, tried_before=0, known=0, study=None)
    life.runs()
    assert life.warm_start.wrong is None


def test_a_resume_adds_none_twice_wherever_it_was_killed(runs: Runs) -> None:
    """After the plan was written, between two of them, with one that runs and one that is done."""
    runs.life(params=TWO)
    storage = inside.storage_of(runs.study)
    first = runs.study.trials[0]
    assert runs.life(params=TWO).shown.settings == 2
    assert runs.waiting() == list(TWO)
    storage.set_trial_state_values(first._trial_id, TrialState.RUNNING)
    runs.life(params=TWO)
    storage.set_trial_state_values(first._trial_id, TrialState.COMPLETE, [1.0])
    assert runs.life(params=TWO).shown.done == 1
    assert runs.waiting() == [TWO[1]]
    assert len(runs.study.trials) == 2


def test_another_run_leaves_out_what_the_study_has_tried(runs: Runs) -> None:
    """As ``skip_if_exists`` means it: also where a number was rounded, or the names are in another
    order. What has failed is no result."""
    first = runs.life(params=TWO)
    first.runs()
    first.runs(state=TrialState.FAIL)
    again = ({"n": 2.0, "x": 0.500001}, {"x": 0.25, "n": 1}, {"x": 0.5})
    second = runs.life("s", params=again)
    assert runs.waiting() == [again[1], again[2]]
    assert (second.shown.settings, second.shown.tried_before) == (2, 1)
    third = runs.life("t", params=again)
    assert third.shown.tried_before == 3


def test_only_the_first_study_of_a_script_is_started_warm(runs: Runs) -> None:
    life = runs.life(line=1, params=TWO)
    assert (runs.waiting(), life.board.status.warm_start) == ([], None)


@pytest.mark.parametrize(
    ("params", "said"),
    [
        ({"x": 2.0}, "best.json: x is 2, outside of its range: 0 to 1"),
        ({"n": 2.5}, "best.json: n is 2.5, a whole number is wanted: 1 to 5"),
        ({"n": "two"}, "best.json: n is 'two', a whole number is wanted: 1 to 5"),
    ],
)
def test_a_wrong_value_ends_the_attempt_and_leaves_nothing(
    runs: Runs, params: dict[str, Any], said: str
) -> None:
    """Plain Optuna warns and runs it. Another that ran beside it is stopped and put back. A resume,
    after the script was changed, tries all of them again."""
    asked = {"params": (TWO[0], params, TWO[1]), "sources": ("a", "best.json", "b")}
    life = runs.life(**asked)
    life.record.ask(Trial(run="r", number=0), returned=False).suggest_float("x", 0, 1)
    with pytest.raises(ValueError, match=r"best\.json"):
        life.runs()
    assert life.warm_start.wrong == said
    for number in (0, 1):
        life.record.put_back(number, Trial(run="r", number=number, attempts=1))
    life.warm_start.end()
    trials = runs.study.trials
    assert [t.state.name for t in trials] == ["FAIL"] * 4
    assert [t.system_attrs.get(WITHDRAWN) for t in trials] == [None, said, said, said]
    assert all(t.datetime_start for t in trials)  # else Optuna copies none of the study
    resumed = runs.life(**asked)
    assert resume.begun(resumed.record) == set()
    assert runs.waiting() == [TWO[0], params, TWO[1]]


def test_the_kind_of_a_known_parameter_is_checked_before_anything_runs(runs: Runs) -> None:
    """Within one study a parameter keeps its kind and its choices. Its range may have changed
    with the script, so that is asked when it is suggested."""
    runs.study.optimize(objective, n_trials=1)
    assert runs.life(params=({"x": "half"},), sources=("a",)).warm_start.wrong is not None
    assert runs.waiting() == []
    assert runs.life("s", params=({"x": 3.0},), sources=("a",)).warm_start.wrong is None


def test_unknown_names_are_judged_when_a_trial_has_run_to_its_end(runs: Runs) -> None:
    life = runs.life(params=({"x": 0.5, "nn": 2, "momentum": 1},), sources=("a",))
    life.runs(state=TrialState.PRUNED)
    assert life.warm_start.wrong is None
    life.runs()
    wrong = life.warm_start.wrong or ""
    assert wrong.startswith("a: the objective does not suggest nn (did you mean n?), momentum; it")
    assert "--allow-extra" in wrong


def test_extra_names_are_allowed_and_noted(runs: Runs) -> None:
    life = runs.life(params=({"x": 0.5, "z": 2},), sources=("a",), allow_extra=True)
    assert life.runs()["x"] == 0.5
    assert life.warm_start.wrong is None
    assert "does not suggest z" in life.said.getvalue()


def test_a_name_that_another_branch_suggests_is_known(runs: Runs) -> None:
    def branches(trial: optuna.Trial) -> float:
        if trial.suggest_categorical("kind", ["svm", "tree"]) == "svm":
            return trial.suggest_float("c", 0, 1)
        return trial.suggest_int("depth", 1, 9)

    one, other = {"kind": "tree", "depth": 3}, {"kind": "svm", "c": 0.5, "depth": 3}
    life = runs.life(params=(one, other), sources=("a", "b"))
    assert life.runs(branches) == one
    assert life.runs(branches) == {"kind": "svm", "c": 0.5}
    assert life.warm_start.wrong is None


def test_the_best_of_an_earlier_study_come_first(runs: Runs, old: dict[str, Any]) -> None:
    ranked = sorted(
        optuna.load_study(storage=old["storage"], study_name="old").trials,
        key=lambda trial: trial.value or 0.0,
    )
    runs.life(top=2, params=(ranked[0].params,), sources=("a",), **old)
    assert runs.waiting() == [trial.params for trial in ranked[:2]]
    grown = optuna.load_study(storage=old["storage"], study_name="old")
    grown.enqueue_trial({"x": 0.0, "n": 1})
    grown.optimize(objective, n_trials=1)
    runs.life(top=2, params=(ranked[0].params,), sources=("a",), **old)
    assert runs.waiting() == [trial.params for trial in ranked[:2]]


def test_what_was_not_written_for_this_objective_is_fitted_to_it(
    runs: Runs, old: dict[str, Any]
) -> None:
    """Out of range: the nearest value. A choice that is gone, a name that is gone: drawn, noted."""

    def narrower(trial: optuna.Trial) -> float:
        return trial.suggest_float("x", 0.9, 1) + len(trial.suggest_categorical("n", ["a", "b"]))

    life = runs.life(top=1, **old)
    found = life.runs(narrower)
    assert found["x"] == 0.9
    assert found["n"] in ("a", "b")
    assert "0.9 is taken instead" in life.said.getvalue()
    assert "none of its choices: 'a', 'b'; is drawn instead" in life.said.getvalue()
    assert life.warm_start.wrong is None


def test_a_study_that_wants_the_opposite_is_refused(tmp_path: Path, old: dict[str, Any]) -> None:
    runs = Runs(tmp_path, direction="maximize")
    wrong = runs.life(**old).warm_start.wrong
    assert wrong == "study old is to minimize, this one to maximize: its best are not ours"
    assert runs.study.trials == []


def test_an_earlier_study_that_is_not_there(runs: Runs, old: dict[str, Any]) -> None:
    wrong = runs.life(storage=old["storage"], study_name="new").warm_start.wrong or ""
    assert "has no study named new; there are: old" in wrong


def test_several_objectives(tmp_path: Path) -> None:
    """The best are those that no other beats."""
    url = f"sqlite:///{tmp_path}/two.db"
    study = optuna.create_study(storage=url, study_name="two", directions=["minimize", "maximize"])
    for x in (0.5, 0.75, 0.25):
        study.enqueue_trial({"x": x})
    study.optimize(lambda t: (t.suggest_float("x", 0, 1), 1.0 if t.number == 0 else 0), n_trials=3)
    runs = Runs(tmp_path, directions=["minimize", "maximize"])
    runs.life(top=2, storage=url, study_name="two")
    assert runs.waiting() == [{"x": 0.5}, {"x": 0.25}]


# -- known results ---------------------------------------------------------------------------------


def known_of(study: optuna.Study) -> list[Any]:
    return [t.system_attrs[KNOWN]["number"] for t in study.trials if KNOWN in t.system_attrs]


def test_known_results_are_added_once_the_space_is_known(runs: Runs, old: dict[str, Any]) -> None:
    """With values, reports and times; they are not the run's, nor another result's twice."""
    grown = optuna.load_study(storage=old["storage"], study_name="old")
    trial = grown.ask()
    objective(trial)
    trial.report(0.5, 3)
    grown.tell(trial, state=TrialState.PRUNED)
    life = runs.life(top=1, known_results=True, **old)
    assert known_of(runs.study) == []
    life.runs()
    assert sorted(known_of(runs.study)) == list(range(11))
    assert (life.shown.known, life.shown.study) == (11, "old")
    (pruned,) = (t for t in runs.study.trials if t.state == TrialState.PRUNED)
    assert (pruned.intermediate_values, pruned.system_attrs.keys()) == ({3: 0.5}, {KNOWN})
    theirs = {t.datetime_complete for t in grown.trials}
    assert {t.datetime_complete for t in runs.study.trials if KNOWN in t.system_attrs} == theirs
    assert len(life.record.ours()) == 1
    again = runs.life(top=1, known_results=True, **old)
    again.runs()
    assert len(known_of(runs.study)) == again.shown.known == 11


def test_a_best_that_was_known_before_is_shown_as_such(runs: Runs, old: dict[str, Any]) -> None:
    runs.study.enqueue_trial({"x": 1.0, "n": 5})
    runs.life(top=1, known_results=True, **old).runs()
    best = best_of(runs.study)
    assert best is not None
    assert best.known_from == "old"
    trial = runs.study.ask({"x": FloatDistribution(0, 1)})
    runs.study.tell(trial, 0.5)
    best = best_of(runs.study)
    assert best is not None
    assert (best.value, best.known_from) == (0.5, None)


def test_results_from_another_space_are_left_out(runs: Runs, old: dict[str, Any]) -> None:
    """Values within the new range are taken, with the new range; another kind or more names are
    not, and that is said once."""

    def narrower(trial: optuna.Trial) -> float:
        return trial.suggest_float("x", 0, 0.5) + trial.suggest_int("n", 1, 5)

    def wider(trial: optuna.Trial) -> float:
        return objective(trial) + trial.suggest_float("y", 0, 1)

    life = runs.life(top=1, known_results=True, **old)
    life.runs(wider)
    assert known_of(runs.study) == []
    assert "none of study old suits yet: it has x, n; this one x, n, y" in life.said.getvalue()
    life.runs(narrower)
    added = [t for t in runs.study.trials if KNOWN in t.system_attrs]
    assert 0 < len(added) < 10
    assert {t.distributions["x"].high for t in added} == {0.5}
    assert all(t.params["x"] <= 0.5 for t in added)
