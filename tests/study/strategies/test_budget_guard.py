"""The budget's decisions on a real study: once, kept over a kill, and only where they are wanted.

A life ends here by dropping what it holds: what the next one knows is in the study and the folder.
"""

from __future__ import annotations

import io
from pathlib import Path

import msgspec
import optuna
import pytest
from optuna.trial import TrialState

from scheduler.core.model import Trial
from scheduler.machine import changes
from scheduler.machine.runs import RunStatus, write_whole
from scheduler.strategies.asked import Asked, BudgetAsked
from scheduler.strategies.wishes import ANSWERS, FILE, Answers, Key, Wishes
from scheduler.study import inside
from scheduler.study.board import Board, best_of
from scheduler.study.keeping.record import CAPACITY, Record
from scheduler.study.serving.quota import Quota
from scheduler.study.strategies.budget import BudgetGuard
from scheduler.study.strategies.changes import Changes
from scheduler.study.strategies.scene import Scene
from scheduler.study.strategies.wishing import Wishing


class Life:
    """One life of a run's host, as far as its budget is concerned."""

    def __init__(self, study: optuna.Study, folder: Path, asked: Asked, n_trials: int | None):
        self.study = study
        self.record = Record(study, "r", 0)
        counted = sum(one.state.is_finished() for one, _ in self.record.ours())
        status = RunStatus(run="r", state="running", host_pid=1, updated_at_s=1.0, complete=counted)
        self.board = Board(folder / "status.json", status, io.StringIO())
        self.quota = Quota(n_trials, None, begun=len(self.record.ours()))
        self.scene = Scene(
            asked=asked,
            study=study,
            record=self.record,
            quota=self.quota,
            board=self.board,
            changes=Changes("r", self.board, asked.fixed),
            folder=folder,
            has_own_pruner=False,
            has_own_sampler=False,
            earlier=bool(counted),
        )
        self.guard = BudgetGuard(self.scene)
        keys: tuple[Key, ...] = ("n_trials", "extend_to", "target", "floor", "patience")
        self.wishing = Wishing(
            self.scene, {key: lambda value, k=key: self.guard.set(k, value) for key in keys}
        )
        self.wishing.begin()
        self.guard.begin()

    def ends(self, *values: float | None) -> Life:
        """Trials of the run end; None: one that is pruned."""
        for value in values:
            number = len(self.study.get_trials(deepcopy=False))
            trial = self.record.ask(Trial(run="r", number=number), returned=False)
            state = TrialState.PRUNED if value is None else None
            inside.tell(self.study, trial.number, value, state)
            frozen = self.record.frozen(trial.number)
            self.board.count(frozen)
            self.guard.finished(frozen)
        return self


class Run:
    """A run with a study and a folder that outlive its hosts. *asked*: of its budget."""

    def __init__(self, folder: Path, **asked: object) -> None:
        self.folder = folder
        self.study = optuna.create_study(direction="maximize")
        self.n_trials: int | None = 4
        self.asked = Asked(budget=BudgetAsked(**asked))

    def life(self) -> Life:
        return Life(self.study, self.folder, self.asked, self.n_trials)

    def recorded(self) -> list[tuple[str, str, str]]:
        found, _ = changes.read(self.folder)
        return [(one.what, one.after, one.by) for one in found]

    def wish(self, **values: str) -> None:
        """As ``scheduler set`` writes it."""
        path = self.folder / FILE
        before = msgspec.json.decode(path.read_bytes(), type=Wishes) if path.exists() else Wishes()
        write_whole(path, before.merged(values, "set by you"))

    def answers(self) -> dict[str, str]:
        found = msgspec.json.decode((self.folder / ANSWERS).read_bytes(), type=Answers)
        return {key: one.said for key, one in found.of.items()}


def test_the_run_ends_once_a_trial_is_as_good_as_the_target(tmp_path: Path) -> None:
    run = Run(tmp_path, target=0.9)
    life = run.life().ends(0.5)
    assert life.quota.stopped is None
    life.ends(0.9, 0.95)
    assert life.quota.stopped == "trial 1 is as good as the target, 0.9"
    shown = life.board.status.budget
    assert shown is not None
    assert shown.sentence == "no more trials start: trial 1 is as good as the target, 0.9"
    assert run.recorded() == [("budget", "ends by its target, 0.9", "scheduler")]


def test_a_resume_stops_again_and_records_nothing_new(tmp_path: Path) -> None:
    run = Run(tmp_path, target=0.9)
    run.life().ends(0.95)
    assert run.life().quota.stopped is not None
    assert len(run.recorded()) == 1


