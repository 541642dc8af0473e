"""What ``Study.optimize`` promises its caller holds while trials run side by side.

Where one attempt at a time is enough to show it, ``test_same_as_plain`` does.
"""

from __future__ import annotations

import re

import pytest
from script_runs import Runner

pytestmark = pytest.mark.processes


def test_trials_run_side_by_side_and_count_once(scripts: Runner, way: str) -> None:
    """Two at a time meet each other, ``n_trials`` are told in all, numbers have no gap."""
    text = """
        import optuna, os, pathlib, tell, time

        def objective(trial):
            pathlib.Path(f"at-{trial.number}").touch()
            deadline = time.monotonic() + 60
            partner = pathlib.Path(f"at-{trial.number ^ 1}")
            while not partner.exists():
                assert time.monotonic() < deadline, f"{partner} never ran beside {trial.number}"
                time.sleep(0.01)
            trial.set_user_attr("pid", os.getpid())
            return trial.suggest_float("x", 0, 1)

        study = optuna.create_study()
        study.optimize(objective, n_trials=4, n_jobs=4, show_progress_bar=True)
        pids = {trial.user_attrs["pid"] for trial in study.trials}
        tell.say(trials=tell.trials(study), pids=len(pids), own=os.getpid() in pids,
                 best=study.best_value == min(t.value for t in study.trials))
    """
    result = scripts(text, "--start", way).ok()
    trials = result.said["trials"]
    assert [trial["number"] for trial in trials] == [0, 1, 2, 3]
    assert {trial["state"] for trial in trials} == {"COMPLETE"}
    assert (result.said["pids"], result.said["own"], result.said["best"]) == (4, False, True)
    assert result.err.count("n_jobs=4") == 1  # ours to decide; said once
    assert "[4/4]" in result.err  # our progress line stands in for Optuna's bar
    status = result.status
    assert (status.state, status.complete, status.n_trials) == ("finished", 4, 4)
    assert status.running == {}
    assert status.way is not None
    assert status.way.startswith(way)


def test_option_overrides_the_scripts_number(scripts: Runner) -> None:
    """``--n-trials`` wins over ``n_trials``."""
    text = """
        import optuna, tell
        study = optuna.create_study()
        study.optimize(lambda trial: 0.0, n_trials=50)
        tell.say(n=len(study.trials))
    """
    assert scripts(text, "--n-trials", "3").ok().said["n"] == 3


def test_timeout_counts_from_the_first_start(scripts: Runner, way: str) -> None:
    """A trial that has begun in time finishes; none begins later; a slow start loses nothing."""
    text = """
        import optuna, tell, time
        time.sleep(1.2)  # a script that imports for long

        def objective(trial):
            time.sleep(0.4)
            return 0.0

        study = optuna.create_study()
        study.optimize(objective, timeout=1.0)
        study.optimize(objective, n_trials=5, timeout=0)
        tell.say(trials=tell.trials(study))
    """
    said = scripts(text, "--start", way).ok().said
    assert {trial["state"] for trial in said["trials"]} == {"COMPLETE"}
    assert 1 <= len(said["trials"]) <= 6


CATCH = """
    import optuna, tell

    class Mine(ValueError):
        pass

    class NotPickled(ValueError):
        def __init__(self, one, two):
            super().__init__(one)

    def objective(trial):
        x = trial.suggest_int("x", 0, 9)
        if trial.number == 0:
            raise Mine("caught")
        if trial.number == 1:
            raise NotPickled("caught", "too")
        if trial.number == 2:
            raise KeyError("caught as well")
        return float(x)

    called = []
    study = optuna.create_study()
    study.optimize(objective, n_trials=4, catch=CATCH,
                   callbacks=[lambda s, t: called.append(t.number)])
    tell.say(trials=tell.trials(study), called=sorted(called))
"""


@pytest.mark.parametrize(
    ("way", "catch"),
    [("fork", "Exception"), ("fork", "(ValueError, KeyError)"), ("re-run", "(Exception,)")],
)
def test_caught_exceptions_fail_their_trial_alone(scripts: Runner, way: str, catch: str) -> None:
    """A class or several; callbacks hear of the failed trial; the run goes on."""
    result = scripts(CATCH.replace("CATCH", catch), "--start", way).ok()
    states = [trial["state"] for trial in result.said["trials"]]
    assert states == ["FAIL", "FAIL", "FAIL", "COMPLETE"]
    assert result.said["called"] == [0, 1, 2, 3]
    assert "Trial 0 failed with parameters: {'x': " in result.err
    assert "Mine('caught')" in result.err
    assert result.status.failed == 3


