"""Where a fork would not compute, attempts start the other way, chosen by itself; and threads."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from script_runs import Result, Runner

from scheduler.study.starting import canary

pytestmark = pytest.mark.processes


def need(module: str) -> None:
    if importlib.util.find_spec(module) is None:
        pytest.skip(f"{module} is not installed here; it comes with the extra torch or dev")


def run(scripts: Runner, before: str, objective: str, **named: object) -> Result:
    text = f"""
import optuna, os, tell
{before}

def objective(trial):
    trial.suggest_float("x", 0, 1)
{objective}
    return 0.0

study = optuna.create_study()
study.optimize(objective, n_trials=2)
tell.say(attrs=[trial.user_attrs for trial in study.trials])
"""
    return scripts(text, **named).ok()  # type: ignore[arg-type]


#: Two threads asked for in the objective: what hangs in a copy of a process that has a pool.
PARALLEL = """
    import torch
    torch.set_num_threads(2)
    trial.set_user_attr("sum", float((torch.ones(2000, 2000) @ torch.ones(2000, 1)).sum()))
"""


@pytest.mark.torch
def test_torch_imported_is_forked(scripts: Runner) -> None:
    """Importing torch starts no thread; copies of it compute with two."""
    need("torch")
    result = run(scripts, "import torch", PARALLEL)
    assert result.status.way == "fork"
    assert result.said["attrs"] == [{"sum": 4e6}] * 2


@pytest.mark.torch
def test_torch_that_has_computed_is_run_again(scripts: Runner) -> None:
    """One parallel operation before the call makes a pool, which no copy has."""
    need("torch")
    before = """
import torch
torch.set_num_threads(2)
data = torch.ones(2000, 2000) @ torch.ones(2000, 2000)
"""
    result = run(scripts, before, PARALLEL)
    assert (result.status.way or "").startswith("re-run")
    assert "OpenMP" in (result.status.way or "")
    assert result.said["attrs"] == [{"sum": 4e6}] * 2


def test_xgboost_data_made_before_the_call(scripts: Runner) -> None:
    """A DMatrix is made with threads: the objective trains on it, with two."""
    need("xgboost")
    before = """
import numpy as np, xgboost
rows = np.random.default_rng(0).normal(size=(2000, 10))
data = xgboost.DMatrix(rows, label=rows[:, 0], nthread=2)
"""
    objective = """
    booster = xgboost.train({"nthread": 2, "max_depth": 3}, data, num_boost_round=5)
    trial.set_user_attr("trees", booster.num_boosted_rounds())
"""
    result = run(scripts, before, objective)
    assert (result.status.way or "").startswith("re-run")
    assert result.said["attrs"] == [{"trees": 5}] * 2


def test_lightgbm_data_made_before_the_call(scripts: Runner) -> None:
    """The same with a constructed LightGBM Dataset."""
    need("lightgbm")
    before = """
import numpy as np, lightgbm
rows = np.random.default_rng(0).normal(size=(300, 3))
data = lightgbm.Dataset(rows, label=rows[:, 0], params={"num_threads": 2, "verbose": -1},
                        free_raw_data=False).construct()
"""
    objective = """
    booster = lightgbm.train({"num_threads": 2, "verbose": -1, "num_leaves": 4}, data, 2)
    trial.set_user_attr("trees", booster.num_trees())
"""
    result = run(scripts, before, objective)
    assert (result.status.way or "").startswith("re-run")
    assert result.said["attrs"] == [{"trees": 2}] * 2


@pytest.mark.parametrize("module", ["xgboost", "lightgbm", "sklearn.ensemble"])
def test_libraries_only_imported_are_forked(scripts: Runner, module: str) -> None:
    """And train with two threads in the copy."""
    need(module.split(".")[0])
    objective = """
    import numpy as np
    rows = np.random.default_rng(0).normal(size=(2000, 10))
    import xgboost
    xgboost.train({"nthread": 2}, xgboost.DMatrix(rows, label=rows[:, 0], nthread=2), 2)