def test_what_the_study_knew_before_counts_for_the_target(tmp_path: Path) -> None:
    run = Run(tmp_path, target=0.9)
    run.study.add_trial(optuna.trial.create_trial(value=0.97))
    assert run.life().quota.stopped == "trial 0 is as good as the target, 0.9"


def test_patience_counts_what_this_run_has_finished(tmp_path: Path) -> None:
    """Better than what the study knew before is what an improvement has to be."""
    run = Run(tmp_path, patience=2)
    for value in (0.5, 0.1, 0.1):
        run.study.add_trial(optuna.trial.create_trial(value=value))
    life = run.life().ends(0.4)
    assert life.quota.stopped is None
    assert run.life().ends(None).quota.stopped == "2 finished trials brought nothing better"


def test_what_did_not_fit_the_device_says_nothing(tmp_path: Path) -> None:
    run = Run(tmp_path, patience=1)
    life = run.life().ends(0.5)
    trial = life.record.ask(Trial(run="r", number=1), returned=False)
    life.record.tell_capacity(trial.number, "too big")
    frozen = life.record.frozen(trial.number)
    assert CAPACITY in frozen.system_attrs
    life.guard.finished(frozen)
    assert life.quota.stopped is None


def test_what_breaks_a_constraint_is_not_good_enough(tmp_path: Path) -> None:
    run = Run(tmp_path, target=0.9)
    life = run.life()
    trial = life.record.ask(Trial(run="r", number=0), returned=False)
    trial.set_constraint("size", 1.0)
    inside.tell(run.study, trial.number, 0.95, None)
    life.guard.finished(life.record.frozen(trial.number))
    assert best_of(run.study) is None
    assert life.quota.stopped is None


def test_it_goes_on_once_and_ends_there(tmp_path: Path) -> None:
    run = Run(tmp_path, floor=0.9)
    life = run.life().ends(0.1, 0.1, 0.1)
    assert life.quota.n_trials == 4
    life.ends(0.1)
    assert (life.quota.n_trials, life.board.status.n_trials) == (6, 6)
    life.ends(0.1, 0.1)
    assert (life.quota.n_trials, life.quota.stopped) == (6, None)
    assert run.recorded() == [("budget", "up to 6 trials", "scheduler")]


def test_it_goes_on_once_over_all_lives(tmp_path: Path) -> None:
    run = Run(tmp_path, floor=0.9)
    run.life().ends(0.1, 0.1, 0.1, 0.1)
    life = run.life()
    assert (life.quota.n_trials, life.board.status.n_trials) == (6, 6)
    life.ends(0.1, 0.1)
    assert run.life().quota.n_trials == 6
    assert len(run.recorded()) == 1


def test_what_was_not_decided_before_a_kill_is_decided_after_it(tmp_path: Path) -> None:
    run = Run(tmp_path)
    run.life().ends(0.1, 0.1, 0.1, 0.1)
    run.asked = Asked(budget=BudgetAsked(floor=0.9))
    assert run.life().quota.n_trials == 6


def test_what_was_decided_but_not_recorded_before_a_kill_is_recorded_after_it(
    tmp_path: Path,
) -> None:
    run = Run(tmp_path, floor=0.9)
    run.life().ends(0.1, 0.1, 0.1, 0.1)
    (tmp_path / changes.FILE).unlink()
    assert run.life().quota.n_trials == 6
    assert run.recorded() == [("budget", "up to 6 trials", "scheduler")]


def test_beyond_its_number_of_trials_it_ends_when_the_floor_is_reached(tmp_path: Path) -> None:
    run = Run(tmp_path, floor=0.9)
    life = run.life().ends(0.1, 0.1, 0.1, 0.1, 0.95)
    assert life.quota.stopped == "trial 4 is as good as the floor, 0.9"


def test_where_the_floor_is_reached_nothing_happens(tmp_path: Path) -> None:
    run = Run(tmp_path, floor=0.9)
    life = run.life().ends(0.95, 0.1, 0.1, 0.1)
    assert (life.quota.n_trials, life.quota.stopped, run.recorded()) == (4, None, [])


def test_without_wishes_nothing_is_shown_and_nothing_changes(tmp_path: Path) -> None:
    run = Run(tmp_path)
    life = run.life().ends(0.1, 0.95, None, 0.1)
    assert (life.quota.n_trials, life.quota.stopped) == (4, None)
    assert life.board.status.budget is None
    assert life.board.status.warnings == ()


def test_a_fixed_budget_only_says_what_it_would_do(tmp_path: Path) -> None:
    run = Run(tmp_path, target=0.9)
    run.asked = msgspec.structs.replace(run.asked, fixed=("budget",))
    life = run.life().ends(0.95, 0.96)
    assert life.quota.stopped is None
    assert life.board.status.warnings == (
        "trial 0 is as good as the target, 0.9; the budget is fixed, so the run goes on as it was",
    )
    assert run.recorded() == []


