"""When ranges are narrowed, by what, and when that is taken back; over resumes, in memory."""

from __future__ import annotations

import io
import math
from collections.abc import Callable
from pathlib import Path

import msgspec
import optuna
import pytest
from optuna.samplers import GridSampler, RandomSampler

from scheduler.core.model import Trial
from scheduler.machine.runs import RunStatus
from scheduler.strategies.asked import Asked, RangesAsked, WarmStartAsked
from scheduler.strategies.shown import RangesShown
from scheduler.study.board import Board
from scheduler.study.keeping.record import Record
from scheduler.study.serving.quota import Quota
from scheduler.study.strategies.changes import Changes
from scheduler.study.strategies.narrowed import FULL, VERSION, NarrowedSampler
from scheduler.study.strategies.narrowing import OWN_TRIALS, Narrowing
from scheduler.study.strategies.scene import Scene

Objective = Callable[[optuna.Trial], float]
POOR = {"lr": {"low": 1e-1, "high": 1.0, "choices": []}}
GIVEN = {"lr": {"low": 1e-3, "high": 1e-2, "choices": []}}


class Call:
    """One ``optimize`` call of a run on *study*, as its host makes it."""

    def __init__(self, folder: Path, study: optuna.Study, fixed=(), warm=None, **ranges) -> None:
        status = RunStatus(run="r", state="running", host_pid=0, updated_at_s=0.0)
        self.said = io.StringIO()
        self.board = Board(folder / "status.json", status, self.said)
        self.study = study
        self.record = Record(study, "r", 0)
        begun = bool(self.record.ours())
        self.scene = Scene(
            asked=Asked(
                ranges=RangesAsked(**{"use": True} | ranges), warm_start=warm or WarmStartAsked()
            ),
            study=study,
            record=self.record,
            quota=Quota(None, None),
            board=self.board,
            changes=Changes("r", self.board, fixed),
            folder=folder,
            has_own_pruner=False,
            has_own_sampler=True,
            earlier=begun,
        )
        self.narrowing = Narrowing(self.scene)
        self.narrowing.begin()

    def run(self, objective: Objective, trials: int) -> Call:
        for _ in range(trials):
            number = len(self.record.ours()) + 1
            asked = self.record.ask(Trial(run="r", number=number), returned=False)
            value = objective(asked)
            self.narrowing.finished(self.study.tell(asked, value))
        return self

    @property
    def shown(self) -> RangesShown:
        assert self.board.status.ranges is not None
        return self.board.status.ranges

    @property
    def changes(self) -> list[tuple[str, str]]:
        return [(one.before, one.after) for one in self.board.status.changes]

    def narrow_values(self) -> list[float]:
        marked = (t for t in self.study.trials if VERSION in t.system_attrs)
        return [t.params["lr"] for t in marked if not t.system_attrs.get(FULL)]


class Seeded(RandomSampler):
    """Draws the same each time: the twin is a copy that is reseeded."""

    def reseed_rng(self) -> None:
        self._rng.rng.seed(7)


def new_study(**more) -> optuna.Study:
    return optuna.create_study(sampler=Seeded(seed=3), **more)


def at(best: float) -> Objective:
    """Smallest where ``lr`` is *best*; the second parameter does nothing."""

    def objective(trial: optuna.Trial) -> float:
        trial.suggest_int("idle", 1, 100)
        lr = trial.suggest_float("lr", 1e-6, 1.0, log=True)
        return abs(math.log10(lr) - math.log10(best))

    return objective


@pytest.fixture
def call(tmp_path: Path) -> Callable[..., Call]:
    return lambda study, **more: Call(tmp_path, study, **more)


def test_by_its_own_trials_once_there_are_enough(call) -> None:
    study = new_study()
    it = call(study).run(at(1e-3), OWN_TRIALS - 1)
    assert (it.shown.state, it.changes) == ("waiting", [])
    it.run(at(1e-3), 41)
    assert it.shown.state == "on"
    assert it.changes == [("off", "on")]
    (change,) = it.board.status.changes
    assert change.because == "the best quarter of 20 trials of this study"
    assert "lr 5.557e-05 to 0.01791" in change.evidence
    values = it.narrow_values()
    assert it.shown.trials == 40
    assert it.shown.full == 40 - len(values) > 0
    assert max(abs(math.log10(lr) + 3) for lr in values) < 2.2  # of 3 on either side


def test_ranges_of_others_hold_from_the_first_trial_on_for_some_of_them(call) -> None:
    it = call(new_study(), table=GIVEN).run(at(4e-3), 10)
    assert 2 <= it.shown.full <= 8
    assert all(1e-3 <= lr <= 1e-2 for lr in it.narrow_values())
    assert it.changes == [("off", "on")]
    it.run(at(4e-3), 50)
    assert it.shown.state == "on"
    assert it.shown.full < 15  # no longer most: the others are seen to be better
    assert (it.shown.narrowed, it.shown.parameters) == (1, 2)


def test_misleading_ranges_are_taken_back_and_it_says_by_what(call) -> None:
    it = call(new_study(), table=POOR).run(at(1e-5), 25)
    assert it.shown.state == "off"
    assert it.changes == [("off", "on"), ("on", "off")]
    undone = it.board.status.changes[-1]
    assert undone.because == "trials on the full ranges are better"
    assert "by chance 0.0" in undone.evidence
    assert it.shown.trials < 25  # counted until then
    assert it.shown.full > it.shown.trials / 2
    later = it.run(at(1e-5), 10).study.trials[-10:]
    assert any(trial.params["lr"] < 0.1 for trial in later)


