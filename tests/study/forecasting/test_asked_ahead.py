"""Trials that are asked for before they begin, on a real database: what is foreseen is what comes,
and whatever kills come between, each has one end."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.samplers import BruteForceSampler, GridSampler, PartialFixedSampler, TPESampler
from optuna.trial import TrialState

from scheduler.core.model import Trial
from scheduler.study import inside
from scheduler.study.board import counted_as
from scheduler.study.forecasting.foreseen import Foreseen, foresee
from scheduler.study.forecasting.freely import Freely
from scheduler.study.forecasting.space import space_of
from scheduler.study.keeping import resume
from scheduler.study.keeping.in_turn import InTurn
from scheduler.study.keeping.record import WITHDRAWN, Record
from scheduler.study.keeping.storage import DurableStorage

pytestmark = [
    pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning"),
    pytest.mark.filterwarnings("ignore:Fixed parameter:UserWarning"),
]
X, N, KIND = FloatDistribution(0, 1), IntDistribution(1, 9), CategoricalDistribution(["a", "b"])
SPACE = {"x": X, "n": N, "kind": KIND, "one": IntDistribution(4, 4)}


def trial(number: int) -> Trial:
    return Trial(run="r", number=number)


@pytest.fixture
def study(tmp_path: Path) -> optuna.Study:
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    storage = InTurn(inside.cached(DurableStorage(tmp_path / "s.db")))
    sampler = TPESampler(seed=1, n_startup_trials=2)
    return optuna.create_study(storage=storage, sampler=sampler)


@pytest.fixture
def record(study: optuna.Study) -> Record:
    return Record(study, "r", 0)


def fill(study: optuna.Study, count: int = 6) -> None:
    for n in range(count):
        params = {"x": n / count, "n": 1 + n, "kind": "ab"[n % 2], "one": 4}
        study.add_trial(
            optuna.trial.create_trial(params=params, distributions=SPACE, value=float(n))
        )


def ahead(record: Record, number: int, **named: Any) -> tuple[optuna.Trial, Foreseen]:
    asked = record.ask(trial(number), returned=False, candidate=True, **named)
    known = record.study.get_trials(states=(TrialState.COMPLETE,))
    return asked, foresee(asked, space_of([(one.params, one.distributions) for one in known]))


def suggest(asked: optuna.Trial, foreseen: Foreseen) -> dict[str, Any]:
    """As an attempt does: what was drawn ahead is what the sampler's stand-in answers."""

    class StandIn(Freely):
        def sample_independent(self, study: Any, trial: Any, name: str, it: Any) -> Any:
            drawn = foreseen.drawn_for(name, it)
            assert drawn is not None, f"{name} was not foreseen"
            return drawn[0]

    asked.study = inside.with_sampler(asked.study, StandIn(asked.study.sampler))
    return {name: asked._suggest(name, it) for name, it in SPACE.items()}


@pytest.mark.parametrize("freely", [False, True])
def test_a_trial_gets_what_was_foreseen(study: optuna.Study, record: Record, freely: bool) -> None:
    """Drawn together or one by one; nothing is in the study before."""
    fill(study)
    sampler = Freely(study.sampler) if freely else None
    asked, foreseen = ahead(record, 0, sampler=sampler)
    assert bool(asked.relative_params) is not freely
    assert foreseen.drawn == ({"x", "n", "kind"} if freely else frozenset())
    assert foreseen.values.keys() == SPACE.keys()
    assert study.trials[-1].params == {}
    assert suggest(record.begin(asked, trial(0)), foreseen) == foreseen.values


def test_what_somebody_has_fixed_is_foreseen(study: optuna.Study, record: Record) -> None:
    fill(study)
    study.sampler = PartialFixedSampler({"n": 7}, study.sampler)
    study.enqueue_trial({"x": 0.25, "kind": "none of these"})
    _, foreseen = ahead(record, 0)
    assert (foreseen.values["x"], foreseen.values["n"], foreseen.values["one"]) == (0.25, 7, 4)
    assert foreseen.values["kind"] in ("a", "b")
    assert foreseen.drawn_for("n", IntDistribution(1, 10)) is None