def test_a_floor_without_a_number_of_trials_does_nothing_and_says_so(tmp_path: Path) -> None:
    run = Run(tmp_path, floor=0.9)
    run.n_trials = None
    life = run.life().ends(0.1)
    (warning,) = life.board.status.warnings
    assert warning.startswith("--floor does nothing: the run has no number of trials")


def test_several_objectives_have_no_budget(tmp_path: Path) -> None:
    run = Run(tmp_path, target=0.9)
    run.study = optuna.create_study(directions=["minimize", "maximize"])
    life = run.life()
    assert life.quota.stopped is None
    assert "several objectives" in life.board.status.warnings[0]


# -- what its user sets ----------------------------------------------------------------------------


def test_what_is_set_while_it_goes_on_holds_and_is_recorded_as_the_users(tmp_path: Path) -> None:
    run = Run(tmp_path)
    life = run.life().ends(0.5)
    run.wish(target="0.4", n_trials="9")
    life.wishing.look()
    assert life.quota.stopped == "trial 0 is as good as the target, 0.4"
    assert life.quota.n_trials == 9
    assert run.answers() == {
        "n_trials": "budget: 4 trials -> 9 trials",
        "target": "budget: no target -> target 0.4; budget: goes on to 9 trials -> ends by its"
        " target, 0.4",
    }


def test_it_holds_in_later_lives_and_is_recorded_once(tmp_path: Path) -> None:
    run = Run(tmp_path)
    run.wish(n_trials="9", patience="3")
    run.life()
    assert run.life().quota.n_trials == 9
    assert run.recorded() == [("budget", "9 trials", "you"), ("budget", "patience 3", "you")]


def test_a_target_that_is_taken_back_lets_it_go_on(tmp_path: Path) -> None:
    run = Run(tmp_path, target=0.4)
    life = run.life().ends(0.5)
    assert life.quota.stopped is not None
    run.wish(target="")
    life.wishing.look()
    assert life.quota.stopped is None
    assert run.life().quota.stopped is None


def test_a_stop_of_the_scripts_own_is_not_taken_back(tmp_path: Path) -> None:
    run = Run(tmp_path, target=0.4)
    life = run.life()
    life.quota.stop("study.stop() was called")
    life.ends(0.5)
    run.wish(target="")
    life.wishing.look()
    assert life.quota.stopped == "study.stop() was called"


def test_going_on_that_is_undone_does_not_come_back(tmp_path: Path) -> None:
    run = Run(tmp_path, floor=0.9)
    life = run.life().ends(0.1, 0.1, 0.1, 0.1)
    run.wish(fixed="budget", n_trials="4", floor="")
    life.wishing.look()
    assert life.quota.n_trials == 4
    assert run.life().quota.n_trials == 4


def test_a_number_that_is_set_later_is_the_one_that_holds(tmp_path: Path) -> None:
    run = Run(tmp_path, floor=0.9)
    life = run.life().ends(0.1, 0.1, 0.1, 0.1)
    run.wish(n_trials="5")
    life.wishing.look()
    assert life.quota.n_trials == 5
    assert run.life().ends(0.1).quota.n_trials == 5


def test_what_cannot_be_set_is_answered(tmp_path: Path) -> None:
    run = Run(tmp_path)
    run.study = optuna.create_study(directions=["minimize", "maximize"])
    run.wish(target="0.5", n_trials="7")
    life = run.life()
    assert life.quota.n_trials == 7
    assert run.answers()["target"] == "target is not set: there are several objectives"


def test_a_file_that_makes_no_sense_is_said_and_changes_nothing(tmp_path: Path) -> None:
    (tmp_path / FILE).write_text("{")
    life = Run(tmp_path).life()
    assert FILE in life.board.status.warnings[0]
    assert life.quota.n_trials == 4


@pytest.mark.parametrize("fixed", [(), ("pruning",)])
def test_limits_that_are_set_are_the_runs(tmp_path: Path, fixed: tuple[str, ...]) -> None:
    from scheduler.core.model import Run as Joining

    run = Run(tmp_path)
    run.asked = msgspec.structs.replace(run.asked, fixed=fixed)
    life = run.life()
    joining = Joining(id="r", max_attempts=2)
    assert life.wishing.applied_to(joining) == msgspec.structs.replace(joining, fixed=fixed)
    run.wish(max_trials="3", fixed="concurrency")
    life.wishing.look()
    assert life.wishing.applied_to(joining) == Joining(
        id="r", max_attempts=3, fixed=("concurrency",)
    )
    assert ("concurrency", "3 at once", "you") in run.recorded()