"""
    if module == "lightgbm":
        objective = """
    import numpy as np
    rows = np.random.default_rng(0).normal(size=(2000, 10))
    lightgbm.train({"num_threads": 2, "verbose": -1}, lightgbm.Dataset(rows, rows[:, 0]), 2)
"""
    if module.startswith("sklearn"):
        objective = """
    import numpy as np
    from sklearn.ensemble import HistGradientBoostingRegressor
    rows = np.random.default_rng(0).normal(size=(2000, 10))
    HistGradientBoostingRegressor(max_iter=3).fit(rows, rows[:, 0])
"""
    assert run(scripts, f"import {module}", objective).status.way == "fork"


def test_a_thread_of_the_scripts_is_a_reason_to_run_again(scripts: Runner) -> None:
    """A copy would lack it: a queue's writer that nobody serves."""
    before = """
import threading
stop = threading.Event()
threading.Thread(target=stop.wait, name="writer", daemon=True).start()
"""
    result = run(scripts, before, "    assert threading.active_count() >= 2")
    assert result.status.way == (
        "re-run (the script has started a thread (writer) before optimize)"
    )


# -- threads of attempts ----------------------------------------------------------------------

COUNT = """
    import numpy, threadpoolctl
    pools = [pool["num_threads"] for pool in threadpoolctl.threadpool_info()]
    trial.set_user_attr("pools", sorted(set(pools)))
    trial.set_user_attr("environment", os.environ.get("OMP_NUM_THREADS"))
"""


