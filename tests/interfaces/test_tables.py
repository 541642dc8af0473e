"""What a newcomer reads, in full."""

from __future__ import annotations

import time
from typing import Any

import pytest

from probes.reading import Device
from scheduler.core.model import Attempt, Budget, Change, Process, Run, Trial
from scheduler.core.view import AttemptView, DeviceView
from scheduler.interfaces.report import Report, RunReport
from scheduler.interfaces.tables import bar, format_duration, report_lines
from scheduler.machine.answers import Supervisor
from scheduler.machine.runs import Best, RunSpec, RunStatus

GIB = 1 << 30
NOW_S = 1_000_000.0
CARD = Device(
    key="0000:03:00.0",
    kind="amd",
    name="RX 7900 GRE",
    total_bytes=16 * GIB,
    source="amdgpu",
    because="test",
)


def attempt(number: int, held: int | None, age_s: float) -> AttemptView:
    return AttemptView(
        attempt=Attempt(
            id=f"train-1/{number}.1",
            trial=Trial(run="train-1", number=number),
            device=CARD.key,
            promise_bytes=6 * GIB,
            cap_bytes=None,
            started_at_s=NOW_S - age_s,
        ),
        state="running",
        process=Process(pid=1, started_ticks=1),
        held_bytes=held,
        peak_bytes=held,
    )


ATTEMPTS = (attempt(3, 2 * GIB, 125.0), attempt(4, None, 7.0))


def card(**other: Any) -> DeviceView:
    known: dict[str, Any] = {
        "budget": Budget(device=CARD, reserve_bytes=GIB, promise_bytes=6 * GIB, max_attempts=None),
        "found": True,
        "read_at_s": NOW_S,
        "total_bytes": 16 * GIB,
        "used_bytes": 4 * GIB,
        "strangers_bytes": 2 * GIB,
        "promised_bytes": 12 * GIB,
        "headroom_bytes": GIB,
        "at_most": 2,
        "problem": None,
        "attempts": ATTEMPTS,
    }
    return DeviceView(**{**known, **other})


def report(*devices: DeviceView, run: RunReport | None = None) -> Report:
    return Report(
        at_s=NOW_S,
        supervisor=Supervisor(
            pid=7, since_s=NOW_S - 7800.0, state_folder="/state", journal_bytes=1
        ),
        devices=devices,
        runs=(run,) if run else (),
    )


RUN = RunReport(
    id="train-1",
    state="running",
    spec=RunSpec(
        run=Run(id="train-1"), kind="script", target="train.py", folder="/", created_at_s=1.0
    ),
    status=RunStatus(
        run="train-1",
        state="running",
        host_pid=7,
        updated_at_s=NOW_S,
        n_trials=400,
        complete=9,
        pruned=2,
        capacity=1,
        retried=1,
        running={"train-1/3.1": 13},
        best=Best(number=5, value=0.125, params={"lr": 0.01}),
        changes=(
            Change(
                at_s=NOW_S - 60.0,
                what="concurrency",
                run=None,
                trial=None,
                device=CARD.key,
                before="4 at once",
                after="2 at once",
                because="an attempt ran out of memory in company",
            ),
        ),
        warnings=("n_jobs is ours to decide",),
    ),
    attempts=ATTEMPTS,
    waiting=2,
    hold="waits for memory: wants 6.0 GiB",
)


def test_the_whole_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("scheduler.interfaces.tables.format_time", lambda at_s, now_s: "13:45:40")
    assert "\n".join(report_lines(report(card(), run=RUN), 80)) == (
        """\
supervisor: pid 7, up 2 h 10 min, state in /state

0000:03:00.0  RX 7900 GRE, 16.0 GiB
  [##########+++++++++++++++++++++++++++++++++++++++++++++++xxxxxxxxx.....|||||]
  # held by 2 of ours 2.0 GiB   + promised besides 10.0 GiB
  x strangers 2.0 GiB   . headroom 1.0 GiB   | reserve 1.0 GiB
  at most 2 at once

train-1  running
  12 of 400 trials done, 1 running, 2 pruned, 1 too big for the device, 1 came back
  best 0.125 in trial 5: lr 0.01
  trial  state           held   promise      peak         age
  13     running      2.0 GiB   6.0 GiB   2.0 GiB       2 min
  -      running            -   6.0 GiB         -         7 s
  next trial: waits for memory: wants 6.0 GiB
  changes:
    13:45:40  concurrency on 0000:03:00.0: 4 at once -> 2 at once
      an attempt ran out of memory in company
  note: n_jobs is ours to decide"""
    )


def test_an_unknown_device_says_why_and_shows_no_number() -> None:
    dark = card(total_bytes=None, used_bytes=None, problem="has not answered for 5 s")
    lines = report_lines(report(dark), 80)
    assert "  memory unknown, nothing new starts here: has not answered for 5 s" in lines
    assert not any("headroom" in line for line in lines)


def test_where_processes_cannot_be_told_apart_nothing_is_called_ours() -> None:
    lines = "\n".join(report_lines(report(card(strangers_bytes=None)), 80))
    assert "used, ours and strangers' 4.0 GiB" in lines
    assert "held by" not in lines


def test_promises_broken_by_strangers_show_what_is_missing() -> None:
    lines = "\n".join(report_lines(report(card(headroom_bytes=-GIB)), 80))
    assert "headroom (over) -1.0 GiB" in lines


@pytest.mark.parametrize("sizes", [[16, 0, 0, 0, 0], [5, 5, 5, 5, 5], [None] * 5, [1] * 5, [0] * 5])
@pytest.mark.parametrize("cells", [1, 7, 76])
def test_a_bar_is_as_long_as_it_may_be(sizes: list[int | None], cells: int) -> None:
    assert len(bar(sizes, 16, cells)) == cells


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(-1, "0 s"), (59, "59 s"), (61, "1 min"), (7800, "2 h 10 min"), (273600, "3 d 4 h")],
)
def test_durations(seconds: float, text: str) -> None:
    assert format_duration(seconds) == text


def test_a_device_out_of_service_says_since_when_and_what_to_do() -> None:
    because = "3 GPU faults within an hour; last: the ROCm runtime says: GPU Hang"
    at_s = time.mktime((2026, 11, 23, 14, 5, 9, 0, 0, -1))
    lines = report_lines(report(card(out_because=because, out_since_s=at_s)), 80)
    assert f"  out of service since 14:05: {because}" in lines
    assert "  look at dmesg, then stop and start the scheduler to use it again" in lines
    assert not any("out of service" in line for line in report_lines(report(card()), 80))
