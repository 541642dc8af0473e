"""What is written in the study, on a real database: each step can be repeated after a kill."""

from __future__ import annotations

from pathlib import Path

import optuna
import pytest
from optuna.storages import RetryHeartbeatStaleTrialCallback
from optuna.trial import TrialState

from scheduler.core.model import Trial
from scheduler.study import inside
from scheduler.study.board import Board
from scheduler.study.keeping import resume
from scheduler.study.keeping.in_turn import InTurn
from scheduler.study.keeping.outcome import Outcome, write_down
from scheduler.study.keeping.record import CAPACITY, HISTORY, MARK, PUT_BACK, Record
from scheduler.study.keeping.storage import DurableStorage
from scheduler.study.serving.finish import Finisher

pytestmark = [
    pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning"),
    pytest.mark.filterwarnings("ignore:.constraints_func.:FutureWarning"),
]


def trial(number: int, **fields: int) -> Trial:
    return Trial(run="r", number=number, **fields)


@pytest.fixture
def study(tmp_path: Path) -> optuna.Study:
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    storage = InTurn(inside.cached(DurableStorage(tmp_path / "s.db")))
    return optuna.create_study(storage=storage, sampler=optuna.samplers.RandomSampler(seed=1))


@pytest.fixture
def record(study: optuna.Study) -> Record:
    return Record(study, "r", 0)


def states(study: optuna.Study) -> list[str]:
    return [found.state.name for found in study.trials]


def test_each_trial_is_asked_as_what_it_is(study: optuna.Study, record: Record) -> None:
    """The user's enqueued ones first and in order, then new ones; all bear our mark."""
    study.enqueue_trial({"x": 0.5})
    study.enqueue_trial({"x": 0.75})
    drawn = [record.ask(trial(n), returned=False).suggest_float("x", 0, 1) for n in range(3)]
    assert drawn[:2] == [0.5, 0.75]
    assert states(study) == ["RUNNING"] * 3
    assert [offered.number for _, offered in record.ours()] == [0, 1, 2]


def test_other_runs_and_lines_are_not_ours(study: optuna.Study, record: Record) -> None:
    """Two runs on one study, or two calls of one script, do not take each other's trials."""
    record.ask(trial(0), returned=False)
    Record(study, "r", 1).ask(trial(0), returned=False)
    Record(study, "other", 0).ask(Trial(run="other", number=0), returned=False)
    study.ask()
    assert [found.number for found, _ in record.ours()] == [0]


def test_put_back_makes_one_waiting_clone(study: optuna.Study, record: Record) -> None:
    """FAIL and a clone with the same parameters and Optuna's own attributes, however often it is
    repeated; asked for, the clone runs with these parameters and the new promise."""
    asked = record.ask(trial(0), returned=False)
    x = asked.suggest_float("x", 0, 1)
    asked.set_user_attr("k", 1)
    again = trial(0, contentions=1)
    for _ in range(3):
        record.put_back(asked.number, again)
    assert states(study) == ["FAIL", "WAITING"]
    clone = record.ask(again, returned=True)
    assert clone.number == 1
    assert clone.suggest_float("x", 0, 1) == x
    assert clone.user_attrs == {"k": 1}
    frozen = study.trials[1]
    assert frozen.system_attrs["failed_trial"] == 0
    assert frozen.system_attrs[HISTORY] == [0]
    assert RetryHeartbeatStaleTrialCallback.retried_trial_number(frozen) == 0
    assert PUT_BACK not in frozen.system_attrs


def test_history_grows_with_every_return(study: optuna.Study, record: Record) -> None:
    """The first number stays the one to look for a checkpoint by."""
    number = record.ask(trial(0), returned=False).number
    for attempt in range(1, 4):
        again = trial(0, contentions=attempt)
        record.put_back(number, again)
        number = record.ask(again, returned=True).number
    assert study.trials[-1].system_attrs[HISTORY] == [0, 1, 2]
    assert RetryHeartbeatStaleTrialCallback.retried_trial_number(study.trials[-1]) == 0


def test_a_clone_is_not_taken_for_a_new_trial(study: optuna.Study, record: Record) -> None:
    """What waits to come back is left alone by an ask for a new one, and by the user's queue."""
    asked = record.ask(trial(0), returned=False)
    record.put_back(asked.number, trial(0, overruns=1))
    study.enqueue_trial({"x": 0.5})
    assert record.ask(trial(1), returned=False).suggest_float("x", 0, 1) == 0.5
    assert record.ask(trial(2), returned=False).number == 3
    assert record.ask(trial(0, overruns=1), returned=True).number == 1


