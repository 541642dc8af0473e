"""Verdicts to prune in a study: whose they are, which are not carried out, what that shows."""

from __future__ import annotations

import io
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.pruners import BasePruner
from optuna.trial import FrozenTrial, TrialState

from scheduler.core.model import Trial
from scheduler.machine.runs import RunStatus
from scheduler.strategies.asked import Asked, PruningAsked
from scheduler.study import inside
from scheduler.study.board import Board
from scheduler.study.keeping.record import Record
from scheduler.study.keeping.resume import once_more
from scheduler.study.serving.quota import Quota
from scheduler.study.strategies.changes import Changes
from scheduler.study.strategies.history import CONTROL, VERDICT, History, Reports
from scheduler.study.strategies.ladder import AutoPruner
from scheduler.study.strategies.pruning import Pruning
from scheduler.study.strategies.scene import Scene

pytestmark = pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")
RUN = "train"


class Below(BasePruner):
    """The script's own: prunes what is below *limit*; counts how often it is asked."""

    def __init__(self, limit: float = 0.5) -> None:
        self.limit = limit
        self.asked = 0

    def prune(self, study: optuna.Study, trial: FrozenTrial) -> bool:
        self.asked += 1
        return trial.intermediate_values[trial.last_step or 0] < self.limit


class Life:
    """One life of a host, on a study that may have seen others."""

    def __init__(
        self,
        folder: Path,
        study: optuna.Study | None = None,
        *,
        own: BasePruner | None = None,
        fixed: tuple[str, ...] = (),
        **asked: Any,
    ) -> None:
        if study is None:
            # Hyperband's brackets go by the name.
            study = optuna.create_study(study_name="named", direction="maximize", pruner=own)
        self.study = study
        self.before = study.pruner
        self.said = io.StringIO()
        status = RunStatus(run=RUN, state="running", host_pid=1, updated_at_s=0.0)
        self.board = Board(folder / "status.json", status, self.said)
        self.record = Record(study, RUN, 0)
        self.changes = Changes(RUN, self.board, fixed)
        self.pruning = Pruning(
            Scene(
                asked=Asked(pruning=PruningAsked(**asked)),
                study=study,
                record=self.record,
                quota=Quota(None, None),
                board=self.board,
                changes=self.changes,
                folder=folder,
                has_own_pruner=own is not None,
                has_own_sampler=False,
                earlier=False,
            )
        )
        self.pruning.begin()

    def ask(self, trial: Trial | None = None) -> optuna.Trial:
        number = len(self.study.trials)
        wanted = trial or Trial(run=RUN, number=number)
        return self.record.ask(wanted, returned=trial is not None)

    def tell(self, asked: optuna.Trial, value: float | None, state: TrialState) -> FrozenTrial:
        inside.tell(self.study, asked.number, value, state)
        trial = self.record.frozen(asked.number)
        self.board.count(trial)
        self.pruning.finished(trial)
        return trial

    def run(self, values: Sequence[float], final: float | None = None) -> FrozenTrial:
        """A trial that reports *values* and ends where it is told to, or with the last of them."""
        asked = self.ask()
        for step, value in enumerate(values):
            asked.report(value, step)
            if self.pruning.should_prune(asked):
                return self.tell(asked, None, TrialState.PRUNED)
        return self.tell(asked, values[-1] if final is None else final, TrialState.COMPLETE)

    @property
    def shown(self) -> Any:
        return self.board.status.pruning


@pytest.fixture
def begin(tmp_path: Path) -> Iterator[Any]:
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    yield lambda *given, **asked: Life(tmp_path, *given, **asked)
    optuna.logging.set_verbosity(optuna.logging.INFO)


# -- who decides -----------------------------------------------------------------------------------


def test_the_scripts_own_pruner_else_auto(begin: Any) -> None:
    own = Below()
    chosen = begin(own=own)
    assert chosen.study.pruner is own
    assert chosen.shown.strategy == "the script's Below"
    unchosen = begin()
    assert isinstance(unchosen.study.pruner, AutoPruner)
    named = begin(own=own, strategy="auto")
    assert isinstance(named.study.pruner, AutoPruner)
    for life in (chosen, unchosen, named):
        life.pruning.end()
        assert life.study.pruner is life.before


