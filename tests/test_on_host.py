"""Whole runs on the host's RAM: real processes that really hold memory, and really run out of it.

The kernel's OOM killer is asked for in a cgroup of the test's own, where it can reach nobody else.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import optuna
import pytest
from cgroups import Cgroup, limited
from script_runs import Result, Runner

from scheduler.machine import groups
from scheduler.study.keeping.record import CAPACITY, MARK, PUT_BACK

pytestmark = pytest.mark.processes
MIB = 1 << 20

#: Touches what it is told to in blocks of 20 MiB, holds it for a while, and tells its limits.
HOLDS = """
    import resource, sys, time
    import optuna

    def objective(trial):
        mib = trial.suggest_int("mib", 10, 4000)
        trial.set_user_attr("limit", resource.getrlimit(resource.RLIMIT_DATA)[0])
        blocks = [b"x" * (20 << 20) for _ in range(mib // 20)]
        time.sleep(float(sys.argv[1]))
        return mib

    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=1))
    for mib in sys.argv[2:]:
        study.enqueue_trial({"mib": int(mib)})
    study.optimize(objective, n_trials=len(sys.argv) - 2)
"""
#: The same for all, and all at once: none takes anything before three are there.
TOGETHER = """
    import pathlib, time
    import optuna

    def objective(trial):
        x = trial.suggest_float("x", 0, 1)
        pathlib.Path(f"began.{trial.number}").touch()
        while len(list(pathlib.Path().glob("began.*"))) < 3:
            time.sleep(0.01)
        blocks = [b"x" * (20 << 20) for _ in range(19)]
        pathlib.Path(f"held.{trial.number}").touch()
        deadline_s = time.monotonic() + 60
        while len(list(pathlib.Path().glob("held.*"))) < 3 and time.monotonic() < deadline_s:
            time.sleep(0.01)
        return x

    optuna.create_study().optimize(objective, n_trials=4)
"""


@pytest.fixture(params=["fork", "re-run"])
def way(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def cgroup() -> Iterator[Cgroup]:
    with limited(1200 * MIB) as cgroup:
        yield cgroup


@pytest.fixture
def inside(cgroup: Cgroup, run_script: Runner) -> Runner:
    """Runs scripts, supervisor and all, where there are 1200 MiB."""
    run_script.prefix = cgroup.entering
    return run_script


def attempts(study: optuna.Study) -> dict[int, list[optuna.trial.FrozenTrial]]:
    """All attempts by the number of the trial, in their order."""
    found: dict[int, list[optuna.trial.FrozenTrial]] = {}
    for trial in study.trials:
        found.setdefault(trial.system_attrs[MARK]["trial"]["number"], []).append(trial)
    return found


def states(study: optuna.Study) -> dict[int, list[str]]:
    return {n: [one.state.name for one in tries] for n, tries in attempts(study).items()}


def told_by_status(runner: Runner, result: Result) -> str:
    assert result.run is not None
    return runner.command("status", result.run).stdout


def test_an_overrun_is_the_trials_own(run_script: Runner, way: str) -> None:
    """A trial that touches 820 MiB with a promise of 200 gets a MemoryError, comes back with the
    same parameters and a larger promise, and finishes. Its neighbours never hear of it."""
    sizes = ("40", "820", "60", "20", "40")
    result = run_script(HOLDS, "--start", way, arguments=("0.2", *sizes)).ok()
    found = attempts(result.study())
    big = found.pop(1)
    assert len(big) > 1, "nothing overran: the test does not test"
    assert [one.state.name for one in big] == ["FAIL"] * (len(big) - 1) + ["COMPLETE"]
    assert [one.params for one in big] == [{"mib": 820}] * len(big)
    assert [len(tries) for tries in found.values()] == [1] * 4
    assert all(tries[0].state.name == "COMPLETE" for tries in found.values())

    log = result.log(big[0].number)
    assert log.strip().endswith("MemoryError")
    limits = [one.user_attrs["limit"] for one in big]
    assert limits == sorted(set(limits)), "each attempt had more than the one before"
    changes = result.status.changes
    assert {change.what for change in changes} <= {"promise", "alone"}
    assert all("MemoryError" in change.because for change in changes)
    (first,) = [change for change in changes if change.before == "200 MiB"]
    assert (first.trial, first.what) == (big[0].number, "promise")
    assert result.status.retried == len(big) - 1
    assert first.after in told_by_status(run_script, result)


def test_a_data_limit_is_set_with_containment_only(run_script: Runner, way: str) -> None:
    """It is what the process has already, the cap and a quarter of it, and 512 MiB."""
    script = """
        import os, resource
        import optuna

        def objective(trial):
            has = next(int(line.split()[1]) << 10 for line in open("/proc/self/status")
                       if line.startswith("VmData"))
            trial.set_user_attr("has", has)
            trial.set_user_attr("limits", resource.getrlimit(resource.RLIMIT_DATA))
            trial.set_user_attr("cap", os.environ.get("SCHEDULER_CAP_BYTES"))
            return 0

        optuna.create_study().optimize(objective, n_trials=1)
    """
    (capped,) = run_script(script, "--start", way).ok().study().trials
    soft, hard = capped.user_attrs["limits"]
    assert int(capped.user_attrs["cap"]) == 220 * MIB
    assert abs(soft - capped.user_attrs["has"] - (275 + 512) * MIB) < 32 * MIB
    (free,) = run_script(script, "--start", way, "--no-containment").ok().study().trials
    assert free.user_attrs["cap"] is None
    assert free.user_attrs["limits"][1] == hard
    assert free.user_attrs["limits"][0] != soft, "a limit was set all the same"
    assert free.user_attrs["limits"][0] in (-1, hard)  # -1: RLIM_INFINITY


def test_memory_that_no_process_limit_knows_is_kept_to_the_cap(run_script: Runner) -> None:
    """1500 MiB of shared memory, which no data limit counts. The kernel's kill at the limit of the
    attempt's cgroup is known for an overrun: concurrency stays, the next promise is larger."""
    homes = groups.find()
    if homes.memory is None:
        pytest.skip(f"no cgroup can be made here: {homes.no_memory}")
    script = """
        import mmap, os
        import optuna

        def objective(trial):
            print("pid", os.getpid(), flush=True)
            shared = mmap.mmap(-1, 1500 << 20)
            for start in range(0, len(shared), 4096):
                shared[start] = 1
            return 1.0

        optuna.create_study().optimize(objective, n_trials=1)
    """
    result = run_script(script).ok()
    *before, last = result.study().trials
    assert last.state.name == "COMPLETE"
    assert before, "it was not kept to its cap"
    promise = [change for change in result.status.changes if change.what in ("promise", "alone")]
    assert promise
    assert any("in its own cgroup, at its cap" in change.because for change in promise)
    assert not [one for one in result.status.changes if one.what == "concurrency"]
    pids = [result.log(one.number).split()[1] for one in (*before, last)]
    left = (Path(homes.memory.folder).glob(f"{groups.PREFIX}{pid}-*") for pid in pids)
    assert not [folder for found in left for folder in found]