def test_a_kill_leaves_candidates_that_are_taken_up(study: optuna.Study, record: Record) -> None:
    """The same trials of Optuna's, neither begun nor put back; one whose attempt was about to begin
    comes back as ever."""
    fill(study)
    for number in range(3):
        asked, _ = ahead(record, number)
    record.begin(asked, trial(2))
    again = Record(study, "r", 0)
    assert [one.number for one in again.candidates()] == [0, 1]
    assert resume.begun(again) == {2}
    assert resume.next_number(again) == 3
    taken, foreseen = ahead(again, 1)
    assert taken.number == 7
    assert len(study.trials) == 9
    assert suggest(again.begin(taken, trial(1)), foreseen) == foreseen.values
    assert resume.begun(again) == {1, 2}


@pytest.mark.parametrize("resumable", [True, False])
def test_what_never_began_is_given_back(
    study: optuna.Study, record: Record, resumable: bool
) -> None:
    """A run that goes on finds it waiting. Else what was enqueued waits for anybody, and the rest
    counts nowhere."""
    study.enqueue_trial({"x": 0.25})
    for number in range(2):
        ahead(record, number)
    record.give_back(resumable=resumable)
    record.give_back(resumable=resumable)
    fixed, own = study.trials
    assert fixed.state == TrialState.WAITING
    assert own.state == (TrialState.WAITING if resumable else TrialState.FAIL)
    assert (WITHDRAWN in own.system_attrs) is not resumable
    assert [one.number for one in record.candidates()] == ([0, 1] if resumable else [])
    assert resume.begun(record) == set()
    asked = record.ask(trial(0), returned=False, candidate=resumable)
    assert asked.suggest_float("x", 0, 1) == 0.25


def test_no_point_of_a_grid_is_lost(study: optuna.Study, record: Record) -> None:
    """One that was given back waits; a second one with the same point does not."""
    study.sampler = GridSampler({"x": [0.25, 0.75]}, seed=1)
    for number in range(3):
        ahead(record, number)
    record.give_back(resumable=False)
    states = [one.state.name for one in study.trials]
    assert sorted(states) == ["FAIL", "WAITING", "WAITING"]
    inside.set_in_optimize_loop(study, False)
    study.optimize(lambda asked: asked.suggest_float("x", 0, 1))
    done = {one.params["x"] for one in study.trials if one.state == TrialState.COMPLETE}
    assert done == {0.25, 0.75}


def test_one_that_cannot_run_is_told_with_its_parameters(
    study: optuna.Study, record: Record
) -> None:
    """So that the sampler learns; it counts as none of the run's trials."""
    fill(study)
    asked, foreseen = ahead(record, 0)
    for _ in range(2):  # a kill came after the parameters, and it is told again
        trial_id = inside.trial_id_of(asked)
        inside.storage_of(study).set_trial_param(trial_id, "x", foreseen.values["x"], X)
    record.tell_unrun(asked.number, "too big", foreseen.params)
    told = study.trials[-1]
    assert (told.state, told.params) == (TrialState.PRUNED, foreseen.values)
    assert counted_as(told) == "unrun"
    assert resume.begun(record) == set()
    assert resume.counts(record)["unrun"] == 1
    assert record.candidates() == []


def test_only_samplers_whose_draws_stand_alone_are_asked_ahead() -> None:
    class Mine(TPESampler):
        pass

    grid = GridSampler({"x": [1.0]})
    assert inside.draws_ahead(grid)
    assert inside.draws_ahead(PartialFixedSampler({}, TPESampler()))
    assert not inside.draws_ahead(PartialFixedSampler({}, BruteForceSampler()))
    assert not inside.draws_ahead(Mine())