def numbers(trials: list[Trial]) -> list[int]:
    return [one.number for one in trials]


def taken_up(record: Record, tmp_path: Path) -> list[Trial]:
    board = Board.__new__(Board)
    board.__dict__.update(count=lambda *_: None, say=lambda *_: None, clear=lambda: None)
    board.__dict__["set"] = lambda **_: None
    finisher = Finisher(record, [], board)
    return resume.take_up(record, finisher, tmp_path / "outcomes", resumed=True)


@pytest.mark.parametrize("killed_after", ["ask", "attribute", "fail", "clone"])
def test_a_kill_between_any_two_steps_of_putting_back(
    study: optuna.Study, record: Record, tmp_path: Path, killed_after: str
) -> None:
    """A resume comes to the same: one FAIL, one clone that waits, and again when it is repeated."""
    asked = record.ask(trial(0), returned=False)
    x = asked.suggest_float("x", 0, 1)
    steps = ["ask", "attribute", "fail", "clone"]
    done = steps[: steps.index(killed_after) + 1]
    if "attribute" in done:
        storage = inside.storage_of(study)
        storage.set_trial_system_attr(asked._trial_id, PUT_BACK, {"run": "r", "number": 0})
    if "fail" in done:
        inside.tell(study, 0, None, TrialState.FAIL)
    if "clone" in done:
        record.make_clone(record.frozen(0))
    for _ in range(2):
        assert numbers(taken_up(record, tmp_path)) == [0]
        assert states(study) == ["FAIL", "WAITING"]
    assert study.trials[1].params == {"x": x}
    assert resume.begun(record) == {0}
    assert resume.counts(record)["retried"] == 1


def test_a_kill_between_claim_and_running(
    study: optuna.Study, record: Record, tmp_path: Path
) -> None:
    """The user's enqueued trial was marked and not yet RUNNING: it waits as ours, once."""
    study.enqueue_trial({"x": 0.5})
    frozen = study.trials[0]
    inside.storage_of(study).set_trial_system_attr(frozen._trial_id, MARK, record._marked(trial(0)))
    assert taken_up(record, tmp_path) == [trial(0)]
    assert record.ask(trial(0), returned=True).suggest_float("x", 0, 1) == 0.5
    assert states(study) == ["RUNNING"]


def test_an_outcome_that_was_not_told(study: optuna.Study, record: Record, tmp_path: Path) -> None:
    """It is told; one of a failure is put back, since its verdict is not known."""
    for number in range(2):
        record.ask(trial(number), returned=False)
    (tmp_path / "outcomes").mkdir()
    complete = Outcome(number=0, state="complete", value=2.5)
    write_down(complete, tmp_path / "outcomes" / "0-0.json")
    write_down(Outcome(number=1, state="failed"), tmp_path / "outcomes" / "0-1.json")
    assert numbers(taken_up(record, tmp_path)) == [1]
    assert states(study) == ["COMPLETE", "FAIL", "WAITING"]
    assert study.trials[0].value == 2.5
    assert list((tmp_path / "outcomes").iterdir()) == []


def test_capacity_is_told_as_pruned(study: optuna.Study, record: Record) -> None:
    """So that TPE learns of it, with the reason, whatever the sampler makes of it."""

    def stumbles(frozen: optuna.trial.FrozenTrial) -> tuple[float]:
        return (frozen.user_attrs["never set"],)

    study.sampler = optuna.samplers.TPESampler(constraints_func=stumbles)
    asked = record.ask(trial(0), returned=False)
    record.tell_capacity(asked.number, "it needs 30 GiB")
    assert states(study) == ["PRUNED"]
    assert study.trials[0].system_attrs[CAPACITY] == "it needs 30 GiB"
    assert resume.counts(record)["capacity"] == 1


def test_a_trial_that_waits_for_more_memory_than_it_came_back_with_is_still_itself(
    record: Record,
) -> None:
    """What it is promised was forecast anew while it waited."""
    first = record.ask(trial(0), returned=False)
    x = first.suggest_float("x", 0, 1)
    record.put_back(first.number, trial(0, overruns=1, want_bytes=5))
    newer = trial(0, overruns=1, want_bytes=9)
    clone = record.ask(newer, returned=True)
    assert clone.suggest_float("x", 0, 1) == x
    assert not record.study.get_trials(states=(TrialState.WAITING,))
    assert record.study.trials[clone.number].system_attrs[MARK]["trial"]["want_bytes"] == 9