def test_uncaught_exception_ends_the_run_with_itself(scripts: Runner, way: str) -> None:
    """Exit code 1, the user's traceback with their line, none of our frames; what runs finishes."""
    text = """
        import optuna, pathlib, tell, time

        def deep(trial):
            raise LookupError(f"no such thing as {trial.number}")

        def objective(trial):
            if trial.number == 1:
                deep(trial)
            while not pathlib.Path("failed").exists():
                time.sleep(0.01)
            return 1.0

        def note(study, trial):
            if trial.state.name == "FAIL":
                raise AssertionError("Optuna calls no callback for the trial that ends the call")

        study = optuna.create_study()
        try:
            study.optimize(objective, n_trials=10, callbacks=[note])
        finally:
            tell.say(trials=tell.trials(study))
    """
    going = scripts.begin(text, "--start", way)
    going.wait_for(lambda: "failed with parameters" in going.err, "the failure")
    (scripts.own / "failed").touch()
    result = going.wait()
    assert result.code == 1
    assert [trial["state"] for trial in result.said["trials"]] == ["COMPLETE", "FAIL"]
    assert "LookupError: no such thing as 1" in result.err
    assert 'raise LookupError(f"no such thing as {trial.number}")' in result.err
    assert "in objective" in result.err
    assert not re.search(r'File ".*/scheduler/', result.err)
    assert result.status.state == "failed"
    assert "LookupError" in (result.status.error or "")


def test_an_exception_can_be_handled_by_the_script(scripts: Runner) -> None:
    """It is raised by ``optimize`` as its own class, with its arguments."""
    text = """
        import optuna, tell

        class Mine(Exception):
            def __init__(self, code):
                super().__init__(code)
                self.code = code

        def objective(trial):
            raise Mine(17)

        study = optuna.create_study()
        try:
            study.optimize(objective, n_trials=3)
        except Mine as mine:
            tell.say(code=mine.code)
    """
    result = scripts(text).ok()
    assert result.said["code"] == 17
    assert result.status.state == "finished"


def test_callbacks_run_in_the_host_in_order_once_a_trial(scripts: Runner, way: str) -> None:
    """They see the study with the trial in it; what they change in the script stays changed."""
    text = """
        import optuna, os, tell

        told, pids = [], set()

        def first(study, trial):
            told.append(["first", trial.number, trial.state.name])
            pids.add(os.getpid())
            study.set_user_attr("last", trial.number)
            assert study.trials[trial.number].state == trial.state
            if trial.number == 0:
                study.enqueue_trial({"x": 0.25})

        def second(study, trial):
            told.append(["second", trial.number, trial.state.name])

        def objective(trial):
            x = trial.suggest_float("x", 0, 1)
            if trial.number == 2:
                raise optuna.TrialPruned
            return x

        study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=1))
        study.optimize(objective, n_trials=5, callbacks=[first, second])
        tell.say(told=told, host=pids == {os.getpid()}, last=study.user_attrs["last"],
                 enqueued=[t.number for t in study.trials if t.params["x"] == 0.25])
    """
    said = scripts(text, "--start", way).ok().said
    firsts, seconds = said["told"][::2], said["told"][1::2]
    assert [[n, s] for _, n, s in firsts] == [[n, s] for _, n, s in seconds]
    assert {name for name, _, _ in firsts} == {"first"}
    assert sorted(n for _, n, _ in firsts) == [0, 1, 2, 3, 4]
    assert [state for _, n, state in firsts if n == 2] == ["PRUNED"]
    assert said["host"]
    assert said["last"] == firsts[-1][1]
    assert len(said["enqueued"]) == 1


def test_an_exception_in_a_callback_ends_the_run(scripts: Runner) -> None:
    """As in Optuna; the trial it was called for stays told."""
    text = """
        import optuna, tell

        def callback(study, trial):
            raise ZeroDivisionError("in the callback")

        study = optuna.create_study()
        try:
            study.optimize(lambda trial: 1.0, n_trials=9, callbacks=[callback])
        finally:
            tell.say(states=[t.state.name for t in study.trials])
    """
    result = scripts(text, "--max-trials", "1")
    assert result.code == 1
    assert result.said["states"] == ["COMPLETE"]
    assert "ZeroDivisionError: in the callback" in result.err
    assert not re.search(r'File ".*/scheduler/', result.err)


