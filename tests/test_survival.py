"""Nothing is lost: kills of attempts, hosts and supervisors at moments that nobody chose."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import time
from pathlib import Path

import pytest
from script_runs import Going, Runner, processes_of, supervisor_of

from scheduler.study.keeping.record import MARK, PUT_BACK

pytestmark = pytest.mark.processes
KILLS = 30
TRIALS = 60
DEADLINE_S = 240.0

SCRIPT = f"""
    import sys, time
    import optuna

    def objective(trial):
        x = trial.suggest_float("x", -1, 1)
        for step in range(6):
            time.sleep(0.05)
            trial.report(x * x, step)
        return x * x

    kept = {{"storage": sys.argv[1], "study_name": "s"}} if len(sys.argv) > 1 else {{}}
    study = optuna.create_study(pruner=optuna.pruners.NopPruner(), **kept)
    study.enqueue_trial({{"x": 0.25}})
    study.optimize(objective, n_trials={TRIALS})
"""


class Killer:
    """Kills processes of one run, and resumes it whenever its host is gone."""

    def __init__(self, runner: Runner, going: Going, rng: random.Random) -> None:
        self.runner = runner
        self.going = going
        self.run = going.folder.name
        self.rng = rng
        self.killed: list[str] = []

    def victims(self) -> dict[str, list[int]]:
        """By what they are; attempts include the template they are forked from."""
        pids = {
            pid: words
            for pid, words in processes_of(self.runner.state).items()
            if "scheduler.study" in words
        }
        host = self.going.process.pid
        supervisor = supervisor_of(self.runner.state)
        return {
            "host": [host] if host in pids else [],
            "supervisor": [supervisor] if supervisor else [],
            "attempt": sorted(pids.keys() - {host}),
        }

    def kill_one(self) -> None:
        kind = self.rng.choice(["host", "supervisor", "attempt", "attempt"])
        pids = self.victims()[kind]
        if not pids:
            return
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.rng.choice(pids), signal.SIGKILL)
            self.killed.append(kind)
        if kind == "host":
            self.going.process.wait(10)

    def resume_if_gone(self) -> bool:
        """Whether the run goes on; resumes one whose host was killed."""
        code = self.going.process.poll()
        if code == 0:
            return False
        if code is not None:
            assert code == -signal.SIGKILL, f"exit code {code}\n{self.going.err}"
            self.going = self.runner.begin_resume(self.run)
        return True


@pytest.mark.parametrize("storage", ["none", "sqlite"])
def test_kills_at_random_moments_lose_no_trial(
    run_script: Runner, storage: str, tmp_path: Path
) -> None:
    """30 times in all: every trial ends in one recorded outcome, the enqueued one is run once,
    no trial of ours is left RUNNING or WAITING, no process is left."""
    arguments = (f"sqlite:///{tmp_path}/s.db",) if storage == "sqlite" else ()
    killer = Killer(
        run_script,
        run_script.begin(SCRIPT, "--max-trials", "3", arguments=arguments),
        random.Random(storage),
    )
    deadline_s = time.monotonic() + DEADLINE_S
    while killer.resume_if_gone():
        assert time.monotonic() < deadline_s, killer.going._describe()
        pause_s = killer.rng.uniform(0.1, 1.0)
        moment_s = time.monotonic() + pause_s  # a moment that nobody chose is what is tested
        while time.monotonic() < moment_s and killer.going.process.poll() is None:
            time.sleep(0.02)
        if len(killer.killed) < KILLS // 2:
            killer.kill_one()
    assert len(killer.killed) == KILLS // 2, "the run was over too soon"
    study = study_of(killer, arguments)
    finals: dict[int, list[str]] = {}
    for trial in study.trials:
        assert trial.state.is_finished(), trial
        if PUT_BACK not in trial.system_attrs:
            number = trial.system_attrs[MARK]["trial"]["number"]
            finals.setdefault(number, []).append(trial.state.name)
    assert finals == {number: ["COMPLETE"] for number in range(TRIALS)}, killer.killed
    enqueued = [t for t in study.trials if t.params.get("x") == 0.25 and t.value is not None]
    assert len(enqueued) == 1


def study_of(killer: Killer, arguments: tuple[str, ...]):  # type: ignore[no-untyped-def]
    import optuna

    if arguments:
        return optuna.load_study(study_name="s", storage=arguments[0])
    return killer.going.wait().study()
