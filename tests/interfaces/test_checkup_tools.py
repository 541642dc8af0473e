"""The doctor on the makers' tools: a tool is played by a program, or by its answers."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from probes.tools.command import ToolFailed, missing, run
from probes.tools.tool import ToolCard
from scheduler.interfaces.checkup import tools
from scheduler.interfaces.checkup.tools import Counters, Facts
from tests.interfaces.checkup_samples import GIB, machine, only, put
from tests.probes.samples import ADDRESS, card_files, node_files

MIB = 1 << 20


class Played:
    """A tool of which the answers are given."""

    def __init__(self, name: str = "rocm-smi", *cards: ToolCard, missing: str | None = None):
        self.name = name
        self._cards = cards
        self._missing = missing

    def missing(self) -> str | None:
        return self._missing

    def version(self) -> str | None:
        return "6.2.2"

    def cards(self) -> tuple[ToolCard, ...]:
        if not self._cards:
            raise ToolFailed(f"{self.name} lists no GPU")
        return self._cards


class Program:
    """A tool that is a program on PATH."""

    name = "slow-smi"

    def missing(self) -> str | None:
        return missing(self.name)

    def version(self) -> str | None:
        return run([self.name, "--version"], limit_s=0.2).stdout

    def cards(self) -> tuple[ToolCard, ...]:
        run([self.name], limit_s=0.2)
        return ()


def card(used: int | None = GIB, address: str = ADDRESS, total: int = 16 * GIB) -> ToolCard:
    return ToolCard(index="card0", address=address, total_bytes=total, used_bytes=used)


def test_a_tool_that_agrees_is_told_with_its_version(tmp_path: Path) -> None:
    put(tmp_path / "sys", card_files() | node_files())
    check = only(tools.check(machine(tmp_path), Played("rocm-smi", card())))
    assert (check.state, check.seen) == (
        "ok",
        "rocm-smi 6.2.2 sees 1 GPU, with the numbers of sysfs",
    )


@pytest.mark.parametrize(
    ("said", "state"),
    [
        (card(used=3 * GIB), "warning"),
        (card(used=0), "warning"),  # "0 used" is how rocm-smi says that it could not read
        (card(used=GIB + 200 * MIB), "ok"),
        (card(used=None), "ok"),
        (card(total=15 * GIB), "warning"),
        (card(total=16 * GIB - 300 * MIB), "ok"),
        (card(used=9 * GIB, address="0000:99:00.0"), "ok"),
    ],
)
def test_a_tool_that_says_something_else_is_told_with_both_numbers(
    tmp_path: Path, said: ToolCard, state: str
) -> None:
    put(tmp_path / "sys", card_files())
    check = only(tools.check(machine(tmp_path), Played("rocm-smi", said)))
    assert check.state == state
    if said.used_bytes == 3 * GIB:
        assert check.seen.endswith("do not agree: 0000:03:00.0 used 3.0 GiB, sysfs 1.0 GiB")


def test_memory_that_changed_meanwhile_is_no_difference() -> None:
    moving = Counters(total_bytes=16 * GIB, used_bytes=(9 * GIB, GIB))
    for used, state in ((5 * GIB, "ok"), (11 * GIB, "warning")):
        facts = Facts(name="x", cards=(card(used=used),), counters={ADDRESS: moving})
        assert only(tools.judge(facts)).state == state


def test_another_order_than_hips_is_told(tmp_path: Path) -> None:
    first, second = "0000:03:00.0", "0000:04:00.0"
    put(tmp_path / "sys", node_files() | node_files(2, location=0x0400, unique_id=1))
    told = tools.check(machine(tmp_path), Played("rocm-smi", card(None, second), card(None, first)))
    assert f"another order than HIP: {second}, {first}, HIP {first}, {second}" in only(told).seen
    told = tools.check(machine(tmp_path), Played("rocm-smi", card(None, first), card(None, second)))
    assert "another order" not in only(told).seen


NVIDIA_ON_PCI = {
    "bus/pci/devices/0000:65:00.0/vendor": "0x10de",
    "bus/pci/devices/0000:65:00.0/class": "0x030000",
    "bus/pci/devices/0000:65:00.0/uevent": "DRIVER=nvidia",
}


@pytest.mark.parametrize(
    ("name", "files", "state"),
    [
        ("rocm-smi", card_files(), "skipped"),
        ("amdsmi", NVIDIA_ON_PCI, "skipped"),
        ("nvidia-smi", card_files(), "skipped"),
        ("nvidia-smi", NVIDIA_ON_PCI, "problem"),
    ],
)
def test_a_missing_tool_matters_only_to_nvidias_cards(
    tmp_path: Path, name: str, files: dict[str, object], state: str
) -> None:
    put(tmp_path / "sys", files)
    check = only(tools.check(machine(tmp_path), Played(name, missing=f"{name} is not on PATH")))
    assert (check.state, "is not on PATH" in check.seen) == (state, True)


@pytest.mark.parametrize(
    ("name", "files", "state"),
    [
        ("rocm-smi", {}, "skipped"),
        ("rocm-smi", card_files(), "warning"),
        ("nvidia-smi", NVIDIA_ON_PCI, "problem"),
        ("nvidia-smi", card_files(), "skipped"),
    ],
)
def test_a_tool_without_answer_matters_where_it_has_gpus(
    tmp_path: Path, name: str, files: dict[str, object], state: str
) -> None:
    put(tmp_path / "sys", files)
    assert only(tools.check(machine(tmp_path), Played(name))).state == state


@pytest.mark.processes
def test_a_tool_that_hangs_costs_its_time_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(tmp_path / "sys", card_files())
    put(tmp_path, {"bin/slow-smi": "#!/bin/sh\nexec sleep 600"})
    (tmp_path / "bin/slow-smi").chmod(0o755)
    assert only(tools.check(machine(tmp_path), Program())).state == "skipped"
    monkeypatch.setenv("PATH", str(tmp_path / "bin"), prepend=":")
    began_s = time.monotonic()
    check = only(tools.check(machine(tmp_path), Program()))
    assert (check.state, "slow-smi did not answer in" in check.seen) == ("warning", True)
    assert time.monotonic() - began_s < 60.0
