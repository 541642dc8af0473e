"""AMD's GPUs by every source: tools stand behind the files, and tell of what files do not."""

from __future__ import annotations

from pathlib import Path

import pytest

from probes.amd import find
from probes.reading import Candidate, LeftOut
from probes.tools.command import ToolFailed
from probes.tools.tool import ToolCard
from tests.probes.samples import (
    ADDRESS,
    DEVICE,
    GIB,
    TOTAL,
    USED,
    Write,
    card_files,
    meminfo_files,
    node_files,
)

UUID = "GPU-e56b237e725ec427"
CARD = ToolCard(index="card0", address=ADDRESS, total_bytes=16 * GIB, used_bytes=3 * GIB)


class Tool:
    """A tool that says *cards*; it counts how often it was asked."""

    def __init__(self, *cards: ToolCard, name: str = "rocm-smi", fails: bool = False) -> None:
        self.name = name
        self.told = cards
        self.fails = fails
        self.asked = 0

    def missing(self) -> str | None:
        return None

    def version(self) -> str | None:
        return None

    def cards(self) -> tuple[ToolCard, ...]:
        self.asked += 1
        if self.fails:
            raise ToolFailed(f"{self.name} did not answer in 10 s")
        return self.told


def look(root: Path, *tools: Tool) -> tuple[tuple[Candidate, ...], tuple[LeftOut, ...]]:
    return find(root, root / "proc", tools, has_card=False)


@pytest.fixture
def card(write: Write) -> Path:
    return write({**card_files(), **node_files()})


def test_tools_stand_behind_the_files_and_are_not_asked(card: Path) -> None:
    tool = Tool(CARD)
    ((gpu,), left_out) = look(card, tool)
    assert [source.source for source in gpu.sources] == ["amdgpu", "rocm-smi"]
    assert (left_out, tool.asked) == ((), 0)


def test_a_tool_reads_the_pool_that_hip_uses(card: Path, write: Write) -> None:
    ((gpu,), _) = look(card, Tool(CARD))
    assert gpu.sources[1].read(()).used_bytes == 3 * GIB


def test_on_an_apu_a_tools_gtt_counts_and_the_ram_that_is_left(write: Write) -> None:
    root = write(
        {
            **card_files(vram=GIB // 2),
            f"{DEVICE}/mem_info_gtt_total": 16 * GIB,
            **node_files(bank=16 * GIB, unique_id=0),
            **meminfo_files(total=32 * GIB, available=30 * GIB),
        }
    )
    told = ToolCard(
        index="card0",
        address=ADDRESS,
        total_bytes=GIB // 2,
        used_bytes=GIB // 4,
        gtt_total_bytes=16 * GIB,
        gtt_used_bytes=5 * GIB,
    )
    ((gpu,), _) = look(root, Tool(told))
    reading = gpu.sources[1].read(())
    assert (reading.total_bytes, reading.used_bytes) == (16 * GIB, 5 * GIB)


@pytest.mark.parametrize(
    ("told", "problem"),
    [
        ((), "rocm-smi lists 0 GPUs at 0000:03:00.0; it lists none"),
        (
            (CARD, CARD),
            "rocm-smi lists 2 GPUs at 0000:03:00.0; it lists 0000:03:00.0, 0000:03:00.0",
        ),
        (
            (ToolCard(index="card0", total_bytes=16 * GIB, used_bytes=0),),
            "rocm-smi lists 0 GPUs at 0000:03:00.0; it lists card0 without an address",
        ),
        ((ToolCard(index="0", address=ADDRESS, problem="used is N/A"),), "used is N/A"),
        (
            (ToolCard(index="0", address=ADDRESS, total_bytes=5, used_bytes=6),),
            "rocm-smi says 6 bytes used of 5",
        ),
    ],
)
def test_what_a_tool_does_not_say_of_this_card_is_unknown(
    card: Path, told: tuple[ToolCard, ...], problem: str
) -> None:
    ((gpu,), _) = look(card, Tool(*told))
    reading = gpu.sources[1].read(())
    assert (reading.total_bytes, reading.used_bytes, reading.problem) == (None, None, problem)


def test_eight_cards_share_one_call(write: Write) -> None:
    files: dict[str, object] = {}
    told = []
    for number in range(8):
        address = f"0000:{number + 1:02x}:00.0"
        files |= card_files(f"class/drm/card{number}/device", address=address)
        files |= node_files(number + 1, location=(number + 1) << 8, gpu_id=number + 9)
        told.append(ToolCard(index=str(number), address=address, total_bytes=9, used_bytes=number))
    tool = Tool(*told)
    gpus, _ = look(write(files), tool)
    assert [gpu.sources[1].read(()).used_bytes for gpu in gpus] == list(range(8))
    assert tool.asked == 1


def test_a_card_whose_files_fail_is_told_by_a_tool(card: Path) -> None:
    """Its counters cannot be read, its node in KFD can: so its processes are known all the same."""
    (card / TOTAL).unlink()
    (card / USED).unlink()
    ((gpu,), left_out) = look(card, Tool(name="amdsmi", fails=True), Tool(CARD))
    assert left_out == ()
    assert (gpu.device.source, gpu.device.total_bytes) == ("rocm-smi", 16 * GIB)
    assert dict(gpu.device.environment)["ROCR_VISIBLE_DEVICES"] == UUID
    assert gpu.sources[0].read(()).used_bytes == 3 * GIB


def test_without_any_file_of_a_card_the_tools_unique_id_chooses_it(write: Write) -> None:
    root = write({"module/amdgpu/initstate": "live"})
    other = ToolCard(
        index="card1", address="0000:0a:00.0", total_bytes=16 * GIB, used_bytes=0, gfx="gfx1100"
    )
    known = ToolCard(
        index="card0", address=ADDRESS, uuid=UUID, total_bytes=16 * GIB, used_bytes=0, name="it"
    )
    ((gpu,), (out,)) = look(root, Tool(known, other))
    assert (gpu.device.key, gpu.device.name, gpu.device.uuid) == (ADDRESS, "it", UUID)
    assert dict(gpu.device.environment)["ROCR_VISIBLE_DEVICES"] == UUID
    assert (out.key, out.name) == ("0000:0a:00.0", "AMD GPU (gfx1100)")
    assert out.because == "rocm-smi tells no unique id, so trials could not be sent to it"


def test_an_only_card_needs_no_id(write: Write) -> None:
    ((gpu,), _) = look(write({"module/amdgpu/initstate": "live"}), Tool(CARD))
    assert dict(gpu.device.environment)["ROCR_VISIBLE_DEVICES"] == "0"


def test_where_the_driver_is_not_loaded_no_tool_is_started(write: Write) -> None:
    tool = Tool(CARD)
    assert look(write(meminfo_files()), tool) == ((), ())
    assert tool.asked == 0