def test_what_the_kernel_kills_comes_back(inside: Runner, cgroup: Cgroup) -> None:
    """Three trials of 380 MiB at once where there are 1200: the kernel takes one of them, not the
    host or the supervisor. That is told apart from a crash, and all finish."""
    options = ("--no-containment", "--memory-per-trial", "100MiB", "--max-trials", "3")
    going = inside.begin(TOGETHER, *options)
    going.wait_for_files("began.*", 3)
    assert os.getpid() not in cgroup.pids()
    assert going.process.pid in cgroup.pids()
    assert device_total(inside) == pytest.approx(cgroup.limit_bytes, abs=MIB)
    result = going.wait().ok()
    found = attempts(result.study())
    assert sorted(found) == [0, 1, 2, 3]
    assert all(tries[-1].state.name == "COMPLETE" for tries in found.values())
    assert all(PUT_BACK in one.system_attrs for tries in found.values() for one in tries[:-1])
    assert all(len({one.params["x"] for one in tries}) == 1 for tries in found.values())
    because = [change.because for change in result.status.changes]
    assert any("kernel's OOM killer counted" in text for text in because), because
    log = (inside.state / "supervisor.log").read_text()
    assert log.count("supervisor of ") == 1, "the supervisor was killed"


def device_total(runner: Runner) -> int:
    told = json.loads(runner.command("status", "--json").stdout)
    (device,) = [d for d in told["devices"] if d["budget"]["device"]["key"] == "host"]
    total: int = device["total_bytes"]
    return total


def test_what_can_never_fit_is_told_to_the_sampler(inside: Runner) -> None:
    """A trial of 2.4 GiB where there are 1200 MiB ends as PRUNED with the mark, after its last try
    alone; the others run."""
    result = inside(HOLDS, arguments=("0.1", "40", "2400", "60", "20")).ok()
    found = attempts(result.study())
    *again, last = found.pop(1)
    assert last.state.name == "PRUNED"
    assert last.values is None
    assert CAPACITY in last.system_attrs
    assert last.params == {"mib": 2400}
    assert all(PUT_BACK in one.system_attrs for one in again)
    assert [[one.state.name for one in tries] for tries in found.values()] == [["COMPLETE"]] * 3
    status = result.status
    assert (status.complete, status.capacity, status.pruned, status.failed) == (3, 1, 0, 0)
    (told,) = [change for change in status.changes if change.what == "capacity"]
    assert told.before.endswith("alone"), status.changes