@pytest.mark.parametrize(
    ("name", "given", "kind", "made"),
    [
        (
            "median",
            {},
            optuna.pruners.MedianPruner,
            {"_n_startup_trials": 5, "_n_warmup_steps": 10, "_interval_steps": 5},
        ),
        ("median", {"interval_steps": 2}, optuna.pruners.MedianPruner, {"_interval_steps": 2}),
        ("percentile", {}, optuna.pruners.PercentilePruner, {"_percentile": 25.0}),
        ("hyperband", {"max_resource": 9}, optuna.pruners.HyperbandPruner, {"_max_resource": 9}),
        ("halving", {}, optuna.pruners.SuccessiveHalvingPruner, {"_reduction_factor": 4}),
        ("patient", {"patience": 3}, optuna.pruners.PatientPruner, {"_patience": 3}),
        ("wilcoxon", {"p_threshold": 0.2}, optuna.pruners.WilcoxonPruner, {"_p_threshold": 0.2}),
        ("none", {}, optuna.pruners.NopPruner, {}),
    ],
)
def test_by_name_it_is_optunas_with_its_arguments(
    begin: Any, name: str, given: dict[str, Any], kind: type, made: dict[str, Any]
) -> None:
    pruner = begin(own=Below(), strategy=name, arguments=given).study.pruner
    assert type(pruner) is kind
    assert {key: vars(pruner)[key] for key in made} == made


def test_patient_puts_off_the_scripts_own_pruner(begin: Any) -> None:
    life = begin(own=Below(), strategy="patient", arguments={"patience": 2}, controls=0.0)
    assert life.run([0.4, 0.3, 0.2, 0.1]).last_step == 3


def test_samplers_see_hyperbands_brackets(begin: Any) -> None:
    """As if the script had chosen it: Optuna's Study asks for the study's own pruner."""
    life = begin(strategy="hyperband", arguments={"max_resource": 27})
    for _ in range(9):
        life.run([0.5] * 5)
    record = inside.live_record(life.ask())
    seen = inside.filtered(life.study, record).get_trials(deepcopy=False)
    assert 0 < len(seen) < 10


def test_with_several_objectives_nobody_prunes_and_it_says_so(begin: Any) -> None:
    study = optuna.create_study(directions=["minimize", "maximize"])
    life = begin(study, strategy="median")
    assert begin(study).board.status.warnings == ()
    assert life.board.status.warnings == ("pruning median needs a study with one objective",)
    assert life.shown is None
    with pytest.raises(NotImplementedError):
        life.pruning.should_prune(life.ask())
    with pytest.raises(ValueError, match="one objective"):
        life.pruning.set("none")