def test_attempts_share_the_cores(scripts: Runner, way: str) -> None:
    """With two at a time each has half of the cores, in libraries loaded before and after."""
    share = max(1, len(os.sched_getaffinity(0)) // 2)
    text = f"import optuna, os, tell, numpy\n\ndef objective(trial):{COUNT}    return 0.0\n" + (
        "study = optuna.create_study()\nstudy.optimize(objective, n_trials=2)\n"
        "tell.say(attrs=[trial.user_attrs for trial in study.trials])\n"
    )
    result = scripts(text, "--start", way).ok()
    assert result.said["attrs"] == [{"pools": [share], "environment": str(share)}] * 2


def test_the_configured_number_of_threads_holds(scripts: Runner, way: str) -> None:
    """Whatever the share of the cores would be."""
    configured = 1 + max(1, len(os.sched_getaffinity(0)) // 2)
    text = f"import optuna, os, tell, numpy\n\ndef objective(trial):{COUNT}    return 0.0\n" + (
        "study = optuna.create_study()\nstudy.optimize(objective, n_trials=1)\n"
        "tell.say(attrs=[trial.user_attrs for trial in study.trials])\n"
    )
    environment = {"SCHEDULER_ATTEMPTS_THREADS": str(configured)}
    result = scripts(text, "--start", way, environment=environment).ok()
    assert result.said["attrs"] == [{"pools": [configured], "environment": str(configured)}]


def test_the_users_own_number_of_threads_wins(scripts: Runner, way: str) -> None:
    """OMP_NUM_THREADS in the environment of `scheduler run` is left as it is, also where the
    configuration has a number."""
    text = f"import optuna, os, tell, numpy\n\ndef objective(trial):{COUNT}    return 0.0\n" + (
        "study = optuna.create_study()\nstudy.optimize(objective, n_trials=1)\n"
        "tell.say(attrs=[trial.user_attrs for trial in study.trials])\n"
    )
    environment = {"OMP_NUM_THREADS": "3", "SCHEDULER_ATTEMPTS_THREADS": "2"}
    result = scripts(text, "--start", way, environment=environment).ok()
    assert result.said["attrs"][0]["environment"] == "3"


@pytest.mark.torch
def test_torch_shares_the_cores_too(scripts: Runner, way: str) -> None:
    """``torch.get_num_threads`` in an attempt, by default and where the user has set it."""
    need("torch")
    share = max(1, len(os.sched_getaffinity(0)) // 2)
    text = """
        import optuna, tell, torch

        def objective(trial):
            return float(torch.get_num_threads())

        study = optuna.create_study()
        study.optimize(objective, n_trials=1)
        tell.say(threads=study.best_value)
    """
    assert scripts(text, "--start", way).ok().said["threads"] == share
    environment = {"OMP_NUM_THREADS": "1"}  # alone, it would be given all cores
    again = scripts(
        None, "--start", way, "--max-trials", "1", environment=environment, target="script.py"
    )
    assert again.ok().said["threads"] == 1


@pytest.mark.torch
def test_torch_draws_differently_in_each_trial(scripts: Runner) -> None:
    """Also where the script has set a seed."""
    need("torch")
    text = """
        import optuna, tell, torch
        torch.manual_seed(0)

        def objective(trial):
            return float(torch.rand(1))

        study = optuna.create_study()
        study.optimize(objective, n_trials=2)
        tell.say(drawn=[t.value for t in study.trials])
    """
    drawn = scripts(text).ok().said["drawn"]
    assert len(set(drawn)) == 2


# -- the canary's parts -----------------------------------------------------------------------


def test_a_plain_process_may_be_forked() -> None:
    """One that has touched no GPU and started no thread: a fresh one, since other tests have."""
    assert in_fresh_process("print(canary.why_not_fork())") == "None"


def in_fresh_process(code: str) -> str:
    """What *code* prints there."""
    begin = "from scheduler.study.starting import canary"
    done = subprocess.run(
        [sys.executable, "-c", f"{begin}\n{textwrap.dedent(code)}"],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    return done.stdout.strip()


def test_modules_that_cannot_be_forked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each of them by name."""
    for name in canary.UNSAFE_MODULES:
        monkeypatch.setitem(sys.modules, name, sys)
        assert name in str(canary._unsafe_module())
        monkeypatch.delitem(sys.modules, name)
    assert canary._unsafe_module() is None


def test_an_open_gpu_is_seen(tmp_path: Path) -> None:
    """A descriptor of the driver's file, among others that may vanish while one looks."""
    (tmp_path / "0").symlink_to("/dev/null")
    (tmp_path / "1").symlink_to("pipe:[123]")
    (tmp_path / "2").touch()  # cannot be read as a link
    assert canary._gpu_open(tmp_path) is None
    (tmp_path / "7").symlink_to("/dev/kfd")
    assert "/dev/kfd" in str(canary._gpu_open(tmp_path))


def test_openmp_libraries_are_found_by_name() -> None:
    """Each file once; paths may hold blanks; other libraries and anonymous memory are not."""
    maps = (
        "7f00-7f01 r--p 00000000 08:01 17 /usr/lib/libgomp.so.1\n"
        "7f01-7f02 r-xp 00001000 08:01 17 /usr/lib/libgomp.so.1\n"
        "7f03-7f04 r-xp 00000000 08:01 18 /home/a b/torch.libs/libgomp-a34b3233.so.1\n"
        "7f05-7f06 r-xp 00000000 08:01 19 /usr/lib/libc.so.6\n"
        "7f07-7f08 rw-p 00000000 00:00 0 \n"
        "7ffc-7ffd rw-p 00000000 00:00 0 [stack]\n"
        "7f09-7f0a r-xp 00000000 08:01 20 /opt/llvm/libomp.so\n"
    )
    assert canary._openmp_libraries(maps) == [
        "/home/a b/torch.libs/libgomp-a34b3233.so.1",
        "/opt/llvm/libomp.so",
        "/usr/lib/libgomp.so.1",
    ]


def test_a_thread_is_seen() -> None:
    """By its name; tqdm's monitor does not count."""
    said = in_fresh_process("""
        import threading

        class TMonitor(threading.Thread):
            pass

        done = threading.Event()
        TMonitor(target=done.wait, daemon=True).start()
        print(canary._foreign_thread())
        threading.Thread(target=done.wait, name="queue writer", daemon=True).start()
        print(canary._foreign_thread())
    """)
    harmless, seen = said.splitlines()
    assert harmless == "None"
    assert "queue writer" in seen
