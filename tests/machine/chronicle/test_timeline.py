"""How memory was used over time, as it is noted and read again."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from probes.reading import Device
from scheduler.core.model import Attempt, Budget, Trial
from scheduler.core.view import AttemptView, DeviceView, View
from scheduler.machine.chronicle import timeline
from scheduler.machine.chronicle.timeline import EVERY_S, NAME, OLD, Part, Timeline, read_moments

GIB = 1 << 30


def view(*held_bytes: int | None) -> View:
    attempts = tuple(
        AttemptView(
            attempt=Attempt(
                id=f"r/{number}.1",
                trial=Trial(run="r", number=number),
                device="card",
                promise_bytes=6 * GIB,
                cap_bytes=None,
                started_at_s=0.0,
            ),
            state="running",
            process=None,
            held_bytes=held,
            peak_bytes=held,
        )
        for number, held in enumerate(held_bytes)
    )
    budget = Budget(
        device=Device(
            key="card", name="card", kind="gpu", total_bytes=16 * GIB, source="amdgpu", because=""
        ),
        reserve_bytes=GIB,
        promise_bytes=6 * GIB,
        max_attempts=None,
    )
    device = DeviceView(
        budget=budget,
        found=True,
        read_at_s=0.0,
        total_bytes=16 * GIB,
        used_bytes=4 * GIB,
        strangers_bytes=None,
        promised_bytes=0,
        headroom_bytes=None,
        at_most=None,
        problem=None,
        attempts=attempts,
    )
    return View(at_s=0.0, devices=(device,), runs=(), changes=())


def times(folder: Path) -> list[float]:
    return [one.at_s for one in read_moments(folder, 0.0, 1e12)]


def test_a_line_is_noted_now_and_then_and_whenever_the_company_changes(tmp_path: Path) -> None:
    told = Timeline(tmp_path)
    told.look(view(), 900.0)
    told.look(view(GIB), 1000.0)
    told.look(view(2 * GIB), 1001.0)
    told.look(view(2 * GIB, None), 1002.0)
    told.look(view(2 * GIB, None), 1002.0 + EVERY_S)
    told.look(view(), 1020.0)
    told.look(view(), 1100.0)
    assert times(tmp_path) == [1000.0, 1002.0, 1002.0 + EVERY_S, 1020.0]
    moments = list(read_moments(tmp_path, 1001.0, 1003.0))
    assert [one.attempts for one in moments] == [
        (Part("r/0.1", 6 * GIB, 2 * GIB), Part("r/1.1", 6 * GIB, None))
    ]
    assert moments[0].strangers_bytes is None
    assert stat.S_IMODE(os.stat(tmp_path / NAME).st_mode) == 0o600


def test_a_clock_that_is_set_back_does_not_end_it(tmp_path: Path) -> None:
    told = Timeline(tmp_path)
    told.look(view(GIB), 9000.0)
    told.look(view(GIB), 1000.0)
    assert times(tmp_path) == [9000.0, 1000.0]


def test_it_is_bounded_and_what_came_before_is_kept(tmp_path: Path) -> None:
    lines = timeline.FILE_BYTES // 80
    with open(tmp_path / NAME, "wb") as file:
        file.write(b"x" * 79 * lines)
    told = Timeline(tmp_path)
    for number in range(3 * 80):
        told.look(view(*[GIB] * 40), 1000.0 + number * EVERY_S)
    sizes = [(tmp_path / name).stat().st_size for name in (NAME, OLD)]
    assert max(sizes) < timeline.FILE_BYTES + 10_000
    assert times(tmp_path)[-1] == 1000.0 + (3 * 80 - 1) * EVERY_S


def test_lines_that_are_torn_or_foreign_are_passed_over(tmp_path: Path) -> None:
    Timeline(tmp_path).look(view(GIB), 1000.0)
    with open(tmp_path / NAME, "ab") as file:
        file.write(b'{"at_s":1}\n\xff\n{"at_s":1000.0,"dev')
    assert times(tmp_path) == [1000.0]


def test_a_folder_that_takes_nothing_costs_the_picture_only(tmp_path: Path) -> None:
    (tmp_path / NAME).mkdir()
    Timeline(tmp_path).look(view(GIB), 1000.0)
    assert times(tmp_path) == []
