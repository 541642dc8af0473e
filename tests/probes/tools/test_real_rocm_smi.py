"""AMD's own rocm-smi says of the emulated card what we read of it, while memory moves.

It runs where the emulated tree is /sys.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest

from probes import amdgpu
from probes.processes import held_by_trees
from probes.reading import Probe
from probes.tools.command import ToolFailed
from probes.tools.rocm_smi import RocmSmi
from probes.tools.tool import ToolCard, card_at, in_vram
from tests.emulated.card import EmulatedCard
from tests.emulated.mount import can_mount, seeing
from tests.emulated.tree import RX_7900_GRE, RYZEN_IGPU, Model
from tests.probes.workers import Worker, until

pytestmark = [
    pytest.mark.processes,
    pytest.mark.skipif(shutil.which("rocm-smi") is None, reason="rocm-smi (apt) is not installed"),
    pytest.mark.skipif(not can_mount(), reason="needs root and unshare -m, to mount a /sys"),
]

GIB = 1 << 30
GRE, IGPU = RX_7900_GRE.address, RYZEN_IGPU.address

#: Asks the tool once for each line it is given.
ASK = """
import sys, msgspec
from probes.tools.command import ToolFailed
from probes.tools.rocm_smi import RocmSmi
tool = RocmSmi()
for _ in sys.stdin:
    try:
        print("cards", msgspec.json.encode(tool.cards()).decode(), flush=True)
    except ToolFailed as failed:
        print("failed", failed, flush=True)
