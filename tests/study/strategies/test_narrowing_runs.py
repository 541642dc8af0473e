"""Narrowed ranges in a real run: the script is as it was, and a killed host changes nothing."""

from __future__ import annotations

import json

import pytest
from script_runs import Runner

from scheduler.study.strategies.narrowed import FULL, VERSION

pytestmark = pytest.mark.processes

SCRIPT = """
    import json, os, pathlib, signal
    import optuna

    def objective(trial):
        lr = trial.suggest_float("lr", 1e-6, 1.0, log=True)
        opt = trial.suggest_categorical("opt", ["adam", "sgd", "lion"])
        once = pathlib.Path("killed")
        if trial.number == 6 and not once.exists():
            once.touch()
            os.kill(int(os.environ["HOST"]), signal.SIGKILL)
        return abs(lr - 0.005) + (opt == "sgd")

    os.environ["HOST"] = str(os.getpid())
    study = optuna.create_study(sampler=optuna.samplers.TPESampler(n_startup_trials=4))
    study.optimize(objective, n_trials=16)
    print(json.dumps(type(study.sampler).__name__))
"""


def test_ranges_hold_over_a_kill_of_the_host(run_script: Runner) -> None:
    path = run_script.own / "ranges.json"
    path.write_text(json.dumps({"lr": [1e-3, 1e-2], "opt": ["adam", "lion"]}))
    going = run_script.begin(SCRIPT, "--ranges", str(path), "--start", "fork")
    run = going.folder.name
    going.wait()
    done = run_script.resume(run).ok()

    assert done.said == "TPESampler"
    shown = done.status.ranges
    assert shown is not None
    assert (shown.state, shown.narrowed, shown.parameters) == ("on", 2, 2)
    finished = [t for t in done.study().trials if t.state.name == "COMPLETE"]
    assert len(finished) == shown.trials == 16
    assert sum(bool(t.system_attrs.get(FULL)) for t in finished) == shown.full
    for trial in finished:
        assert VERSION in trial.system_attrs
        assert trial.distributions["lr"].low == 1e-6
        if not trial.system_attrs.get(FULL):
            assert 1e-3 <= trial.params["lr"] <= 1e-2
            assert trial.params["opt"] != "sgd"
    assert "ranges: off -> on: as given" in done.err or done.status.changes
    said = run_script.command("status", run).stdout
    assert f"2 of 2 parameters narrowed, {shown.full} of 16 trials on the full ranges" in said
    table = run_script.command("ranges", run)
    assert "where the best 25 % of 16 finished trials lie" in table.stdout, table


def test_a_file_that_says_nothing_is_refused_before_anything_runs(run_script: Runner) -> None:
    path = run_script.own / "ranges.json"
    path.write_text('{"lr": [2, 1]}')
    refused = run_script(SCRIPT, "--ranges", str(path))
    assert refused.code == 2
    assert "lr: from 2 to 1 there is nothing; the lower end comes first" in refused.err
    assert refused.run is None
