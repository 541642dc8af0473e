"""Candidates of a real study: their wishes, and what becomes of those that fit nowhere."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.distributions import FloatDistribution, IntDistribution
from optuna.trial import TrialState

from probes.reading import Device
from scheduler.core.actions import Refuse, Settle
from scheduler.core.candidates import DRAW_FREELY_AFTER, LOOKAHEAD, STOP_AFTER
from scheduler.core.model import Attempt, Budget, Run, Trial, Verdict
from scheduler.machine import peaks
from scheduler.machine.peaks import Peak
from scheduler.machine.runs import RunSpec, RunStatus
from scheduler.machine.state import StateFolder
from scheduler.study import inside
from scheduler.study.board import Board
from scheduler.study.forecasting.ahead import Ahead
from scheduler.study.forecasting.history import History, Shown
from scheduler.study.keeping import resume
from scheduler.study.keeping.in_turn import InTurn
from scheduler.study.keeping.record import UNRUN, Record
from scheduler.study.keeping.storage import DurableStorage
from scheduler.study.serving.finish import Finisher

pytestmark = pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")
MIB = 1 << 20
SPACE = {"batch": IntDistribution(8, 256, log=True), "rate": FloatDistribution(0, 1)}
HOST = Device(key="host", kind="host", name="", total_bytes=1 << 34, source="", because="")
BUDGETS = {"host": Budget(device=HOST, reserve_bytes=0, promise_bytes=1 << 30, max_attempts=None)}


def needed(batch: int) -> int:
    return (100 + 4 * batch) * MIB


def trial(number: int) -> Trial:
    return Trial(run="r", number=number)


class Bench:
    """A study in which memory depends on the batch size, and all that has to do with it."""

    def __init__(self, folder: Path, *, finished: int = 8, keeps_promise: bool = False) -> None:
        storage = InTurn(inside.cached(DurableStorage(folder / "s.db")))
        sampler = optuna.samplers.TPESampler(seed=1, n_startup_trials=2)
        self.study = optuna.create_study(storage=storage, sampler=sampler)
        for n in range(finished):
            params = {"batch": 8 << (n % 5), "rate": n / 10}
            self.study.add_trial(
                optuna.trial.create_trial(params=params, distributions=SPACE, value=float(n))
            )
        for n in range(24):
            batch = 8 << (n % 6)
            params = {"batch": batch, "rate": (0.61 * n) % 1}
            peaks.append(folder, Peak(line=0, kind="host", params=params, bytes=needed(batch)))
        spec = RunSpec(
            run=Run(id="r"), kind="script", target="-", folder=str(folder), created_at_s=0.0
        )
        self.record = Record(self.study, "r", 0)
        self.board = Board(
            folder / "status.json", RunStatus(run="r", state="running", host_pid=1, updated_at_s=0)
        )
        self.called: list[int] = []
        finisher = self.finisher = Finisher(
            self.record, (lambda study, told: self.called.append(told.number),), self.board
        )
        history = History(StateFolder(folder), folder, spec, 0)
        self.ahead = Ahead(self.record, history, finisher, lambda: keeps_promise)
        finisher.when_final = self.ahead.finished
        self.ahead.begin(BUDGETS)

    def ask(self, number: int) -> tuple[Trial, dict[str, Any], dict[str, Any]]:
        """The trial as it is offered, its parameters, and those that were drawn together."""
        asked = self.ahead.ask(trial(number))
        offered = self.ahead.took(trial(number), asked)
        return offered, asked.foreseen.values, asked.asked.relative_params

    def refuse(self, offered: Trial) -> Trial | None:
        refuse = Refuse(
            run="r", trial=offered.number, want_bytes=2, most_bytes=1, because="wants 2, has 1"
        )
        return self.ahead.refused(offered, refuse)


@pytest.fixture(autouse=True)
def _quiet() -> None:
    optuna.logging.set_verbosity(optuna.logging.WARNING)


def test_the_wish_follows_the_parameters(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    assert bench.ahead.asks_first
    assert bench.ahead.room == LOOKAHEAD
    for number in range(4):
        offered, params, _ = bench.ask(number)
        assert offered.want_bytes is not None
        assert 1 <= offered.want_bytes / needed(params["batch"]) < 1.5


def test_nothing_is_asked_ahead_before_a_trial_has_shown_its_parameters(tmp_path: Path) -> None:
    """Then what all need is wanted; the default where that is more than any device has."""
    bench = Bench(tmp_path, finished=0)
    assert (bench.ahead.asks_first, bench.ahead.room) == (False, 1)
    usual = bench.ahead.want_bytes()
    assert usual is not None
    assert usual >= needed(256)
    again = bench.refuse(Trial(run="r", number=0, want_bytes=usual))
    assert again == trial(0)
    assert bench.ahead.want_bytes() is None


def test_a_fixed_promise_is_not_forecast(tmp_path: Path) -> None:
    bench = Bench(tmp_path, keeps_promise=True)
    assert (bench.ahead.asks_first, bench.ahead.want_bytes()) == (False, None)


def test_who_waits_has_another_wish_when_something_was_learned(tmp_path: Path) -> None:
    """Twice as much is needed as ever before: the data have grown."""
    bench = Bench(tmp_path)
    waiting, params, _ = bench.ask(0)
    attempt = Attempt(
        id="r/9.1", trial=trial(9), device="host", promise_bytes=1, cap_bytes=None, started_at_s=0.0
    )
    verdict = Verdict(kind="finished", because="")
    newer = waiting
    for _ in range(4):
        held = 2 * needed(params["batch"])
        end = Settle(attempt=attempt, verdict=verdict, settlement="done", peak_bytes=held)
        for one in bench.ahead.learn(end, Shown(params=params), [newer]):
            newer = one
    assert waiting.want_bytes is not None
    assert newer.want_bytes is not None
    assert newer.want_bytes > 1.2 * waiting.want_bytes


def test_who_comes_back_is_offered_what_is_forecast_by_then(tmp_path: Path) -> None:
    """Twice as much is needed as ever before; what was learned since it came back counts too."""
    bench = Bench(tmp_path)
    params = {"batch": 64, "rate": 0.5}
    again = Trial(run="r", number=9, want_bytes=MIB, overruns=1, attempts=1)
    came = bench.ahead.returned(again, Shown(params=params))
    assert came.want_bytes is not None
    assert 1 <= came.want_bytes / needed(64) < 1.5
    other = Attempt(
        id="r/8.1", trial=trial(8), device="host", promise_bytes=1, cap_bytes=None, started_at_s=0.0
    )
    waiting = [came]
    for _ in range(4):
        end = Settle(
            attempt=other,
            verdict=Verdict(kind="finished", because=""),
            settlement="done",
            peak_bytes=2 * needed(64),
        )
        waiting = bench.ahead.learn(end, Shown(params=params), waiting) or waiting
    assert waiting[0].want_bytes is not None
    assert waiting[0].want_bytes > 1.2 * came.want_bytes
    bench.ahead.start(waiting[0], returned=True)
    end = Settle(attempt=other, verdict=Verdict(kind="finished", because=""), settlement="done")
    assert bench.ahead.learn(end, Shown(params=params), waiting) == []


def test_what_an_earlier_life_put_back_is_offered_as_it_was(tmp_path: Path) -> None:
    """Its parameters were not shown in this one."""
    bench = Bench(tmp_path)
    back = Trial(run="r", number=9, want_bytes=MIB, overruns=1, attempts=1)
    end = Settle(
        attempt=Attempt(
            id="r/8.1",
            trial=trial(8),
            device="host",
            promise_bytes=1,
            cap_bytes=None,
            started_at_s=0.0,
        ),
        verdict=Verdict(kind="finished", because=""),
        settlement="done",
        peak_bytes=needed(64),
    )
    assert bench.ahead.learn(end, Shown(params={"batch": 64, "rate": 0.5}), [back]) == []


def test_what_only_its_margin_makes_too_big_is_offered_with_less_of_it(tmp_path: Path) -> None:
    """With company, and what is learned while it waits does not make it too big again."""
    bench = Bench(tmp_path)
    attempt = Attempt(
        id="r/9.1", trial=trial(9), device="host", promise_bytes=1, cap_bytes=None, started_at_s=0.0
    )
    verdict = Verdict(kind="finished", because="")

    def learn(number: int, waiting: list[Trial]) -> list[Trial]:
        """One of four needs a fifth more."""
        held = int(needed(8 << (number % 6)) * (1.2 if number % 4 == 0 else 1))
        end = Settle(attempt=attempt, verdict=verdict, settlement="done", peak_bytes=held)
        shown = Shown(params={"batch": 8 << (number % 6), "rate": 0.5})
        return bench.ahead.learn(end, shown, waiting)

    for number in range(24):
        learn(number, [])
    offered, params, _ = bench.ask(0)
    most = int(1.08 * needed(params["batch"]))
    assert offered.want_bytes is not None
    assert offered.want_bytes > 1.05 * most
    refuse = Refuse(run="r", trial=0, want_bytes=offered.want_bytes, most_bytes=most, because="")
    again = bench.ahead.refused(offered, refuse)
    assert again is not None
    assert again.want_bytes is not None
    assert (again.alone, again.want_bytes <= most) == (False, True)
    assert again.want_bytes >= needed(params["batch"])
    for one in learn(24, [again]):
        assert one.want_bytes is not None
        assert one.want_bytes <= most
    assert bench.board.status.unrun == 0


def test_an_answer_that_a_kill_has_cut_is_given_by_the_next_life(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    for number in range(2):
        asked = bench.ahead.ask(trial(number))
    storage, trial_id = inside.storage_of(bench.study), inside.trial_id_of(asked.asked)
    storage.set_trial_system_attr(trial_id, UNRUN, True)
    assert resume.take_up(bench.record, bench.finisher, tmp_path / "outcomes", True) == []
    assert [one.state.name for one in bench.study.trials[-2:]] == ["RUNNING", "PRUNED"]
    assert [one.number for one in bench.record.candidates()] == [0]
    assert resume.counts(bench.record)["unrun"] == 1


def test_what_fits_nowhere_is_told_until_the_run_stops(tmp_path: Path) -> None:
    """No callback hears of it. After ten in a row parameters are drawn one by one; what is tried
    all the same is waited for."""
    bench = Bench(tmp_path)
    tried: list[Trial] = []
    for number in range(STOP_AFTER):
        offered, params, together = bench.ask(number)
        assert bool(together) == (number < DRAW_FREELY_AFTER)
        assert params.keys() == SPACE.keys()
        again = bench.refuse(offered)
        if again is not None:
            tried.append(again)
    (alone,) = tried
    assert (alone.alone, alone.want_bytes) == (True, None)
    assert (bench.ahead.stops, bench.ahead.room) == (None, 0)
    ask, foreseen = bench.ahead.start(alone, returned=False)
    asked = ask()
    assert foreseen.values.keys() == SPACE.keys()
    told = [one for one in bench.study.trials if UNRUN in one.system_attrs]
    assert {(one.state, len(one.params)) for one in told} == {(TrialState.PRUNED, 2)}
    assert bench.board.status.unrun == len(told) == STOP_AFTER - 1
    assert bench.called == []
    bench.record.tell_capacity(asked.number, "it is too big indeed")
    bench.ahead.finished(bench.record.frozen(asked.number))
    assert bench.ahead.stops is not None
    assert "wants 2, has 1" in bench.ahead.stops
