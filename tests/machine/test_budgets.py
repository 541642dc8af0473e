"""What a device is given by default, how many cores we may use, and who can be served at all."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal

import pytest

from probes.reading import Device
from scheduler.core.model import Budget, Run
from scheduler.machine.admittance import misfit
from scheduler.machine.budgets import GIB, MIB, budget_for, look_here
from scheduler.machine.cores import parse_cgroup, parse_quota, usable_cores
from tests.emulated.card import EmulatedCard
from tests.emulated.tree import RX_7900_GRE, RYZEN_IGPU


def device(kind: Literal["amd", "host"], total_bytes: int | None, key: str = "it") -> Device:
    return Device(
        key=key, kind=kind, name="a name", total_bytes=total_bytes, source="test", because="test"
    )


@pytest.mark.parametrize(
    ("total_gib", "reserve_bytes", "promise_bytes"),
    [
        (16, int(1.6 * GIB), 6 * GIB),
        (4, 512 * MIB, 2688 * MIB),  # one at a time beside a desktop, not none
        (None, 512 * MIB, 6 * GIB),
    ],
)
def test_a_gpu(total_gib: int | None, reserve_bytes: int, promise_bytes: int) -> None:
    budget = budget_for(device("amd", total_gib and total_gib * GIB), cores=8)
    assert abs(budget.reserve_bytes - reserve_bytes) <= 1
    assert budget.promise_bytes == promise_bytes
    assert budget.max_attempts is None


def test_host_ram_runs_no_more_than_it_has_cores() -> None:
    budget = budget_for(device("host", 10 * GIB), cores=8)
    assert (budget.reserve_bytes, budget.promise_bytes) == (GIB, GIB)
    assert budget.max_attempts == 8


@pytest.mark.parametrize(
    ("text", "quota"), [("max 100000", None), ("150000 100000", 1.5), ("50000 100000\n", 0.5)]
)
def test_a_cgroups_quota(text: str, quota: float | None) -> None:
    assert parse_quota(text) == quota


def test_our_cgroup_is_the_one_of_version_2() -> None:
    assert parse_cgroup("3:cpu:/old\n0::/user.slice/a:b\n") == "/user.slice/a:b"
    assert parse_cgroup("3:cpu:/old\n") == "/"


@pytest.mark.parametrize(("outer", "inner", "cores"), [("max", "50000", 1), ("100000", "max", 1)])
def test_a_quota_anywhere_above_us_counts(
    tmp_path: Path, outer: str, inner: str, cores: int
) -> None:
    (tmp_path / "self").mkdir()
    (tmp_path / "self/cgroup").write_text("0::/outer/inner\n")
    (tmp_path / "outer/inner").mkdir(parents=True)
    (tmp_path / "outer/cpu.max").write_text(f"{outer} 100000\n")
    (tmp_path / "outer/inner/cpu.max").write_text(f"{inner} 100000\n")
    assert usable_cores(proc=tmp_path, cgroups=tmp_path) == cores


def test_without_cgroups_affinity_counts(tmp_path: Path) -> None:
    assert usable_cores(proc=tmp_path, cgroups=tmp_path) == len(os.sched_getaffinity(0))


BUDGETS = (
    Budget(device=device("amd", 16 * GIB, "a"), reserve_bytes=GIB, promise_bytes=1, max_attempts=1),
    Budget(device=device("amd", None, "b"), reserve_bytes=GIB, promise_bytes=1, max_attempts=1),
)


@pytest.mark.parametrize(
    "run",
    [
        Run(id="r"),
        Run(id="r", device="a", promise_bytes=15 * GIB),
        Run(id="r", device="a", promise_bytes=16 * GIB, reserve_bytes=0),
        Run(id="r", promise_bytes=99 * GIB),  # the other device has not said what it has
    ],
)
def test_what_can_run(run: Run) -> None:
    assert misfit(run, BUDGETS) is None


@pytest.mark.parametrize(
    ("run", "words"),
    [
        (Run(id="r", device="c"), "there is no device 'c' here; there are: a (a name), b (a name)"),
        (
            Run(id="r", device="a", promise_bytes=16 * GIB),
            "a trial is to get 16.0 GiB, and a has 15.0 GiB to give"
            " (16.0 GiB in all, 1.0 GiB kept free)",
        ),
        (  # the device's own promise does not fit beside the run's reserve
            Run(id="r", device="a", reserve_bytes=16 * GIB),
            "a trial is to get 1 B, and a has 0 to give (16.0 GiB in all, 16.0 GiB kept free)",
        ),
        (
            Run(id="r", device="b", promise_bytes=0),
            "a trial cannot do with 0 of memory",
        ),
    ],
)
def test_what_cannot_run_is_told_why(run: Run, words: str) -> None:
    assert misfit(run, BUDGETS) == words


def test_what_is_left_out_can_be_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Beside a card, host RAM and a small iGPU are for runs that name them, and for no others."""
    with EmulatedCard(tmp_path, RX_7900_GRE, RYZEN_IGPU) as card:
        monkeypatch.setenv("SCHEDULER_SYSFS_ROOT", str(card.sysfs))
        here = look_here()
    assert [sources[0].device.key for sources in here.sources] == [
        b.device.key for b in here.budgets
    ]
    free = [b.device.key for b in here.budgets if b.is_for(Run(id="r"))]
    assert free == [RX_7900_GRE.address]
    named = {b.device.key for b in here.budgets if b.on_request}
    assert named == {"host", RYZEN_IGPU.address}
    assert [b.device.key for b in here.budgets if b.is_for(Run(id="r", device="host"))] == ["host"]
