"""A core that has read the short journal knows what one knows that has read the long one."""

from __future__ import annotations

import os
from pathlib import Path

import msgspec
import pytest

from probes.reading import Device, Held, Reading
from scheduler.core.core import Core
from scheduler.core.events import Event, Exited, Found, Joined, Left, Offered, Sampled, Started
from scheduler.core.model import Budget, Evidence, Process, Run, Trial
from scheduler.core.view import View
from scheduler.machine.compaction import events_of
from scheduler.machine.journal import Journal, replay

GIB = 1 << 30
CARD = Device(
    key="card", kind="amd", name="card", total_bytes=16 * GIB, source="test", because="test"
)
BUDGETS = (Budget(device=CARD, reserve_bytes=GIB, promise_bytes=6 * GIB, max_attempts=None),)


def sampled(at_s: float, *pids: int) -> Sampled:
    held = tuple(Held(pid=pid, held_bytes=2 * GIB) for pid in pids)
    used = 2 * GIB * (len(pids) + 1)
    return Sampled(
        at_s=at_s,
        readings=(Reading(device="card", total_bytes=16 * GIB, used_bytes=used, held=held),),
    )


def started(attempt: str, pid: int) -> Started:
    return Started(at_s=2.0, attempt=attempt, process=Process(pid=pid, started_ticks=pid))


#: Two runs that have an attempt each; of one a trial waits, the other's host is gone; a third is
#: over.
LONG: list[Event] = [
    Found(at_s=0.0, budgets=BUDGETS),
    *(Joined(at_s=0.0, run=Run(id=run)) for run in ("a-1", "b-1", "c-1")),
    sampled(1.0),
    *(Offered(at_s=1.0, trial=Trial(run=run, number=0)) for run in ("a-1", "b-1")),
    started("a-1/0.1", 7),
    started("b-1/0.1", 8),
    Offered(at_s=2.0, trial=Trial(run="a-1", number=1)),
    *(Left(at_s=2.0, run=run) for run in ("b-1", "c-1")),
    sampled(3.0, 7, 8),
]


def view_after(*events: Event) -> View:
    core = Core()
    for event in events:
        core.handle(event)
    core.check()
    return core.view()


def short() -> list[Event]:
    return list(events_of(view_after(*LONG), BUDGETS))


def test_it_knows_the_same_attempts_promises_and_queues() -> None:
    then = sampled(4.0, 7, 8)
    long, after = view_after(*LONG, then), view_after(*short(), then)
    assert after.devices == long.devices
    assert [run.run.id for run in after.runs] == ["a-1", "b-1"]
    for run in after.runs:
        (same,) = (one for one in long.runs if one.run == run.run)
        assert (run.connected, run.active) == (same.connected, same.active)
        assert [one.trial for one in run.waiting] == [one.trial for one in same.waiting]


def test_what_follows_is_the_same() -> None:
    """The attempt's end lets the one that waits start, with the same id."""
    evidence = Evidence(outcome="complete", exit_code=0)
    then = (Exited(at_s=4.0, attempt="a-1/0.1", evidence=evidence), sampled(5.0, 8))
    long, after = view_after(*LONG, *then), view_after(*short(), *then)
    assert [one.attempt.id for one in after.devices[0].attempts] == ["b-1/0.1", "a-1/1.1"]
    assert after.devices == long.devices


def test_it_takes_the_long_ones_place_whole(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    journal = Journal(path)
    for event in LONG:
        journal.append(event)
    journal.begin_anew(short())
    last = sampled(9.0)
    journal.append(last)
    assert journal.size_bytes == path.stat().st_size
    assert list(replay(path)) == [*short(), last]
    assert list(replay(path.with_name("journal.old.jsonl"))) == LONG
    assert sorted(os.listdir(tmp_path)) == ["journal.jsonl", "journal.old.jsonl"]


def test_one_that_cannot_be_written_leaves_all_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    path = tmp_path / "journal.jsonl"
    journal = Journal(path)
    journal.append(LONG[0])
    with monkeypatch.context() as patched:
        patched.setattr(Path, "write_bytes", fail)
        with pytest.raises(OSError, match="No space"):
            journal.begin_anew(short())
    journal.append(LONG[1])
    assert list(replay(path)) == LONG[:2]
    assert msgspec.json.encode(LONG[0]) in path.read_bytes()