def test_an_edge_at_which_the_best_lie_is_widened(call) -> None:
    table = {"lr": {"low": 1e-3, "high": 1e-1, "choices": []}}
    it = call(new_study(), table=table, full_share=0.0).run(at(3e-4), 60)
    befores = [change.before for change in it.board.status.changes[1:]]
    assert befores
    assert it.board.status.changes[1].because == "the best trials are at the low end of lr"
    assert min(it.narrow_values()) < 1e-3


def test_what_is_fixed_is_neither_taken_back_nor_widened(call) -> None:
    it = call(new_study(), table=GIVEN, fixed=("ranges",)).run(at(1e-6), 40)
    assert (it.shown.state, it.changes) == ("on", [("off", "on")])
    assert it.shown.full < 12  # and nothing has to be proven


def test_a_resume_goes_on_where_it_was(call) -> None:
    study = new_study()
    first = call(study, table=GIVEN).run(at(4e-3), 15)
    study.sampler = Seeded(seed=4)  # the script makes its sampler anew
    second = call(study, table=GIVEN)
    assert msgspec.structs.replace(second.shown) == first.shown
    assert second.changes == []  # recorded once
    second.run(at(4e-3), 10)
    assert all(1e-3 <= lr <= 1e-2 for lr in second.narrow_values())
    assert second.shown.trials == 25


def test_what_was_taken_back_stays_so_after_a_resume(call) -> None:
    study = new_study()
    call(study, table=POOR).run(at(1e-5), 25)
    study.sampler = Seeded(seed=4)
    again = call(study, table=POOR).run(at(1e-5), 10)
    assert again.shown.state == "off"
    assert any(trial.params["lr"] < 0.1 for trial in study.trials[-10:])


def test_the_scripts_sampler_is_what_it_was(call) -> None:
    study = new_study()
    own = study.sampler
    it = call(study, table=GIVEN)
    assert isinstance(study.sampler, NarrowedSampler)
    it.narrowing.end()
    assert study.sampler is own

    it = call(study, table=GIVEN)
    study.sampler = other = RandomSampler()  # by a callback
    it.narrowing.end()
    assert study.sampler is other


def test_without_being_asked_nothing_is_touched(call) -> None:
    study = new_study()
    own = study.sampler
    it = call(study, use=False).run(at(1e-3), 3)
    assert study.sampler is own
    assert it.board.status.ranges is None
    assert not any(key.startswith("scheduler:ranges") for key in study.trials[-1].system_attrs)


def test_a_list_of_its_own_and_several_objectives_are_left_alone(call) -> None:
    study = optuna.create_study(sampler=GridSampler({"lr": [0.1]}))
    it = call(study)
    assert isinstance(study.sampler, GridSampler)
    assert it.board.status.warnings == (
        "ranges are not narrowed: GridSampler goes through a list of its own",
    )
    it = call(optuna.create_study(directions=["minimize", "maximize"]))
    assert it.board.status.warnings == (
        "ranges are not narrowed: the study has several objectives",
    )


def test_by_another_study_whichever_way_that_one_looks(call, tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/old.db"
    old = optuna.create_study(study_name="old", storage=url, direction="maximize")
    for k in range(40):
        lr = 10 ** (-6 + 6 * k / 39)
        old.add_trial(
            optuna.trial.create_trial(
                value=-abs(math.log10(lr) + 5),
                params={"lr": lr},
                distributions={"lr": optuna.distributions.FloatDistribution(1e-6, 1, log=True)},
            )
        )
    warm = WarmStartAsked(storage=url, study_name="old")
    it = call(new_study(), warm=warm).run(at(1e-5), 12)
    assert it.shown.source == "the best quarter of 40 trials of study old"
    assert it.narrow_values()
    assert max(it.narrow_values()) < 1e-2

    gone = WarmStartAsked(storage=url, study_name="gone")
    it = call(new_study(), warm=gone)
    (warning,) = it.board.status.warnings
    assert "has no study named gone; there are: old" in warning
    assert it.shown.state == "waiting"  # for its own trials


def test_what_is_wrong_with_somebodys_ranges_is_said_once(call) -> None:
    table = {
        "lr": {"low": 2.0, "high": 3.0, "choices": []},
        "lrr": {"low": 1.0, "high": 2.0, "choices": []},
    }
    it = call(new_study(), table=table, fixed=("ranges",)).run(at(1e-3), 8)
    assert it.board.status.warnings == (
        "ranges: lr 2 to 3: nothing of that is in the script's own range, which is used as it is",
        "ranges: no trial has had a parameter 'lrr'",
    )


def test_its_user_may_end_it_and_begin_it_again(call) -> None:
    study = new_study()
    own = study.sampler
    it = call(study, use=False)
    with pytest.raises(ValueError, match="20 complete trials"):
        it.narrowing.set("on")
    it.run(at(1e-3), OWN_TRIALS)
    it.narrowing.set("off")
    it.narrowing.set("on")
    assert it.changes == [("off", "on"), ("on", "off"), ("off", "on")]
    assert it.shown.state == "on"
    it.narrowing.end()
    assert study.sampler is own
    with pytest.raises(ValueError, match="say on or off"):
        it.narrowing.set("wide")


def test_what_spoke_against_ranges_is_forgotten_where_their_user_sets_them_again(call) -> None:
    study = new_study()
    it = call(study, table=POOR).run(at(1e-5), 25)
    assert it.shown.state == "off"
    it.narrowing.set("on")
    assert (it.shown.state, it.shown.trials) == ("on", 0)
    it.run(at(1e-5), 2)
    study.sampler = Seeded(seed=4)
    again = call(study, table=POOR)
    assert (again.shown.state, again.shown.trials) == ("on", 2)