def test_auto_prunes_what_is_hopeless_and_reads_no_trials_for_it(
    begin: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    life = begin(controls=0.0)
    for number in range(12):
        life.run([step * (1 + number / 10) for step in range(40)])
    reads = []
    read_all = life.study._storage.get_all_trials
    monkeypatch.setattr(
        life.study._storage, "get_all_trials", lambda *a, **k: reads.append(a) or read_all(*a, **k)
    )
    hopeless = life.ask()
    said = []
    for step in range(30):
        hopeless.report(-5.0, step)
        reads.clear()
        said.append(life.pruning.should_prune(hopeless))
        assert reads == []
    assert said[0] is False
    assert said[-1] is True
    assert life.run([step * 3.0 for step in range(40)]).state == TrialState.COMPLETE


# -- controls --------------------------------------------------------------------------------------


def test_a_control_runs_on_to_its_end_and_is_asked_about_no_more(begin: Any) -> None:
    own = Below()
    life = begin(own=own, controls=1.0)
    trial = life.run([0.9, 0.4, 0.3, 0.2])
    assert own.asked == 2
    assert trial.state == TrialState.COMPLETE
    assert trial.system_attrs[CONTROL] == {"step": 1, "value": 0.4}
    status = life.board.status
    assert (status.complete, status.pruned) == (1, 0)
    assert (life.shown.controls, life.shown.pruned, life.shown.false) == (1, 0, 1)


def test_a_verdict_that_is_carried_out_is_remembered(begin: Any) -> None:
    life = begin(own=Below(), controls=0.0)
    trial = life.run([0.9, 0.4])
    assert trial.system_attrs[VERDICT] == {"step": 1, "value": 0.4}
    (curve,) = History(life.study, RUN).ours
    assert (curve.state, curve.verdict_at, curve.final) == ("pruned", 1, None)
    assert (life.shown.pruned, life.shown.controls) == (1, 0)
    assert life.shown.most_false_share is None


def test_the_share_that_is_asked_for_becomes_controls(begin: Any) -> None:
    life = begin(own=Below(2.0), controls=0.3, fixed=("pruning",))
    controls = sum(CONTROL in life.run([0.1]).system_attrs for _ in range(200))
    assert 40 <= controls <= 80


def test_a_control_that_comes_back_is_still_one(begin: Any) -> None:
    """After a kill of its host, or for memory: it is another trial of Optuna's then."""
    own = Below()
    life = begin(own=own, controls=1.0)
    asked = life.ask()
    asked.report(math.nan, 3)
    own.limit = math.inf
    asked.report(0.1, 4)
    assert not life.pruning.should_prune(asked)
    again = once_more(Trial(run=RUN, number=asked.number))
    life.record.put_back(asked.number, again)
    later = begin(life.study, own=own, controls=0.0)
    clone = later.ask(again)
    clone.report(0.1, 0)
    own.asked = 0
    assert not later.pruning.should_prune(clone)
    assert own.asked == 0
    later.tell(clone, 0.1, TrialState.COMPLETE)
    (curve,) = History(life.study, RUN).ours
    assert (curve.state, curve.verdict_at) == ("control", 4)


def test_a_value_that_is_no_number_can_be_marked(begin: Any) -> None:
    class Always(BasePruner):
        def prune(self, study: optuna.Study, trial: FrozenTrial) -> bool:
            return True

    trial = begin(own=Always(), controls=1.0).run([math.nan], 0.0)
    assert trial.system_attrs[CONTROL] == {"step": 0, "value": "nan"}


def test_what_the_pruner_has_not_ended_is_not_counted_as_pruned_by_it(begin: Any) -> None:
    """A trial too big for the device, an attempt that comes back, and an objective that prunes by
    itself. Trials that never report are left alone, whatever the script's pruner says of them."""
    life = begin(own=Below(), controls=1.0)
    too_big, back = life.ask(), life.ask()
    life.record.tell_capacity(too_big.number, "too big")
    life.pruning.finished(life.record.frozen(too_big.number))
    life.record.put_back(back.number, once_more(Trial(run=RUN, number=back.number)))
    by_itself = life.ask()
    by_itself.report(0.9, 0)
    life.tell(by_itself, None, TrialState.PRUNED)
    silent = life.ask()
    life.tell(silent, 1.0, TrialState.COMPLETE)
    states = [curve.state for curve in History(life.study, RUN).ours]
    assert states == ["failed", "complete"]
    assert (life.shown.pruned, life.shown.controls) == (0, 0)
    assert life.shown.sentence is None


def test_trials_of_another_run_are_known_and_not_counted(begin: Any) -> None:
    life = begin(own=Below(), controls=0.0)
    life.run([0.4])
    life.study.add_trial(
        optuna.trial.create_trial(value=1.0, intermediate_values={0: 1.0}, system_attrs={})
    )
    history = History(life.study, RUN)
    assert (len(history.all), len(history.ours)) == (2, 1)


def test_results_that_are_added_while_it_runs_are_known_from_the_next_end_on(begin: Any) -> None:
    life = begin(controls=0.0)
    for end in range(12):
        curve = {step: float(step * (10 + end)) for step in range(40)}
        life.study.add_trial(
            optuna.trial.create_trial(value=curve[39], intermediate_values=curve, system_attrs={})
        )
    assert life.run([-9.0] * 39, 0.0).state == TrialState.COMPLETE
    life.pruning.others_were_added()
    life.run([10.0 * step for step in range(40)])
    assert life.run([-9.0] * 39, 0.0).state == TrialState.PRUNED


def test_a_running_curve_grows_as_it_would_be_made_anew() -> None:
    reports = Reports()
    reported: dict[int, float] = {}
    for step in (3, 5, 4, 9, 11):
        reported[step] = float(step)
        grown = reports.curve(7, reported)
        assert grown == Reports().curve(7, reported)
        assert reports.curve(7, reported) is grown
    assert grown.steps == (3, 4, 5, 9, 11)


# -- the ladder ------------------------------------------------------------------------------------


def wrong_verdicts(life: Life, count: int = 12) -> None:
    """Trials that start low and end best; the others end low."""
    for _ in range(count):
        life.run([0.4, 0.45], 1.0)
        life.run([0.6, 0.6], 0.6)


def test_false_verdicts_make_pruning_milder_and_a_resume_goes_on_there(begin: Any) -> None:
    own = Below()
    life = begin(own=own, controls=1.0)
    wrong_verdicts(life)
    change = life.board.status.changes[0]
    assert (change.what, change.by, change.before) == ("pruning", "scheduler", "default")
    assert change.after == "default, 1 notch milder"
    assert "ended among the best" in change.because
    assert "confidence" in change.evidence
    assert life.study.pruner is not own
    assert life.shown.notch == len(life.board.status.changes)
    notch = life.shown.notch
    life.pruning.end()
    later = begin(life.study, own=own, controls=1.0)
    assert later.shown.notch == notch
    assert later.study.pruner is not own
    assert later.board.status.changes == ()


def test_the_last_notch_is_none(begin: Any) -> None:
    life = begin(own=Below(2.0), controls=1.0, strategy="halving")
    life.pruning.set("halving, 9 notches milder")
    assert life.shown.strategy == "none"
    assert life.run([0.1] * 30, 0.0).state == TrialState.COMPLETE


def test_where_it_is_fixed_it_is_only_said(begin: Any) -> None:
    own = Below()
    life = begin(own=own, controls=1.0, fixed=("pruning",))
    wrong_verdicts(life)
    assert life.study.pruner is own
    assert life.board.status.changes == ()
    (warning,) = life.board.status.warnings
    assert "pruning is kept as it is, as you asked" in warning


def test_the_user_sets_it_while_it_runs_and_back(begin: Any) -> None:
    life = begin(own=(own := Below()), controls=1.0)
    with life.changes.by_you("set by you", again=False) as made:
        life.pruning.set("median")
    assert isinstance(life.study.pruner, optuna.pruners.MedianPruner)
    assert [(one.before, one.after, one.by) for one in made] == [("default", "median", "you")]
    life.pruning.set(made[0].before)
    assert life.study.pruner is own
    for wrong in ("median, milder", "best", ""):
        with pytest.raises(ValueError, match="is no pruning"):
            life.pruning.set(wrong)


def test_what_was_set_holds_again_at_the_notch_that_it_had_come_to(begin: Any) -> None:
    """A resume sets it anew, as the user had; the ladder has moved meanwhile."""
    life = begin(own=Below())
    life.pruning.set("median")
    life.pruning.set("median, 1 notch milder")
    life.pruning.end()
    later = begin(life.study, own=Below())
    assert later.shown.strategy == "the script's Below"
    with later.changes.by_you("set by you", again=True):
        later.pruning.set("median")
    assert later.shown.notch == 1


def test_what_it_says_for_people(begin: Any) -> None:
    life = begin(own=Below(), controls=1.0)
    for _ in range(5):
        life.run([0.9, 0.9], 0.9)
    for _ in range(2):
        life.run([0.4, 0.1], 0.1)
    assert "0 of 2 controls would have mattered, at most" in life.shown.sentence
    assert life.shown.sentence.startswith("pruning saved 0 % of the time; ")


def test_the_first_verdicts_of_auto_are_controls_more_often(begin: Any) -> None:
    """Not those of a pruner that somebody chose: who did knows it to suit the study."""

    def controls(**named: Any) -> int:
        life = begin(controls=0.01, fixed=("pruning",), **named)
        for end in range(12):
            life.run([float(step * (10 + end)) for step in range(40)])
        ended = [life.run([-9.0 * step for step in range(40)], -1.0) for _ in range(20)]
        return sum(CONTROL in trial.system_attrs for trial in ended)

    assert controls() >= 2
    assert controls(own=optuna.pruners.MedianPruner()) == 0
