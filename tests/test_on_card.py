"""Whole runs on an emulated 16 GB AMD card: real processes, real files, memory that runs out.

The card's numbers follow what the attempts hold. What is emulated is in ``tests/emulated``.
"""

from __future__ import annotations

import json
import signal
import statistics
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import optuna
import pytest
from script_runs import Going, Result, Runner, wait_for

from scheduler.core.actions import Start
from scheduler.core.core import Core
from scheduler.core.events import Event
from scheduler.machine.journal import replay
from scheduler.study.keeping.record import CAPACITY, MARK, PUT_BACK
from tests.emulated.card import EmulatedCard

pytestmark = pytest.mark.processes
GIB = 1 << 30
CARD = "0000:03:00.0"

RAMP = """
    import time
    import optuna
    from tests.emulated import gpu

    GIB = 1 << 30

    def objective(trial):
        peak = trial.suggest_float("gib", 1.6, 8.4) * GIB
        for step in range(1, 6):
            gpu.hold(int(peak * step / 5))
            time.sleep(0.05)
        return peak / GIB

    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=5))
    study.optimize(objective, n_trials=24)
"""
#: Holds what it is told to in steps, each when the test makes a file for it.
STEPS = """
    import pathlib, time
    import optuna
    from tests.emulated import gpu

    def objective(trial):
        gpu.hold(1 << 30)
        pathlib.Path(f"began.{trial.number}").touch()
        while not pathlib.Path("go").exists():
            time.sleep(0.02)
        return trial.suggest_float("x", 0, 1)

    optuna.create_study().optimize(objective, n_trials=6)
"""
WALL = """
    import sys
    import optuna
    from tests.emulated import gpu

    def objective(trial):
        share = trial.suggest_float("share", 0, 2)  # of what the card can give
        x = trial.suggest_float("x", -1, 1)
        gpu.hold(int(share * 13.9 * (1 << 30)))
        return x * x - (share if sys.argv[1] == "big" else 0)

    for seed in (1, 2, 3):
        study = optuna.create_study(sampler=optuna.samplers.TPESampler(seed=seed))
        study.optimize(objective, n_trials=100)
"""


@pytest.fixture
def card(tmp_path: Path) -> Iterator[EmulatedCard]:
    with EmulatedCard(tmp_path) as card:
        yield card


@pytest.fixture
def on_card(run_script: Runner, card: EmulatedCard, monkeypatch: pytest.MonkeyPatch) -> Runner:
    """Runs scripts on the card, as many trials at once as fit."""
    for name, value in card.environment().items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("COLUMNS", "400")  # no line of `status` is folded
    return run_script


def status(runner: Runner) -> dict[str, object]:
    told: dict[str, object] = json.loads(runner.command("status", "--json").stdout)
    return told


def events(state: Path) -> list[Event]:
    """All that the supervisor has journaled, in order."""
    return [event for path in sorted(state.glob("journal*.jsonl")) for event in replay(path)]


def wait_for_end(state: Path) -> None:
    """The supervisor's, which leaves its whole journal behind."""
    wait_for(lambda: not (state / "control.sock").exists(), "the supervisor's end")


def assert_promises_kept(state: Path) -> None:
    """Replayed, each start was made with room for it: nothing promised was ever more than left."""
    core, starts = Core(), 0
    for event in events(state):
        started = [action for action in core.handle(event) if isinstance(action, Start)]
        core.check()
        starts += len(started)
        for device in core.view().devices:
            if any(one.attempt.device == device.budget.device.key for one in started):
                assert device.headroom_bytes is not None
                assert device.headroom_bytes >= 0
    assert starts > 0


def finals(study: optuna.Study) -> dict[int, list[str]]:
    """Final outcomes by the number of the trial: what is no attempt that was put back."""
    found: dict[int, list[str]] = {}
    for trial in study.trials:
        if PUT_BACK not in trial.system_attrs:
            number = trial.system_attrs[MARK]["trial"]["number"]
            found.setdefault(number, []).append(trial.state.name)
    return found


