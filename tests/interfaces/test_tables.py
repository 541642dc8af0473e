"""What a newcomer reads, in full."""

from __future__ import annotations

import re
import time
from typing import Any

import msgspec
import pytest

from probes.reading import Device
from scheduler.core.model import Attempt, Budget, Change, Process, Rule, Run, Trial
from scheduler.core.view import AttemptView, DeviceView
from scheduler.interfaces.overview import Overview, RunOverview
from scheduler.interfaces.paint import Paint
from scheduler.interfaces.progress import Left, Progress
from scheduler.interfaces.tables import bar, overview_lines
from scheduler.machine.api.answers import Supervisor
from scheduler.machine.runs import Best, LiveTrial, RunSpec, RunStatus
from scheduler.machine.sizes import format_duration

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


def report(*devices: DeviceView, run: RunOverview | None = None) -> Overview:
    return Overview(
        at_s=NOW_S,
        supervisor=Supervisor(
            pid=7, since_s=NOW_S - 7800.0, state_folder="/state", journal_bytes=1
        ),
        devices=devices,
        runs=(run,) if run else (),
    )


SPEC = RunSpec(
    run=Run(id="train-1"),
    kind="script",
    target="train.py",
    folder="/",
    created_at_s=1.0,
    priority=5,
)
CHANGE = Change(
    at_s=NOW_S - 60.0,
    what="concurrency",
    run=None,
    trial=None,
    device=CARD.key,
    before="4 at once",
    after="2 at once",
    because="an attempt ran out of memory in company",
)
STATUS = RunStatus(
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
    live={
        "train-1/3.1": LiveTrial(number=13, step=40, value=0.251, params={"lr": 0.02, "width": 32})
    },
    best=Best(number=5, value=0.125, params={"lr": 0.01, "width": 64}, at_s=NOW_S - 1500.0),
    changes=(CHANGE,),
    warnings=("n_jobs is ours to decide",),
    way="fork",
    storage="sqlite:////state/runs/train-1/study-0.db",
)
RUN = RunOverview(
    id="train-1",
    state="running",
    spec=SPEC,
    status=STATUS,
    progress=Progress(
        done=12,
        trials_an_hour_now=9.6,
        trials_an_hour=8.1,
        pruned_share=2 / 12,
        too_big_share=1 / 12,
        left=Left(about_s=45.5 * 3600, low_s=34.1 * 3600, high_s=56.2 * 3600),
    ),
    attempts=ATTEMPTS,
    waiting=2,
    hold="waits for memory: wants 6.0 GiB",
)


WHOLE = """\
supervisor: pid 7, up 2 h 10 min, state in /state

0000:03:00.0  RX 7900 GRE, 16.0 GiB
  [##########+++++++++++++++++++++++++++++++++++++++++++++++xxxxxxxxx.....|||||]
  # ours 2.0 GiB   + promised besides 10.0 GiB   x strangers 2.0 GiB
  . free 1.0 GiB   | reserve 1.0 GiB
  at most 2 at once

train-1  running  priority 5
  trials  12 of 400 done, 1 running, 2 pruned (17 %), 1 too big for the device
          (8 %), 1 came back
  pace    trials an hour: 9.6 now, 8.1 over the run
  left    about 1 d 21 h (1 d 10 h to 2 d 8 h), until 13:45:40
  best    0.125 in trial 5, 25 min ago: lr 0.01, width 64
  starts  by fork; study in sqlite:////state/runs/train-1/study-0.db
  trial  state    step  value     held  promise     peak   time
  13     running    40  0.251  2.0 GiB  6.0 GiB  2.0 GiB  2 min
  -      running     -      -        -  6.0 GiB        -    7 s
  next    waits for memory: wants 6.0 GiB
  changed 13:45:40 concurrency on 0000:03:00.0: 4 at once -> 2 at once: an
          attempt ran out of memory in company
  note    n_jobs is ours to decide"""