@pytest.mark.parametrize("place", ["callback", "objective"])
def test_stop_lets_what_runs_finish_and_nothing_begin(
    scripts: Runner, way: str, place: str
) -> None:
    """``study.stop()`` ends the call, whichever process it is called in."""
    text = """
        import optuna, tell

        def objective(trial):
            if PLACE == "objective" and trial.number == 2:
                trial.study.stop()
            return float(trial.number)

        def callback(study, trial):
            if PLACE == "callback" and trial.number == 2:
                study.stop()

        study = optuna.create_study()
        study.optimize(objective, n_trials=100, callbacks=[callback])
        n = len(study.trials)
        tell.say(trials=tell.trials(study))
    """.replace("PLACE", repr(place))
    trials = scripts(text, "--start", way).ok().said["trials"]
    assert 3 <= len(trials) <= 5
    assert {trial["state"] for trial in trials} == {"COMPLETE"}


def test_what_is_not_json_is_kept_for_a_study_in_memory(scripts: Runner, way: str) -> None:
    """A script without a storage may set any object as an attribute, from both processes."""
    text = """
        import datetime, optuna, tell
        import numpy as np

        def objective(trial):
            trial.set_user_attr("array", np.arange(3))
            trial.set_user_attr("day", datetime.date(2026, 1, 1 + trial.number))
            trial.set_user_attr("plain", [1, {"a": None}])
            assert trial.user_attrs["array"].sum() == 3
            trial.study.set_user_attr("set", {1, 2})
            return 0.0

        study = optuna.create_study()
        study.set_user_attr("before", frozenset([5]))
        study.enqueue_trial({}, user_attrs={"queued": datetime.time(1)})
        study.optimize(objective, n_trials=2)
        tell.say(
            arrays=[t.user_attrs["array"].tolist() for t in study.trials],
            days=[t.user_attrs["day"].day for t in study.trials],
            plain=study.trials[0].user_attrs["plain"],
            queued=study.trials[0].user_attrs["queued"].hour,
            study=[sorted(study.user_attrs["before"]), sorted(study.user_attrs["set"])],
        )
    """
    assert scripts(text, "--start", way, "--max-trials", "1").ok().said == {
        "arrays": [[0, 1, 2], [0, 1, 2]],
        "days": [1, 2],
        "plain": [1, {"a": None}],
        "queued": 1,
        "study": [[5], [1, 2]],
    }


def test_pruning_works_on_what_others_report_meanwhile(scripts: Runner) -> None:
    """The pruner compares with the reports of a trial that ran beside this one."""
    text = """
        import optuna, pathlib, tell, time

        def objective(trial):
            if trial.number == 0:
                for step in range(3):
                    trial.report(0.0, step)
                return 0.0
            while trial.study.trials[0].state.name != "COMPLETE":
                time.sleep(0.01)
            trial.report(1.0, 0)
            if trial.should_prune():
                raise optuna.TrialPruned("worse than trial 0")
            return 1.0

        study = optuna.create_study(pruner=optuna.pruners.MedianPruner(n_startup_trials=1))
        study.optimize(objective, n_trials=2)
        tell.say(trials=tell.trials(study))
    """
    result = scripts(text).ok()
    assert [trial["state"] for trial in result.said["trials"]] == ["COMPLETE", "PRUNED"]
    assert "Trial 1 pruned. worse than trial 0" in result.err
    assert result.status.pruned == 1


def test_wrong_arguments_are_refused_as_optuna_does(scripts: Runner) -> None:
    """Nothing runs; the script gets the exception at its call."""
    text = """
        import optuna, tell

        study = optuna.create_study()
        errors = []
        for wrong in ({"catch": ("no",)}, {"n_trials": -1}, {"callbacks": 3}, {"func": 3}):
            call = {"func": lambda trial: 0.0, "n_trials": 1} | wrong
            try:
                study.optimize(**call)
            except Exception as error:
                errors.append(type(error).__name__)
            else:
                errors.append(len(study.trials))
        tell.say(errors=errors)
    """
    plain = scripts.plain(text)
    ours = scripts(None, target="script.py")
    assert ours.said == plain.said, f"{ours}\n{plain}"