def test_trials_of_all_sizes_share_the_card(on_card: Runner, card: EmulatedCard) -> None:
    """Trials that need 1.6 to 8.4 GiB of 16, with a promise of 6: each ends in one recorded
    outcome, those that overran come back and finish, promises never exceed the card."""
    result = on_card(RAMP, "--memory-per-trial", "6GiB", "--max-trials", "8").ok()
    study = result.study()
    assert list(finals(study).values()) == [["COMPLETE"]] * 24
    put_back = [trial for trial in study.trials if PUT_BACK in trial.system_attrs]
    assert put_back, "no trial overran: the test does not test"
    by_number = {trial.number: trial for trial in study.trials}
    for trial in study.trials:
        if "retry_history" in trial.system_attrs:
            first = by_number[trial.system_attrs["failed_trial"]]
            assert trial.params == first.params
    wait_for_end(on_card.state)
    assert_promises_kept(on_card.state)
    assert card.held_bytes() == {}


def test_uncapped_trials_in_too_much_company_come_back_with_less(on_card: Runner) -> None:
    """Without containment a promise of 2 GiB for trials of up to 8.4 fills the card: contention.
    All finish, the device runs fewer at once, and that is told."""
    options = ("--no-containment", "--memory-per-trial", "2GiB", "--max-trials", "8")
    result = on_card(RAMP, *options).ok()
    assert list(finals(result.study()).values()) == [["COMPLETE"]] * 24
    told = Counter(change.what for change in result.status.changes)
    assert told["concurrency"] >= 1, result.status.changes


def running(going: Going) -> int:
    return len(going.status.running) if going.status else 0


def test_a_stranger_holds_new_starts_and_is_not_touched(
    on_card: Runner, card: EmulatedCard
) -> None:
    """10 GiB of somebody else's: nothing new starts and status says why; when they leave, all
    goes on. The stranger keeps every byte."""
    going = on_card.begin(STEPS, "--memory-per-trial", "5GiB", "--max-trials", "2")
    going.wait_for_files("began.*", 2)
    with card.stranger(10 * GIB):
        before = card.used_bytes()
        (on_card.own / "go").touch()
        going.wait_for(lambda: running(going) == 0, "the first two to end")
        waits = lambda: "memory" in (hold_of(on_card) or "")  # noqa: E731
        going.wait_for(waits, "memory as the reason to wait")
        assert card.used_bytes() == before - 2 * GIB
        assert len(list(on_card.own.glob("began.*"))) == 2
    assert Counter(trial.state.name for trial in going.wait().ok().study().trials)["COMPLETE"] == 6


def hold_of(runner: Runner) -> str | None:
    (run,) = status(runner)["runs"]  # type: ignore[misc]
    hold: str | None = run["hold"]
    return hold


@pytest.mark.parametrize("how", ["missing", "empty", "hang"])
def test_a_card_that_says_nothing_holds_new_starts(
    on_card: Runner, card: EmulatedCard, how: str
) -> None:
    """Unknown admits nothing, ends nothing, is told, and passes."""
    going = on_card.begin(STEPS, "--memory-per-trial", "3GiB", "--max-trials", "2")
    going.wait_for_files("began.*", 2)
    card.break_used(how)
    unread = lambda: device_problem(on_card)  # noqa: E731
    problem = going.wait_for(unread, "the card to be unknown")
    (on_card.own / "go").touch()
    going.wait_for(lambda: running(going) == 0, "the first two to end")
    silent = lambda: "does not say how much" in (hold_of(on_card) or "")  # noqa: E731
    going.wait_for(silent, "that as the reason to wait")
    said = on_card.command("status").stdout
    assert problem.partition(" for ")[0] in said
    assert len(list(on_card.own.glob("began.*"))) == 2
    card.mend()
    assert finals(going.wait().ok().study()) == {number: ["COMPLETE"] for number in range(6)}


FAULT = """
    import os, pathlib, resource, time
    import optuna
    from tests.emulated import gpu

    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))

    def meet(mine, other):
        pathlib.Path(mine).touch()
        while not pathlib.Path(other).exists():
            time.sleep(0.01)

    def objective(trial):
        trial.suggest_float("x", 0, 1)
        gpu.hold(1 << 30)
        meet(f"began.{trial.number}", f"began.{trial.number ^ 1}")
        if trial.number:
            pathlib.Path("crashed").touch()
        else:
            meet("faulted", "crashed")
            os.write(2, b"Memory access fault by GPU node-1 on address 0x7f00. Page not present.")
        os.abort()

    optuna.create_study().optimize(objective, n_trials=9)
"""


