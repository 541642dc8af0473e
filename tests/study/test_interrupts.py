"""Ctrl-C and kills: nothing that was finished is lost, nothing runs to its end twice.

Objectives wait for a file ``go`` of the test's, and leave a file for each time they came to their
end, so that a test knows what ran and decides when it goes on.
"""

from __future__ import annotations

import collections
import os
import signal
from pathlib import Path

import optuna
import pytest
import script_runs
from optuna.storages import RetryHeartbeatStaleTrialCallback
from script_runs import Going, Runner

pytestmark = [
    pytest.mark.processes,
    pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning"),
]

PATIENT = """
    import os, pathlib, time, uuid
    import optuna, tell

    def objective(trial):
        x = trial.suggest_float("x", 0, 1)
        trial.report(x, 0)
        trial.set_user_attr("attempt", os.environ["SCHEDULER_ATTEMPT"])
        pathlib.Path(f"began-{trial.number}-{os.getpid()}").write_text(repr(x))
        while trial.number >= FREE and not pathlib.Path("go").exists():
            time.sleep(0.01)
        pathlib.Path(f"ended-{uuid.uuid4()}").write_text(repr(x))
        return x

    study = optuna.create_study(STORAGE
        sampler=optuna.samplers.RandomSampler(seed=1))
    for x in (0.25, 0.5, 0.75):
        study.enqueue_trial({"x": x})
    study.set_user_attr("runs", 1)
    study.optimize(objective, n_trials=6)
    tell.say(trials=tell.trials(study), best=study.best_value)
"""


