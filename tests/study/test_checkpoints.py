"""A trial that is stopped saves, comes back, and goes on where it was."""

from __future__ import annotations

import dataclasses
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import optuna
import pytest
import script_runs
from optuna.storages import RetryHeartbeatStaleTrialCallback
from script_runs import Going, Runner

from scheduler.core.events import Event, Saved
from scheduler.core.model import Attempt, Trial
from scheduler.machine.journal import replay
from scheduler.study.offered.checkpoints import newest_change_s, path_of
from scheduler.study.serving.live import Live
from scheduler.study.serving.saves import TELL_EVERY_S, Saves, keep_only
from tests.emulated.card import EmulatedCard
from tests.emulated.tree import RX_7900_GRE

pytestmark = pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")

#: Ten steps, the first five of which need no word of the test's. Each is written down once, so
#: that a step that is done twice is seen. Steps are saved when it is stopped, and only then.
STEPS = """
    import os, pathlib, time
    import optuna, scheduler, tell
    from optuna.storages import RetryHeartbeatStaleTrialCallback
    HOLD

    def objective(trial):
        x = trial.suggest_float("x", 0, 1)
        folder = scheduler.checkpoint_dir()
        saved = folder / "step"
        first = int(saved.read_text()) if saved.exists() else 0
        recorded = trial.study.trials[trial.number]  # an optuna.Trial of Optuna 5 has no marks
        number = RetryHeartbeatStaleTrialCallback.retried_trial_number(recorded)
        trial.set_user_attr("first", first)
        trial.set_user_attr("began_as", trial.number if number is None else number)
        hold()
        step = first
        try:
            for step in range(first, 10):
                while step == 5 and not pathlib.Path("go").exists():
                    pathlib.Path(f"waits-{os.getpid()}").touch()
                    time.sleep(0.01)
                trial.report(x, step)
                with open("steps", "a") as file:
                    print(trial.number, step, file=file)
        finally:
            saved.write_text(str(step))
            trial.set_user_attr("saved", step)
        return x

    study = optuna.create_study()
    study.optimize(objective, n_trials=1)
    tell.say(trials=[[t.state.name, t.user_attrs] for t in study.trials])
"""
ON_HOST = STEPS.replace("HOLD", "hold = lambda: None")
ON_CARD = STEPS.replace("HOLD", "from tests.emulated import gpu; hold = lambda: gpu.hold(5 << 30)")


def steps_of(own: Path) -> list[list[int]]:
    return [[int(word) for word in line.split()] for line in (own / "steps").open()]


def assert_went_on(result: script_runs.Result, own: Path) -> None:
    """In two attempts, each step once, found by Optuna's own recipe; nothing is left behind."""
    assert steps_of(own) == [[0, step] for step in range(5)] + [[1, step] for step in range(5, 10)]
    assert result.said["trials"] == [
        ["FAIL", {"first": 0, "began_as": 0, "saved": 5}],
        ["COMPLETE", {"first": 5, "began_as": 0, "saved": 9}],
    ]
    trials = result.study().trials
    assert RetryHeartbeatStaleTrialCallback.retried_trial_number(trials[1]) == 0
    assert trials[0].params == trials[1].params
    assert list((result.folder / "checkpoints").iterdir()) == []


def pid_that_waits(going: Going) -> int:
    (path,) = going.wait_for_files("waits-*")
    return int(path.name.split("-")[1])


@pytest.mark.processes
def test_a_stopped_trial_goes_on_from_its_checkpoint(scripts: Runner, way: str) -> None:
    """Whoever sent the SIGTERM: an OOM daemon, say. While it may come back its folder is kept, for
    its user only, and the supervisor is told that it saved."""
    going = scripts.begin(ON_HOST, "--start", way)
    os.kill(pid_that_waits(going), signal.SIGTERM)
    going.wait_for(lambda: going.status is not None and going.status.retried == 1, "its return")
    kept = path_of(going.folder, 0, 0)
    assert (kept / "step").read_text() == "5"
    assert kept.stat().st_mode & 0o777 == kept.parent.stat().st_mode & 0o777 == 0o700
    (scripts.own / "go").touch()
    assert_went_on(going.wait().ok(), scripts.own)


