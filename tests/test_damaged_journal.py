"""A journal of a busy life, cut at any byte or with bytes that are others: every start goes on.

Pure but for the file; that real supervisors start by such journals is tested in ``test_starts``.
"""

from __future__ import annotations

import logging
import random
import shutil
from pathlib import Path

import msgspec
import pytest

from probes.reading import Device, Reading
from scheduler import daemon
from scheduler.core.core import Core
from scheduler.core.events import Event, Found, Joined, Offered, Sampled
from scheduler.core.model import Budget, Evidence, Run, Trial
from scheduler.loop import run
from scheduler.machine.journal import Journal, replay
from scheduler.machine.state import StateFolder
from scheduler.simulate import Card, Script, SimulatedWorld

GIB = 1 << 30
DATA = Path(__file__).parent / "data"
FAULT = Evidence(signal=6, stderr_tail="Memory access fault by GPU node-1 on address 0x7f00.\n")
KILLED = Evidence(signal=9)


class Tape:
    def __init__(self) -> None:
        self.events: list[Event] = []

    def append(self, event: Event) -> None:
        self.events.append(event)


def simulated() -> list[Event]:
    """Two cards and strangers, forty trials of two runs: some outgrow their promise, are killed,
    fault."""
    rng = random.Random(4)
    keys = ("0000:03:00.0", "0000:04:00.0")
    strangers = tuple((40.0 * n, rng.randrange(6 * GIB)) for n in range(60))
    cards = tuple(Card(budget=budget(key), strangers=strangers) for key in keys)
    runs = (Run(id="r"), Run(id="s", promise_bytes=3 * GIB, contain=False, priority=1))
    ends = [None] * 8 + [FAULT, KILLED]
    trials = [
        (Trial(run=runs[number % 2].id, number=number), script(rng, rng.choice(ends)))
        for number in range(40)
    ]
    world = SimulatedWorld(
        cards=cards, runs=runs, trials=trials, period_s=20.0, until_s=4000.0
    )  # both cards may come to be out of service, and what is left waits for ever
    tape = Tape()
    run(Core(), world, tape)
    return tape.events


def budget(key: str) -> Budget:
    device = Device(
        key=key, kind="amd", name=key, total_bytes=16 * GIB, source="simulated", because=""
    )
    return Budget(device=device, reserve_bytes=GIB, promise_bytes=6 * GIB, max_attempts=None)


def script(rng: random.Random, end: Evidence | None) -> Script:
    peak_bytes = int(rng.uniform(0.5, 9) * GIB)
    known = {} if end is None else {"evidence": end}
    return Script(peak_bytes=peak_bytes, ramp_s=5.0, run_s=rng.uniform(20, 200), **known)


@pytest.fixture(scope="module")
def lines() -> list[bytes]:
    """A journal's: a simulated life, then one with each kind of event in it."""
    written = [msgspec.json.encode(event) + b"\n" for event in simulated()]
    return [*written, *read_lines("journal-2.jsonl")]


def read_lines(name: str) -> list[bytes]:
    return (DATA / name).read_bytes().splitlines(keepends=True)


@pytest.fixture
def folder(tmp_path: Path) -> StateFolder:
    return StateFolder(tmp_path)


def assert_goes_on(core: Core, at_s: float) -> None:
    """A new life by what *core* knows takes devices and a run, and decides."""
    cards = tuple(budget(key) for key in ("0000:03:00.0", "0000:05:00.0"))
    core.handle(Found(at_s=at_s, budgets=cards))
    core.handle(Joined(at_s=at_s, run=Run(id="r")))
    core.handle(Offered(at_s=at_s, trial=Trial(run="r", number=10_000)))
    for later_s in (1.0, 2.0, 20.0):
        readings = tuple(
            Reading(device=card.device.key, total_bytes=16 * GIB, used_bytes=0, held=())
            for card in cards
        )
        core.handle(Sampled(at_s=at_s + later_s, readings=readings))
        core.check()
    there = [one.attempt.trial.number for d in core.view().devices for one in d.attempts]
    assert 10_000 in there, "it starts nothing any more"


def test_a_life_that_ends_after_any_event_goes_on(lines: list[bytes]) -> None:
    """By an event each, as a kill leaves it; twenty seconds later it has started a trial."""
    core = Core()
    for event in (msgspec.json.decode(line, type=Event) for line in lines):
        core.handle(event)
        copy = Core()
        copy.handle(core.remember())
        assert_goes_on(copy, event.at_s + 1.0)


def test_cut_at_any_byte_it_is_what_was_whole_before(
    lines: list[bytes], folder: StateFolder
) -> None:
    whole, ends = b"".join(lines), [0]
    for line in lines:
        ends.append(ends[-1] + len(line))
    events = [msgspec.json.decode(line, type=Event) for line in lines]
    last = range(ends[-4], len(whole) + 1)
    logging.getLogger("scheduler.machine.journal").setLevel(logging.ERROR)  # a warning each
    cuts = [*last, *random.Random(5).sample(range(len(whole)), 100)]
    for cut in cuts:
        folder.journal.write_bytes(whole[:cut])
        count = sum(end <= cut for end in ends) - 1
        assert list(replay(folder.journal)) == events[:count], f"cut at byte {cut}"
        assert folder.journal.stat().st_size == ends[count]
        if cut % 50 == 0:
            journal = Journal(folder.journal)
            journal.append(events[-1])
            journal.close()
            assert list(replay(folder.journal)) == [*events[:count], events[-1]]


@pytest.mark.parametrize("seed", [*range(40), 116, 176, 2308])
def test_with_bytes_that_are_others_a_supervisor_starts(
    lines: list[bytes], folder: StateFolder, seed: int
) -> None:
    """What cannot be read is set aside, and so is what no core can take. What reads as something
    else is believed where it makes sense: a moment, a size. Every other one was shortened, and
    begins with all that was known."""
    rng = random.Random(seed)
    lines = lines if seed % 2 else read_lines("journal-3.jsonl")
    text = bytearray(b"".join(lines[: rng.randrange(1, len(lines))]))
    for _ in range(rng.choice((1, 1, 5))):
        text[rng.randrange(len(text))] = rng.choice(b'0123456789-e"\\{}[],:\n\x00\xff tfn')
    folder.journal.write_bytes(text)
    core = daemon._recall(folder)
    now_s = 1_795_600_000.0
    assert_goes_on(core, now_s)
    damaged = sorted(folder.path.glob("journal.damaged-*.jsonl"))
    for one in damaged:
        assert one.read_bytes() in bytes(text)
    shutil.rmtree(folder.path)
