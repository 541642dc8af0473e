"""``scheduler devices``: memory, strangers and sources, for people and for programs."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from probes.reading import Absent, Device, LeftOut
from probes.strangers import Others, Stranger
from scheduler.interfaces.device_report import DeviceReport, DevicesReport, SourceReport
from scheduler.interfaces.devices import devices_lines
from scheduler.machine.state import StateFolder
from tests.emulated.card import EmulatedCard
from tests.emulated.tree import RX_7900_GRE, RYZEN_IGPU
from tests.interfaces.conftest import Scheduler

GIB, MIB = 1 << 30, 1 << 20
GRE, IGPU = RX_7900_GRE.address, RYZEN_IGPU.address


def report(**more: object) -> DeviceReport:
    device = Device(
        key=GRE,
        kind="amd",
        name="a card",
        total_bytes=16 * GIB,
        uuid="GPU-1",
        environment=(("ROCR_VISIBLE_DEVICES", "GPU-1"), ("HIP_VISIBLE_DEVICES", None)),
        source="amdgpu",
        because="driven by amdgpu",
    )
    told = DeviceReport(
        device=device,
        on_request=False,
        total_bytes=16 * GIB,
        used_bytes=9 * GIB,
        held_bytes=6 * GIB,
        attempts=1,
        problem=None,
        waiting_share=None,
        reserve_bytes=2 * GIB,
        promise_bytes=6 * GIB,
        max_attempts=None,
        strangers=Others(),
        sources=(),
    )
    return msgspec.structs.replace(told, **more)


def lines(*devices: DeviceReport, **more: object) -> str:
    told = DevicesReport(supervisor=True, devices=devices, left_out=(), absent=())
    return "\n".join(devices_lines(msgspec.structs.replace(told, **more)))


def test_memory_is_told_as_ours_and_strangers() -> None:
    said = lines(report())
    assert said.startswith(f"{GRE}  a card  GPU-1\n")
    assert "9.0 GiB used of 16.0 GiB: 6.0 GiB by our 1 trial, 3.0 GiB by strangers" in said
    assert "trials get  ROCR_VISIBLE_DEVICES=GPU-1; unset: HIP_VISIBLE_DEVICES" in said


def test_what_cannot_be_told_is_not_made_up() -> None:
    said = lines(report(held_bytes=None, attempts=2))
    assert "9.0 GiB used of 16.0 GiB; what our 2 trials hold of it cannot be told" in said
    said = lines(report(total_bytes=None, used_bytes=None, problem="it is empty"))
    assert "memory      unknown, nothing new starts here: it is empty" in said


def test_strangers_are_named_and_the_rest_counted() -> None:
    named = tuple(Stranger(pid=n, command=f"game {n}", held_bytes=GIB // n) for n in range(1, 8))
    others = Others(named=named, more=2, more_bytes=MIB, unnamed=1, unnamed_bytes=None, closed=3)
    said = lines(report(strangers=others)).splitlines()
    start = next(
        number for number, line in enumerate(said) if "strangers " in line and "pid" in line
    )
    assert [line.split(None, 1)[-1].strip() for line in said[start : start + 8]] == [
        "1.0 GiB  game 1 (pid 1)",
        "MiB  game 2 (pid 2)",
        "MiB  game 3 (pid 3)",
        "MiB  game 4 (pid 4)",
        "MiB  game 5 (pid 5)",
        "MiB  4 more",
        "1 that cannot be named",
        "3 of other users, which only root may ask",
    ]


def test_each_source_says_what_it_read_how_long_it_took_and_how_it_stands() -> None:
    sources = (
        SourceReport(name="amdgpu", state="left", problem="mem_info_vram_used: is empty"),
        SourceReport(
            name="rocm-smi", state="in use", total_bytes=16 * GIB, used_bytes=GIB, took_s=0.31
        ),
        SourceReport(
            name="amd-smi", state="standby", total_bytes=16 * GIB, used_bytes=GIB, took_s=0.002
        ),
    )
    said = lines(report(sources=sources))
    assert (
        "sources     amdgpu: does not answer: mem_info_vram_used: is empty; "
        "left for the next one after failing three times, tried again later\n"
        "              rocm-smi: 1.0 GiB of 16.0 GiB in 0.31 s; in use\n"
        "              amd-smi: 1.0 GiB of 16.0 GiB in 2.0 ms; standby"
    ) in said


def test_what_is_left_out_and_what_is_not_here_has_its_reason() -> None:
    out = LeftOut(key="host", name="host RAM", because="GPUs are used")
    absent = Absent(source="amd-smi", because="amd-smi is not on PATH")
    said = lines(report(), left_out=(out,), absent=(absent,))
    assert "left out:\n  host  host RAM: GPUs are used" in said
    assert "sources that are not here:\n  amd-smi: amd-smi is not on PATH" in said


def test_pressure_is_told_where_there_is_some() -> None:
    assert "waited for memory for 12 % of the last 10 s" in lines(report(waiting_share=0.12))
    assert "pressure" not in lines(report(waiting_share=0.0))


# -- on real machines ------------------------------------------------------------------------------


@pytest.fixture
def card(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[EmulatedCard]:
    with EmulatedCard(tmp_path, RYZEN_IGPU, RX_7900_GRE) as card:
        monkeypatch.setenv("SCHEDULER_SYSFS_ROOT", str(card.sysfs))
        # No tool is to be found: those of this machine would not see the emulated card.
        monkeypatch.setenv("PATH", str(tmp_path))
        yield card


def told(scheduler: Scheduler) -> DevicesReport:
    return msgspec.json.decode(scheduler("devices", "--json").out, type=DevicesReport)


def test_this_machine_without_a_supervisor(scheduler: Scheduler, state: StateFolder) -> None:
    said = scheduler("devices")
    assert said.code == 0
    assert "host  host RAM\n  memory      " in said.out
    assert "\n  sources     host: " in said.out
    assert f"(pid {os.getpid()})" not in said.out
    assert not state.path.exists()


@pytest.mark.processes
def test_a_supervisors_word_is_taken(scheduler: Scheduler, supervisor: int) -> None:
    report = told(scheduler)
    assert report.supervisor
    assert [one.device.key for one in report.devices] == ["host"]


def test_a_card_its_integrated_neighbour_and_ram(scheduler: Scheduler, card: EmulatedCard) -> None:
    report = told(scheduler)
    assert [one.device.key for one in report.devices if not one.on_request] == [GRE]
    assert {one.device.key for one in report.devices if one.on_request} == {IGPU, "host"}
    (gre,) = (one for one in report.devices if one.device.key == GRE)
    assert gre.used_bytes == RX_7900_GRE.base_bytes
    assert [(source.name, source.state) for source in gre.sources] == [("amdgpu", "in use")]
    assert {absent.source for absent in report.absent} >= {"rocm-smi", "amd-smi"}


@pytest.mark.parametrize("how", ["missing", "empty", "-5", "99999999999999999999"])
def test_a_counter_that_says_nothing_is_unknown(
    scheduler: Scheduler, card: EmulatedCard, how: str
) -> None:
    card.break_used(how, GRE)
    (gre,) = (one for one in told(scheduler).devices if one.device.key == GRE)
    assert (gre.total_bytes, gre.used_bytes) == (None, None)
    assert "mem_info_vram_used" in str(gre.problem)
    assert "memory      unknown, nothing new starts here: " in scheduler("devices").out