"""

Read = Callable[[], tuple[ToolCard, ...]]


class Asked:
    """The tool, asked by a process that has *sysfs* for /sys."""

    def __init__(self, sysfs: Path) -> None:
        self.process = subprocess.Popen(
            [*seeing(sysfs), sys.executable, "-c", ASK],
            env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def cards(self) -> tuple[ToolCard, ...]:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        print(file=self.process.stdin, flush=True)
        word, _, text = self.process.stdout.readline().partition(" ")
        if word == "failed":
            raise ToolFailed(text.strip())
        return msgspec.json.decode(text, type=tuple[ToolCard, ...])

    def end(self) -> None:
        self.process.communicate()


class Machine:
    """Emulated cards, what sysfs says of them, what the tool says, and workers on the RX 7900."""

    def __init__(self, card: EmulatedCard) -> None:
        self.card = card
        probes, _ = amdgpu.find(card.sysfs)
        self.probes = {probe.device.key: probe for probe in probes}
        self.tool = Asked(card.sysfs)
        self.workers: list[Worker] = []

    def start(self) -> Worker:
        self.workers.append(Worker(self.card, self.probes[GRE]))
        return self.workers[-1]

    def ours(self) -> dict[str, tuple[int | None, int | None]]:
        """(total, used) by address, as sysfs says."""
        return {key: total_and_used(probe) for key, probe in self.probes.items()}

    def theirs(self) -> dict[str, tuple[int | None, int | None]]:
        return {str(card.address): in_vram(card, "rocm-smi") for card in self.tool.cards()}

    def until_used(self, used_bytes: int) -> None:
        until(lambda: self.probes[GRE].read(()), lambda seen: seen.used_bytes == used_bytes)

    def end(self) -> None:
        for worker in self.workers:
            worker.kill()
        self.tool.end()


def total_and_used(probe: Probe) -> tuple[int | None, int | None]:
    reading = probe.read(())
    return reading.total_bytes, reading.used_bytes


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Callable[..., Machine]]:
    with contextlib.ExitStack() as stack:

        def build(*models: Model) -> Machine:
            machine = Machine(stack.enter_context(EmulatedCard(tmp_path, *models)))
            stack.callback(machine.end)
            return machine

        yield build


@pytest.mark.parametrize("models", [(RYZEN_IGPU, RX_7900_GRE), (RX_7900_GRE, RYZEN_IGPU)])
def test_it_says_what_we_read_while_memory_moves(
    machine: Callable[..., Machine], models: tuple[Model, ...]
) -> None:
    """In both orders of the cards: its own numbers for them change, the addresses do not."""
    here = machine(*models)
    base = RX_7900_GRE.base_bytes
    assert here.theirs() == here.ours()
    one, two = here.start(), here.start()
    for first, second in [(6, 0), (6, 5), (1, 8), (0, 8)]:
        one.hold(first * GIB)
        two.hold(second * GIB)
        here.until_used(base + (first + second) * GIB)
        assert here.theirs() == here.ours()
    two.process.kill()
    here.until_used(base)
    assert here.theirs() == here.ours()
    cards = here.tool.cards()
    assert [card.address for card in cards] == [model.address for model in models]
    assert [card.index for card in cards] == ["card0", "card1"]
    assert [card.processes for card in cards] == [None, None]


def test_it_says_more_than_memory(machine: Callable[..., Machine]) -> None:
    here = machine(RYZEN_IGPU, RX_7900_GRE)
    cards = here.tool.cards()
    assert card_at(cards, GRE, "rocm-smi").uuid == here.probes[GRE].device.uuid
    assert card_at(cards, IGPU, "rocm-smi").uuid is None
    assert card_at(cards, IGPU, "rocm-smi").gtt_total_bytes == RYZEN_IGPU.gtt_bytes


def test_a_single_card_has_processes(machine: Callable[..., Machine]) -> None:
    here = machine(RX_7900_GRE)
    one, two, idle = here.start(), here.start(), here.start()
    trees = (one.pid, two.pid, idle.pid, 1)
    assert here.tool.cards()[0].processes == ()
    for first, second in [(6, 2), (3, 0)]:
        one.hold(first * GIB)
        two.hold(second * GIB)
        (card,) = here.tool.cards()
        assert card.processes is not None
        listed = [(each.pid, each.held_bytes) for each in card.processes]
        held = held_by_trees(listed, trees, "/proc")
        assert held == here.probes[GRE].read(trees).held
        assert held is not None
        assert [each.held_bytes for each in held] == [first * GIB, second * GIB, 0, 0]
    one.process.kill()
    here.until_used(RX_7900_GRE.base_bytes)
    assert here.tool.cards()[0].processes == ()


def test_a_process_list_that_cannot_be_had_costs_no_numbers(
    machine: Callable[..., Machine],
) -> None:
    """One that fails three times in a row is not asked for again."""
    here = machine(RX_7900_GRE)
    there, gone = here.card.sysfs / "class/kfd/kfd/proc", here.card.sysfs / "gone"
    for failures, afterwards in [(2, ()), (1, ()), (3, None)]:
        there.rename(gone)
        for _ in range(failures):
            (card,) = here.tool.cards()
            assert (card.used_bytes, card.processes) == (RX_7900_GRE.base_bytes, None)
        gone.rename(there)
        assert here.tool.cards()[0].processes == afterwards


@pytest.mark.parametrize(
    ("how", "used_bytes"), [("missing", None), ("empty", None), ("garbage", None), ("0", 0)]
)
def test_a_broken_counter(
    machine: Callable[..., Machine], how: str, used_bytes: int | None
) -> None:
    here = machine(RX_7900_GRE)
    here.card.break_used(how)
    (card,) = here.tool.cards()
    assert (card.total_bytes, card.used_bytes) == (RX_7900_GRE.total_bytes, used_bytes)
    assert (card.problem is None) == (used_bytes is not None)


def test_without_a_driver_it_says_so(tmp_path: Path) -> None:
    tool = Asked(tmp_path)
    try:
        with pytest.raises(ToolFailed, match=r"^rocm-smi: it finds no amdgpu driver \("):
            tool.cards()
    finally:
        tool.end()


def test_it_has_a_version() -> None:
    assert RocmSmi().missing() is None
    assert "." in str(RocmSmi().version())