@pytest.fixture(params=["fork-memory", "fork-sqlite", "re-run-memory"])
def case(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def way(case: str) -> str:
    return case.rpartition("-")[0]


@pytest.fixture
def patient(case: str) -> str:
    """The first two trials end by themselves, the others wait."""
    own = 'study_name="s", storage="sqlite:///s.db",' if case.endswith("sqlite") else ""
    return PATIENT.replace("STORAGE", own).replace("FREE", "2")


def trials_of(going: Going | script_runs.Result, own: Path) -> list[optuna.trial.FrozenTrial]:
    if (own / "s.db").exists():
        return optuna.load_study(study_name="s", storage=f"sqlite:///{own}/s.db").trials
    return script_runs.Result.study(going).trials  # type: ignore[arg-type]  # both have a folder


def assert_whole(trials: list[optuna.trial.FrozenTrial], own: Path) -> None:
    """Six trials in the end, each brought to its end once; the enqueued ones once each."""
    complete = [trial for trial in trials if trial.state.name == "COMPLETE"]
    failed = [trial for trial in trials if trial.state.name == "FAIL"]
    assert len(complete) + len(failed) == len(trials), [trial.state.name for trial in trials]
    ended = collections.Counter(float(path.read_text()) for path in own.glob("ended-*"))
    assert ended == collections.Counter(trial.value for trial in complete)
    assert len(complete) == 6
    assert len(ended) == 6, "a resumed sampler drew again what it had drawn before"
    for x in (0.25, 0.5, 0.75):
        assert ended[x] == 1
    for trial in failed:
        back = [t for t in complete if t.params == trial.params]
        assert len(back) == 1, f"trial {trial.number} did not come back with its parameters"
        assert back[0].system_attrs["failed_trial"] <= trial.number
        assert trial.number in back[0].system_attrs["retry_history"]
        assert RetryHeartbeatStaleTrialCallback.retried_trial_number(back[0]) is not None


def two_running(going: Going) -> None:
    going.wait_for(lambda: len(going.status.running if going.status else {}) == 2, "two attempts")
    going.wait_for_files("began-2-*")
    going.wait_for_files("began-3-*")


def test_ctrl_c_once_lets_what_runs_finish(scripts: Runner, way: str, patient: str) -> None:
    """No new attempts, exit code 130, and the run can be resumed to its whole number."""
    going = scripts.begin(patient, "--start", way)
    two_running(going)
    going.signal(signal.SIGINT)
    going.wait_for(lambda: "no new attempts" in going.err, "the word that it was heard")
    (scripts.own / "go").touch()
    result = going.wait()
    assert result.code == 130
    assert "scheduler run --resume" in result.err
    assert result.status.state == "interrupted"
    states = [trial.state.name for trial in trials_of(result, scripts.own)]
    assert [state for state in states if state != "WAITING"] == ["COMPLETE"] * 4
    assert result.run is not None
    resumed = scripts.resume(result.run).ok()
    assert len(resumed.said["trials"]) == 6
    assert_whole(trials_of(resumed, scripts.own), scripts.own)


@pytest.mark.parametrize("signals", [(signal.SIGINT, signal.SIGINT), (signal.SIGTERM,)])
def test_ctrl_c_twice_puts_back_what_runs(
    scripts: Runner, way: str, patient: str, signals: tuple[signal.Signals, ...]
) -> None:
    """Exit code 131; nothing RUNNING, nothing lost; a resume comes to exactly ``n_trials``, with
    the same parameters. SIGTERM does the same at once."""
    going = scripts.begin(patient, "--start", way)
    two_running(going)
    going.signal(signals[0])
    if len(signals) > 1:  # two that come together are one
        going.wait_for(lambda: "no new attempts" in going.err, "an answer to the first")
        going.signal(signals[1])
    result = going.wait()
    assert result.code == 131, result
    before = trials_of(result, scripts.own)
    waiting = [t for t in before if t.state.name == "WAITING" and "failed_trial" in t.system_attrs]
    assert sorted(trial.system_attrs["failed_trial"] for trial in waiting) == [2, 3]
    assert "RUNNING" not in {trial.state.name for trial in before}
    (scripts.own / "go").touch()
    assert result.run is not None
    resumed = scripts.resume(result.run).ok()
    assert_whole(trials_of(resumed, scripts.own), scripts.own)
    assert resumed.status.complete == 6
    again = scripts.resume(result.run)
    assert again.code == 2
    assert "finished" in again.err


def test_killed_host_is_resumed(scripts: Runner, way: str, patient: str) -> None:
    """``kill -9``: its attempts end with it; the resume counts what was done and puts back what
    ran, whoever had enqueued it, and a script that is run again deletes nothing."""
    text = patient.replace(
        "import optuna, tell",
        "import optuna, tell\n    if pathlib.Path('s.db').exists(): os.remove('s.db')",
    )
    going = scripts.begin(text, "--start", way)
    two_running(going)
    going.kill_host()
    script_runs.wait_for(
        lambda: script_runs._only_supervisor(scripts.state), "the end of the attempts", 5
    )
    status = scripts.command("status", going.folder.name)
    assert "Traceback" not in status.stderr
    (scripts.own / "go").touch()
    resumed = scripts.resume(going.folder.name).ok()
    assert_whole(trials_of(resumed, scripts.own), scripts.own)


def test_killed_again_and_again(scripts: Runner) -> None:
    """Each life of the host gets one trial further; in the end none is missing or double."""
    text = (
        PATIENT.replace("STORAGE", "").replace("FREE", "0").replace('"go"', 'f"go-{trial.number}"')
    )
    going = scripts.begin(text)
    for life in range(3):
        going.wait_for_files("began-*", 2 + 2 * life)
        going.kill_host()
        going = scripts.begin_resume(going.folder.name)
    going.wait_for_files("began-*", 8)
    for number in range(40):
        (scripts.own / f"go-{number}").touch()
    result = going.wait().ok()
    assert_whole(trials_of(result, scripts.own), scripts.own)
    trials = trials_of(result, scripts.own)
    history = [len(trial.system_attrs.get("retry_history", [])) for trial in trials]
    assert max(history) >= 3


def test_an_outcome_that_was_written_down_is_told_by_the_resume(scripts: Runner) -> None:
    """The host dies between an attempt's fsync and the telling: the trial does not run again."""
    text = """
        import os, pathlib, signal
        import optuna, tell
        from scheduler.study.keeping import outcome

        written = outcome.write_down

        def write_and_kill(what, path):
            written(what, path)
            if not pathlib.Path("killed").exists():
                pathlib.Path("killed").touch()
                os.kill(int(os.environ["HOST"]), signal.SIGKILL)

        outcome.write_down = write_and_kill
        os.environ["HOST"] = str(os.getpid())

        def objective(trial):
            pathlib.Path(f"ran-{trial.number}-{os.getpid()}").touch()
            return trial.suggest_float("x", 0, 1)

        study = optuna.create_study()
        study.optimize(objective, n_trials=2)
        tell.say(states=[t.state.name for t in study.trials])
    """
    killed = scripts(text, "--max-trials", "1", "--start", "fork")
    assert killed.code == -signal.SIGKILL
    assert killed.run is not None
    resumed = scripts.resume(killed.run).ok()
    assert resumed.said["states"] == ["COMPLETE", "COMPLETE"]
    assert len(list(scripts.own.glob("ran-0-*"))) == 1


@pytest.mark.parametrize("way", ["fork", "re-run"])
def test_killed_attempt_comes_back(scripts: Runner, way: str) -> None:
    """A kill from outside is no error of the user's: the trial comes back with its parameters,
    costs none of ``n_trials``, and calls no callback; its checkpoint can be found by Optuna's own
    recipe."""
    text = (
        PATIENT.replace("STORAGE", "")
        .replace("FREE", "0")
        .replace(
            "study.optimize(objective, n_trials=6)",
            "called = []\n"
            "    study.optimize(objective, n_trials=6,\n"
            "                   callbacks=[lambda study, trial: called.append(trial.state.name)])\n"
            "    print(called)",
        )
    )
    going = scripts.begin(text, "--start", way)
    (first,) = going.wait_for_files("began-0-*")
    os.kill(int(first.name.split("-")[-1]), signal.SIGKILL)
    going.wait_for(lambda: going.status is not None and going.status.retried == 1, "its return")
    (scripts.own / "go").touch()
    result = going.wait().ok()
    assert_whole(trials_of(result, scripts.own), scripts.own)
    assert "['COMPLETE', 'COMPLETE', 'COMPLETE', 'COMPLETE', 'COMPLETE', 'COMPLETE']" in result.out
    assert (result.status.complete, result.status.failed, result.status.retried) == (6, 0, 1)


def test_retry_draws_what_the_first_attempt_drew(scripts: Runner) -> None:
    """A trial that comes back repeats itself: the same chance, the same parameters, also those
    that its sampler had not drawn when it was killed."""
    text = """
        import os, pathlib, random, time
        import numpy as np
        import optuna, tell

        def objective(trial):
            x = trial.suggest_float("x", 0, 1)
            drawn = [random.random(), float(np.random.rand()), x]
            pathlib.Path(f"began-{trial.number}-{os.getpid()}").write_text(repr(drawn))
            while not pathlib.Path("go").exists():
                time.sleep(0.01)
            trial.set_user_attr("drawn", drawn)
            return x

        study = optuna.create_study()
        study.optimize(objective, n_trials=1)
        tell.say(drawn=study.trials[-1].user_attrs["drawn"])
    """
    going = scripts.begin(text, "--start", "fork")
    (first,) = going.wait_for_files("began-0-*")
    going.wait_for(first.read_text, "what it drew")
    drawn = eval(first.read_text())
    os.kill(int(first.name.split("-")[-1]), signal.SIGKILL)
    going.wait_for_files("began-1-*")
    (scripts.own / "go").touch()
    assert going.wait().ok().said["drawn"] == drawn


def test_killed_template(scripts: Runner) -> None:
    """All that it had forked dies with it and comes back, by the other way to start."""
    text = PATIENT.replace("STORAGE", "").replace("FREE", "0")
    going = scripts.begin(text, "--start", "fork")
    going.wait_for_files("began-*", 2)
    (attempt, *_) = going.wait_for_files("began-0-*")
    stat = Path(f"/proc/{attempt.name.split('-')[-1]}/stat").read_text()
    template = int(stat.rpartition(")")[2].split()[1])
    assert template != going.process.pid
    os.kill(template, signal.SIGKILL)
    going.wait_for(lambda: going.status is not None and going.status.retried == 2, "their return")
    (scripts.own / "go").touch()
    result = going.wait().ok()
    assert_whole(trials_of(result, scripts.own), scripts.own)
    assert "re-run" in (result.status.way or "")


@pytest.mark.parametrize("way", ["fork", "re-run"])
def test_killed_supervisor(scripts: Runner, way: str) -> None:
    """Attempts go on and report without it; the host finds or starts another one and goes on."""
    text = PATIENT.replace("STORAGE", "").replace("FREE", "0")
    going = scripts.begin(text, "--start", way)
    began = going.wait_for_files("began-*", 2)
    pid = script_runs.supervisor_of(scripts.state)
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    (scripts.own / "go").touch()
    result = going.wait().ok()
    assert_whole(trials_of(result, scripts.own), scripts.own)
    assert len(list(scripts.own.glob("began-*"))) == 6, "an attempt was lost with the supervisor"
    assert all(path.exists() for path in began)


@pytest.mark.parametrize("way", ["fork", "re-run"])
def test_children_of_an_attempt_end_with_it(scripts: Runner, way: str) -> None:
    """A data loader that an attempt leaves behind in its session holds memory: it is ended."""
    text = """
        import optuna, subprocess, tell

        def objective(trial):
            print("left", subprocess.Popen(["sleep", "300"]).pid, flush=True)
            return 0.0

        study = optuna.create_study()
        study.optimize(objective, n_trials=1)
    """
    result = scripts(text, "--start", way).ok()
    left = int(result.log(0).split()[-1])
    script_runs.wait_for(
        lambda: left not in script_runs.processes_of(scripts.state), "the end of the child", 5
    )