def test_a_gpu_fault_takes_a_neighbour_along_which_is_not_counted(on_card: Runner) -> None:
    """The neighbour's crash, told before or after, is explained by the fault; both come back, the
    card is left alone, and all of it is told."""
    going = on_card.begin(FAULT, "--memory-per-trial", "3GiB", "--max-trials", "2")
    both_back = lambda: going.status is not None and going.status.retried == 2  # noqa: E731
    going.wait_for(both_back, "both to come back")
    rests = lambda: "had a GPU fault (trial 0 of" in (hold_of(on_card) or "")  # noqa: E731
    going.wait_for(rests, "the fault as the reason to wait")
    said = on_card.command("status").stdout
    going.signal(signal.SIGINT)
    result = going.wait()
    assert "taken along by a GPU fault of trial 0: crashed by signal 6" in said
    assert "trial 1 comes back: taken along by a GPU fault of trial 0" in result.err
    changes = {change.trial: change.after for change in result.status.changes}
    assert changes == {0: "is tried once more", 1: "comes back, not counted against it"}
    back = {t.number: t.system_attrs[PUT_BACK] for t in result.study().trials[:2]}
    counts = [(back[n]["faults"], back[n]["unexplained"]) for n in (0, 1)]
    assert counts == [(1, 0), (0, 0)]
    assert len(list(on_card.own.glob("began.*"))) == 2


def device_problem(runner: Runner) -> str | None:
    devices = status(runner)["devices"]
    (device,) = [d for d in devices if d["budget"]["device"]["key"] == CARD]  # type: ignore[attr-defined]
    problem: str | None = device["problem"]
    return problem


@pytest.mark.parametrize(("likes", "most"), [("big", 0.5), ("any", 0.25)])
def test_the_sampler_learns_what_does_not_fit(on_card: Runner, likes: str, most: float) -> None:
    """Half of the range does not fit the card. Told as capacity, TPE leaves it: the share of such
    trials among the 51st to 100th, the median of three studies. (Told FAIL it is all of them.)"""
    options = ("--memory-per-trial", "13GiB", "--max-trials", "8")
    result = on_card.begin(WALL, *options, arguments=(likes,)).wait(280).ok()
    shares = []
    for index in range(3):
        done = [t for t in result.study(index).trials if PUT_BACK not in t.system_attrs]
        assert len(done) == 100
        too_big = [t for t in done if CAPACITY in t.system_attrs]
        assert too_big, "nothing was too big: the test does not test"
        assert all(t.state.name == "PRUNED" and t.values is None for t in too_big)
        shares.append(sum(CAPACITY in t.system_attrs for t in done[50:]) / 50)
    assert result.status.pruned == 0  # those are no pruned trials
    assert result.status.capacity == len(too_big)
    assert statistics.median(shares) < most


def test_the_attempt_sees_its_card_and_its_promise(on_card: Runner) -> None:
    """By UUID, and no other variable that would renumber it."""
    script = """
        import json, os
        import optuna

        def objective(trial):
            names = ("ROCR_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES", "SCHEDULER_PROMISE_BYTES",
                     "SCHEDULER_CAP_BYTES", "SCHEDULER_DEVICE")
            trial.set_user_attr("seen", {name: os.environ.get(name) for name in names})
            return 0

        optuna.create_study().optimize(objective, n_trials=1)
    """
    hidden = {"HIP_VISIBLE_DEVICES": "1"}
    result: Result = on_card(script, environment=hidden).ok()
    seen = result.study().trials[0].user_attrs["seen"]
    assert seen["ROCR_VISIBLE_DEVICES"].startswith("GPU-")
    assert seen["HIP_VISIBLE_DEVICES"] is None
    assert seen["SCHEDULER_DEVICE"] == CARD
    assert seen["SCHEDULER_PROMISE_BYTES"] == str(200 << 20)
    assert seen["SCHEDULER_CAP_BYTES"] == str(220 << 20)