@pytest.fixture
def at_a_fixed_time(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("tables", "run_table"):
        name = f"scheduler.interfaces.{module}.format_time"
        monkeypatch.setattr(name, lambda at_s, now_s: "13:45:40")


@pytest.mark.usefixtures("at_a_fixed_time")
def test_the_whole_of_it() -> None:
    assert "\n".join(overview_lines(report(card(), run=RUN), 80)) == WHOLE


@pytest.mark.usefixtures("at_a_fixed_time")
def test_with_colours_it_says_the_same() -> None:
    painted = "\n".join(overview_lines(report(card(), run=RUN), 80, Paint(True)))
    assert re.sub(r"\x1b\[[0-9]*m", "", painted) == WHOLE
    assert painted != WHOLE


@pytest.mark.parametrize("width", [80, 100, 120, 160])
def test_every_line_fits(width: int) -> None:
    because = "an attempt ran out of memory in company, and " + "so on " * 60
    change = msgspec.structs.replace(CHANGE, because=because)
    status = msgspec.structs.replace(STATUS, changes=(change,) * 9, error=because)
    run = msgspec.structs.replace(RUN, status=status, hold=because)
    lines = overview_lines(report(card(strangers_high_bytes=3 * GIB), run=run), width)
    assert max(map(len, lines)) <= width
    assert max(map(len, lines)) > 0.9 * width  # and the width is used


def test_a_wide_terminal_shows_what_attempts_try() -> None:
    narrow, wide = (overview_lines(report(card(), run=RUN), width) for width in (80, 160))
    assert "lr 0.02, width 32" in "\n".join(wide)
    assert "lr 0.02, width 32" not in "\n".join(narrow)


def test_what_strangers_held_lately_is_not_called_free() -> None:
    lines = overview_lines(report(card(strangers_high_bytes=3 * GIB, headroom_bytes=0)), 80)
    assert "~ strangers lately 1.0 GiB more" in "\n".join(lines)
    assert lines[3].count("~") == 5
    assert "." not in lines[3]


def test_of_the_changes_the_last_are_shown_and_how_to_see_all() -> None:
    status = msgspec.structs.replace(STATUS, changes=(CHANGE,) * 9)
    run = msgspec.structs.replace(RUN, status=status)
    few = overview_lines(report(run=run), 80)
    assert sum("changed" in line for line in few) == 5
    assert "          4 more: scheduler status train-1" in few
    every = overview_lines(report(run=run), 80, is_all=True)
    assert sum("changed" in line for line in every) == 9
    assert not any("more:" in line for line in every)


RULES = (
    Rule(source="program", max_attempts=0, stops=True, because="steam runs"),
    Rule(
        source="window", device=CARD.key, max_attempts=1, reserve_bytes=8 * GIB,
        because="the window mon-fri 09:00-18:00",
    ),
    Rule(source="you", run="train-1", max_attempts=0, because="paused by you"),
)  # fmt: skip


def test_a_rule_stands_where_it_holds() -> None:
    told = msgspec.structs.replace(report(card(), run=RUN), rules=RULES)
    lines = overview_lines(told, 120)
    everywhere = "  steam runs: nothing new starts; what runs is stopped and comes back later"
    assert lines[1] == everywhere
    window = (
        "  the window mon-fri 09:00-18:00: at most 1 at once, 8.0 GiB kept free;"
        " what is beyond that may finish"
    )
    assert lines.index(window) < lines.index("") + 10
    assert lines[-1] == "  paused by you: nothing new starts; what runs may finish"
    assert any("| reserve 8.0 GiB" in line for line in lines)


def test_a_pause_is_said_once() -> None:
    paused = msgspec.structs.replace(RUN, paused="paused by you", hold="paused by you")
    told = msgspec.structs.replace(report(card(at_most=0), run=paused), rules=RULES[2:])
    lines = overview_lines(told, 80)
    assert "train-1  running  paused; priority 5" in lines
    assert sum("paused by you" in line for line in lines) == 1
    assert not any("at most 0" in line for line in lines)


def queued(number: int, place: int, **asked: Any) -> RunOverview:
    run = f"later-{number}"
    spec = msgspec.structs.replace(SPEC, run=Run(id=run), kept=True, **asked)
    status = RunStatus(run=run, state="queued", host_pid=0, updated_at_s=NOW_S)
    hold = "4 runs are running already; it is their turn first"
    return RunOverview(
        id=run, state="queued", spec=spec, status=status, progress=None, hold=hold, place=place
    )


def test_the_queue_stands_behind_what_runs_in_its_order() -> None:
    over = msgspec.structs.replace(RUN, id="old-1", state="finished")
    runs = (queued(2, 2, after=("train-1",)), over, queued(1, 1, priority=3), RUN)
    lines = overview_lines(msgspec.structs.replace(report(), runs=runs), 80)
    heads = [line for line in lines if re.match(r"[a-z]+-\d", line)]
    assert heads == [
        "train-1  running  priority 5",
        "later-1  queued  number 1 in the queue; priority 3",
        "later-2  queued  number 2 in the queue; priority 5; after train-1",
        "old-1  finished",
    ]
    assert "  next    4 runs are running already; it is their turn first" in lines


def test_one_that_has_begun_waits_for_no_other_run() -> None:
    """It was interrupted, and is queued to go on."""
    one = queued(2, 1, after=("train-1",))
    begun = msgspec.structs.replace(one.status, started_at_s=NOW_S - 60)
    lines = overview_lines(
        msgspec.structs.replace(report(), runs=(msgspec.structs.replace(one, status=begun),)), 80
    )
    assert "later-2  queued  number 1 in the queue; priority 5" in lines


@pytest.mark.parametrize(
    ("said", "kept", "way_on"),
    [
        ("interrupted", False, "to go on: scheduler run --resume train-1"),
        ("running", False, "its process is gone; to go on: scheduler run --resume train-1"),
        ("interrupted", True, "to go on: scheduler resume train-1"),
        ("running", True, "its process is gone; to go on: scheduler start"),
    ],
)
def test_what_was_interrupted_says_how_it_goes_on(said: Any, kept: bool, way_on: str) -> None:
    run = msgspec.structs.replace(
        RUN,
        state="interrupted",
        status=msgspec.structs.replace(STATUS, state=said),
        spec=msgspec.structs.replace(SPEC, kept=kept),
    )
    assert way_on in overview_lines(report(run=run), 120)[2]


def test_an_unknown_device_says_why_and_shows_no_number() -> None:
    dark = card(total_bytes=None, used_bytes=None, problem="has not answered for 5 s")
    lines = overview_lines(report(dark), 80)
    assert "  memory unknown, nothing new starts here: has not answered for 5 s" in lines
    assert not any("free" in line for line in lines)


def test_where_processes_cannot_be_told_apart_nothing_is_called_ours() -> None:
    lines = "\n".join(overview_lines(report(card(strangers_bytes=None)), 80))
    assert "# ours and of strangers 4.0 GiB" in lines
    assert "x strangers" not in lines


def test_promises_broken_by_strangers_show_what_is_missing() -> None:
    lines = "\n".join(overview_lines(report(card(headroom_bytes=-GIB)), 80))
    assert ". free 0, short of 1.0 GiB" in lines


@pytest.mark.parametrize("sizes", [[16, 0, 0, 0, 0, 0], [5] * 6, [None] * 6, [1] * 6, [0] * 6])
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
    out = msgspec.structs.replace(report(card(out_because=because, out_since_s=at_s)), at_s=at_s)
    lines = overview_lines(out, 120)
    assert f"  out of service since 14:05:09: {because}" in lines
    do = "  look at dmesg; to use it again: scheduler resume-device 0000:03:00.0"
    assert do in lines
    assert not any("out of service" in line for line in overview_lines(report(card()), 80))
