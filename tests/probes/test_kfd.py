"""KFD's nodes and processes: addresses, order, and what each tree holds."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from probes import kfd
from probes.reading import Held
from tests.probes.samples import Write, let_in, node_files, process_files

PROC = "class/kfd/kfd/proc"


@pytest.mark.parametrize(
    ("domain", "location", "address"),
    [
        (0, 25600, "0000:64:00.0"),  # Phoenix
        (0, 49408, "0000:c1:00.0"),  # Strix Point
        (0, 1281, "0000:05:00.1"),  # second partition of an MI300
        (1, 2 << 28 | 0x0A00, "0001:0a:00.0"),  # partition in the high bits
        (0, 0x0308, "0000:03:01.0"),
    ],
)
def test_location_is_the_pci_address(domain: int, location: int, address: str) -> None:
    assert kfd.address(domain, location) == address


@pytest.mark.parametrize(
    ("version", "name"),
    [(110003, "gfx1103"), (90010, "gfx90a"), (90402, "gfx942"), (100303, "gfx1033"), (0, None)],
)
def test_gfx_version_reads_as_compilers_write_it(version: int, name: str | None) -> None:
    assert kfd.gfx_name(version) == name


@given(st.text(max_size=200))
def test_no_text_of_properties_breaks_the_parser(text: str) -> None:
    assert all(value >= 0 for value in kfd.parse_pairs(text).values())


def test_order_counts_gpus_only_and_by_number(write: Write) -> None:
    root = write(
        {
            "class/kfd/kfd/topology/nodes/0/gpu_id": 0,
            "class/kfd/kfd/topology/nodes/0/properties": "cpu_cores_count 16\nlocation_id 0",
            **node_files(10, location=0x0A00, gpu_id=7),
            **node_files(2, location=0x0300, gpu_id=8),
            "class/kfd/kfd/topology/nodes/3/gpu_id": "",  # hidden by a device cgroup
            "class/kfd/kfd/topology/nodes/4/gpu_id": 9,
            "class/kfd/kfd/topology/nodes/4/properties": "",
        }
    )
    assert [(node.order, node.gpu_id, node.address) for node in kfd.read_nodes(root)] == [
        (0, 8, "0000:03:00.0"),
        (1, 7, "0000:0a:00.0"),
    ]


@pytest.fixture
def family(write: Write) -> Path:
    """Process 10 with a child 11 and an orphan 12 of its session; 20 is nobody's; 30 is alone."""
    return write(
        {
            **process_files(1, 0, 1),
            **process_files(10, 1, 10),
            **process_files(11, 10, 10),
            **process_files(12, 1, 10),
            **process_files(20, 1, 20),
            **process_files(30, 1, 30),
            f"{PROC}/10/vram_41000": 100,
            f"{PROC}/11/vram_41000": 20,
            f"{PROC}/12/vram_41000": 3,
            f"{PROC}/20/vram_41000": 5000,
            f"{PROC}/20/vram_41001": 7,
        }
    )


def test_a_tree_holds_what_its_descendants_hold(family: Path) -> None:
    held = kfd.read_held(family, 41000, (30, 10), family / "proc")
    assert held == (Held(pid=30, held_bytes=0), Held(pid=10, held_bytes=123))


def test_a_card_that_a_process_does_not_use_holds_nothing_of_it(family: Path) -> None:
    held = kfd.read_held(family, 41001, (10, 20), family / "proc")
    assert held == (Held(pid=10, held_bytes=0), Held(pid=20, held_bytes=7))


@pytest.mark.parametrize("content", ["", "garbage", "-4096"])
def test_an_odd_number_makes_the_tree_unknown_not_zero(family: Path, content: str) -> None:
    (family / PROC / "11/vram_41000").write_text(content)
    held = kfd.read_held(family, 41000, (10, 30), family / "proc")
    assert held == (Held(pid=10, held_bytes=None), Held(pid=30, held_bytes=0))


def test_a_forbidden_number_makes_the_tree_unknown(
    family: Path, nobody: Callable[[Callable[[], object]], object]
) -> None:
    let_in(family)
    (family / PROC / "11/vram_41000").chmod(0)
    held = nobody(lambda: kfd.read_held(family, 41000, (10,), family / "proc"))
    assert held == (Held(pid=10, held_bytes=None),)


def test_pids_of_another_namespace_say_nothing(family: Path) -> None:
    (family / PROC / "999999").mkdir()
    assert kfd.read_held(family, 41000, (10,), family / "proc") is None


def test_in_the_first_namespace_a_dead_process_does_not_put_the_others_in_doubt(
    family: Path,
) -> None:
    (family / PROC / "999999").mkdir()
    (family / "proc/self/ns").mkdir(parents=True)
    (family / "proc/self/ns/pid").symlink_to("pid:[4026531836]")
    held = kfd.read_held(family, 41000, (10,), family / "proc")
    assert held == (Held(pid=10, held_bytes=123),)


def test_without_kfd_processes_cannot_be_told_apart(tmp_path: Path) -> None:
    assert kfd.read_held(tmp_path, 41000, (os.getpid(),), Path("/proc")) is None
