"""``scheduler runs``: one line a run, whether or not a supervisor is there."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from scheduler.core.model import Run
from scheduler.interfaces.runs import OVER_SHOWN, run_lines
from scheduler.machine.api.answers import Runs
from scheduler.machine.api.listing import RunAnswer
from scheduler.machine.runs import Best, RunSpec, RunStatus, State, write_whole
from scheduler.machine.state import StateFolder, new_run, open_state

Scheduler = Callable[..., Any]
NOW_S = 1_000_000.0


def spec_of(run: str, **fields: Any) -> RunSpec:
    return RunSpec(
        run=Run(id=run),
        kind="script",
        target="train.py",
        folder="/",
        created_at_s=NOW_S - 7200,
        **fields,
    )


def answer(run: str, state: State, **fields: Any) -> RunAnswer:
    status = RunStatus(run=run, state=state, host_pid=1, updated_at_s=1.0, **fields)
    return RunAnswer(id=run, state=state, spec=spec_of(run), status=status)


def test_a_line_says_what_it_is_how_far_and_how_good() -> None:
    best = Best(number=4, value=0.123456789, params={})
    run = answer("train-1", "running", complete=3, pruned=2, n_trials=100, best=best)
    heading, line = run_lines([run], NOW_S, 80)
    assert heading.split() == ["run", "state", "trials", "best", "since"]
    assert line.split() == [
        "train-1",
        "running",
        "5/100",
        "0.123457",
        "(trial",
        "4)",
        "2",
        "h",
        "0",
        "min",
    ]


@pytest.mark.parametrize(
    ("run", "words"),
    [
        (answer("a-1", "finished", complete=7), ["a-1", "finished", "7"]),
        (RunAnswer(id="a-1", state="queued", priority=3), ["a-1", "queued", "3", "-"]),
        (RunAnswer(id="a-1", state="running", paused="paused by you"), ["a-1", "paused", "-"]),
        (RunAnswer(id="a-1", state="finished", paused="paused by you"), ["a-1", "finished", "-"]),
    ],
)
def test_what_is_unknown_is_a_dash(run: RunAnswer, words: list[str]) -> None:
    assert run_lines([run], NOW_S, 80)[1].split()[: len(words)] == words


def test_it_fits_80() -> None:
    best = Best(number=999, value=-1.23456e-10, params={})
    runs = [answer("a-long-name-of-a-run-12", "interrupted", complete=10, n_trials=1000, best=best)]
    assert all(len(line) <= 80 for line in run_lines(runs, NOW_S, 80))


def add(state: StateFolder, now: State, number: int) -> str:
    run = new_run(open_state(), "train")
    write_whole(state.run(run) / "run.json", spec_of(run))
    status = RunStatus(run=run, state=now, host_pid=os.getpid(), updated_at_s=time.time())
    write_whole(state.run(run) / "status.json", status)
    os.utime(state.run(run) / "run.json", (number, number))
    return run


def test_those_that_go_on_and_the_last_that_are_over(
    scheduler: Scheduler, state: StateFolder
) -> None:
    going = add(state, "running", 0)
    over = [add(state, "finished", number) for number in range(1, OVER_SHOWN + 3)]
    said = scheduler("runs")
    assert said.code == 0
    shown = [line.split()[0] for line in said.out.splitlines()[1:-1]]
    assert shown == [*reversed(over[2:]), going]
    assert "2 older ones are over: scheduler runs --all" in said.out
    assert len(scheduler("runs", "--all").out.splitlines()) == OVER_SHOWN + 4
    told = msgspec.json.decode(scheduler("runs", "--all", "--json").out, type=Runs)
    assert [run.id for run in told.runs] == [*reversed(over), going]


def test_with_none_it_says_how_to_begin(scheduler: Scheduler) -> None:
    said = scheduler("runs")
    assert (said.code, "scheduler run SCRIPT" in said.out) == (0, True)


@pytest.mark.parametrize("words", [["runs"], ["events"], ["pause", "x"], ["resume-device", "x"]])
def test_it_imports_nothing_heavy(state: StateFolder, words: list[str]) -> None:
    code = (
        "import sys\n"
        "from scheduler.interfaces.cli import main\n"
        "try: main()\n"
        "finally: print(sorted(sys.modules), file=sys.stderr)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True)
    modules = done.stderr.rpartition("[")[2]
    for heavy in ("optuna", "numpy", "rich", "asyncio", "http.client", "uvicorn", "starlette"):
        assert f"'{heavy}'" not in modules
    assert "'click'" in modules