@pytest.mark.processes
def test_a_trial_of_an_interrupted_run_goes_on_from_its_checkpoint(scripts: Runner) -> None:
    """Its ``finally`` may still write to the study, as it is put back when it has ended. What a
    host that was killed left of trials that are over is removed by the resume."""
    going = scripts.begin(ON_HOST, "--start", "fork")
    pid_that_waits(going)
    going.signal(signal.SIGTERM)
    result = going.wait()
    assert result.code == 131
    assert result.study().trials[0].user_attrs["saved"] == 5
    old = path_of(result.folder, 0, 7)
    old.mkdir()
    (scripts.own / "go").touch()
    assert result.run is not None
    assert_went_on(scripts.resume(result.run).ok(), scripts.own)


@pytest.mark.processes
def test_a_trial_stopped_for_a_stranger_goes_on_from_its_checkpoint(
    scripts: Runner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody's 14 GiB game starts on a 16 GiB card: the attempt of 5 GiB saves and goes, and
    its trial goes on upon the other card."""
    second = dataclasses.replace(RX_7900_GRE, address="0000:0a:00.0", unique_id=0xE56B237E725EC428)
    with EmulatedCard(tmp_path, RX_7900_GRE, second) as cards:
        for name, value in cards.environment().items():
            monkeypatch.setenv(name, value)
        going = scripts.begin(ON_CARD, "--start", "fork", "--memory-per-trial", "6GiB")
        pid_that_waits(going)
        first = next(card.address for card in cards.models if cards.held_bytes(card.address))
        with cards.stranger(14 << 30, first):
            back = lambda: going.status is not None and going.status.retried == 1  # noqa: E731
            going.wait_for(back, "the attempt to be put back")
            assert cards.held_bytes(first) == {}
            (scripts.own / "go").touch()
            assert_went_on(going.wait().ok(), scripts.own)


@pytest.mark.processes
def test_the_supervisor_is_told_of_checkpoints(scripts: Runner) -> None:
    """When a running attempt has saved; of what an earlier attempt saved nothing is told."""
    text = """
        import os, pathlib, time
        import optuna, scheduler

        def objective(trial):
            folder = scheduler.checkpoint_dir()
            if not (folder / "first").exists():
                (folder / "first").touch()
                pathlib.Path(f"waits-{os.getpid()}").touch()
                time.sleep(60)
            while not pathlib.Path("go").exists():
                time.sleep(0.01)
            return 0.0

        optuna.create_study().optimize(objective, n_trials=1)
    """

    def told() -> list[Saved]:
        return [event for event in events(scripts.state) if isinstance(event, Saved)]

    going = scripts.begin(text, "--start", "fork")
    going.wait_for(told, "the word of it")
    (saved,) = told()
    changed_s = newest_change_s(path_of(going.folder, 0, 0))
    assert changed_s is not None
    assert saved.saved_at_s == pytest.approx(changed_s)
    assert saved.saved_at_s <= saved.at_s
    going.wait_for(lambda: going.status and [*going.status.running] == [saved.attempt], "it runs")
    (scripts.own / "go").touch()
    os.kill(pid_that_waits(going), signal.SIGTERM)
    assert going.wait().ok().status.retried == 1
    assert told() == [saved]


def events(state: Path) -> list[Event]:
    return [event for path in sorted(state.glob("journal*.jsonl")) for event in replay(path)]


# -- where there is no trial -----------------------------------------------------------------------


@pytest.mark.processes
def test_outside_of_an_objective_it_says_where_to_call_it(scripts: Runner, way: str) -> None:
    """In the script's own lines, whoever runs them; what an objective starts finds its folder."""
    text = """
        import os, subprocess, sys
        import optuna, scheduler, tell

        def refused():
            try:
                scheduler.checkpoint_dir()
            except RuntimeError as error:
                return str(error)

        before = refused()

        def objective(trial):
            told = subprocess.run(
                [sys.executable, "-c", "import scheduler; print(scheduler.checkpoint_dir())"],
                capture_output=True, text=True).stdout.strip()
            trial.set_user_attr("same", told == str(scheduler.checkpoint_dir()))
            trial.set_user_attr("before", before)
            return 0.0

        study = optuna.create_study()
        study.optimize(objective, n_trials=1)
        tell.say(said=[before, refused(), study.trials[0].user_attrs])
    """
    before, after, attrs = scripts(text, "--start", way).ok().said["said"]
    assert "inside the objective" in before
    assert before == after == attrs["before"]
    assert attrs["same"] is True


def test_under_plain_python_each_trial_has_a_folder_of_its_own(tmp_path: Path) -> None:
    """One process runs them all: a trial must not find another's checkpoint. In two threads as
    well; a new one where there is no trial; none is left behind, and ``import scheduler`` loads
    nothing."""
    script = tmp_path / "script.py"
    script.write_text(
        "import os, sys\n"
        "import scheduler\n"
        "assert not {'optuna', 'torch', 'msgspec'} & set(sys.modules)\n"
        "print(scheduler.checkpoint_dir(), scheduler.checkpoint_dir(), flush=True)\n"
        "assert 'optuna' not in sys.modules\n"
        "import optuna\n"
        "def helper():\n"
        "    return scheduler.checkpoint_dir()\n"
        "def objective(trial):\n"
        "    folder = helper()\n"
        "    assert list(folder.iterdir()) == []\n"
        "    (folder / 'state').write_text(str(trial.number))\n"
        "    assert (helper() / 'state').read_text() == str(trial.number)\n"
        "    os.write(1, f'{folder}\\n'.encode())\n"
        "    return 0\n"
        "for _ in range(2):\n"
        "    optuna.create_study().optimize(objective, n_trials=4, n_jobs=2)\n"
    )
    environment = os.environ | {
        "TMPDIR": str(tmp_path),
        "PYTHONPATH": str(Path(__file__).parents[2]),
    }
    done = subprocess.run(
        [sys.executable, str(script)], capture_output=True, text=True, env=environment, timeout=60
    )
    assert done.returncode == 0, done.stderr
    folders = done.stdout.split()
    assert len(set(folders)) == len(folders) == 10
    assert all(Path(folder).parent == tmp_path for folder in folders)
    assert not any(Path(folder).exists() for folder in folders)


# -- what the host sees ----------------------------------------------------------------------------


def a_live(number: int = 0) -> Live:
    attempt = Attempt(
        id=f"r/{number}.1", trial=Trial(run="r", number=number), device="d", promise_bytes=1,
        cap_bytes=None, started_at_s=0.0,
    )  # fmt: skip
    return Live(attempt=attempt, asked=optuna.create_study().ask())


def test_newest_change(tmp_path: Path) -> None:
    """Of any file below, also one that was put there with an older mtime; None without files."""
    assert newest_change_s(tmp_path / "none") is None
    (tmp_path / "deep" / "er").mkdir(parents=True)
    assert newest_change_s(tmp_path) is None
    (tmp_path / "deep" / "er" / "shard").touch()
    first = newest_change_s(tmp_path)
    assert first == (tmp_path / "deep" / "er" / "shard").stat().st_ctime
    (tmp_path / "copy").touch()
    os.utime(tmp_path / "copy", (1, 1))
    assert newest_change_s(tmp_path) == (tmp_path / "copy").stat().st_ctime
    (tmp_path / "dangling").symlink_to("nowhere")
    assert newest_change_s(tmp_path) == (tmp_path / "dangling").lstat().st_ctime


def test_saves_are_told_once_and_not_too_often(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each newer one, at most one in five seconds; not what was there; again for a new
    supervisor; nothing of an attempt that has ended."""
    now_s, change_s = 100.0, 10.0
    monkeypatch.setattr("scheduler.study.serving.saves.time.monotonic", lambda: now_s)
    monkeypatch.setattr("scheduler.study.serving.saves.newest_change_s", lambda path: change_s)
    told: list[float] = []
    saves = Saves(tmp_path, 0, lambda saved: told.append(saved.saved_at_s))
    live = a_live()
    saves.begin(live)
    saves.look([live])
    saves.tell(live)
    assert told == []
    change_s = 20.0
    saves.look([live])
    saves.look([live])
    assert told == [20.0]
    now_s, change_s = now_s + TELL_EVERY_S / 2, 21.0
    saves.look([live])
    assert told == [20.0]
    now_s += TELL_EVERY_S / 2
    saves.look([live])
    assert told == [20.0, 21.0]
    saves.tell(live)
    assert told == [20.0, 21.0, 21.0]


def test_folders_go_with_their_trials(tmp_path: Path) -> None:
    """And only with theirs: not with another's or another call's."""
    for line, number in ((0, 1), (0, 2), (0, 3), (1, 1)):
        path_of(tmp_path, line, number).mkdir(parents=True)
        (path_of(tmp_path, line, number) / "state").touch()
    Saves(tmp_path, 0, lambda saved: None).remove(Trial(run="r", number=1))
    Saves(tmp_path, 0, lambda saved: None).remove(Trial(run="r", number=9))
    keep_only(tmp_path, 0, [Trial(run="r", number=3)])
    left = sorted(path.name for path in (tmp_path / "checkpoints").iterdir())
    assert left == ["0-3", "1-1"]
    shutil.rmtree(tmp_path / "checkpoints")
    keep_only(tmp_path, 0, [])
