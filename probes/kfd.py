"""AMD's compute driver (KFD) in sysfs: the GPUs it lists, and the VRAM each process holds.

Covers class/kfd/kfd/topology and class/kfd/kfd/proc. Formats: kernel, drivers/gpu/drm/amd/amdkfd
(kfd_topology.c, kfd_process.c). Not read: ``sdma_*`` (a read starts work in the driver), ``pasid``
(always 0 on new kernels), ``stats_*``.
"""

from __future__ import annotations

import os
from pathlib import Path

import msgspec

from probes.number import Unread, parse_digits, parse_pairs, read_number, read_text_or_none
from probes.processes import held_by_trees
from probes.reading import Held


class Node(msgspec.Struct, frozen=True, kw_only=True):
    """A GPU, or one partition of a GPU, that ROCm can compute on."""

    order: int  #: place among the GPUs, from 0: the index that ROCR_VISIBLE_DEVICES takes
    gpu_id: int  #: the id in the names of the per-process files
    address: str  #: PCI address, lower case; partitions differ in the function or not at all
    bank_bytes: int | None  #: the memory pool that HIP allocates from; None: not said
    unique_id: int  #: 0: has none (APUs)
    gfx: str | None  #: "gfx1100"; None: not said

    @property
    def slot(self) -> str:
        """The address without its function: equal for all partitions of a card."""
        return self.address.rpartition(".")[0]


def read_nodes(sysfs: Path) -> tuple[Node, ...]:
    """All GPU nodes, in KFD's order. Empty without KFD, or where a container hides them."""
    topology = sysfs / "class/kfd/kfd/topology/nodes"
    try:
        numbers = sorted(
            int(name) for name in os.listdir(topology) if parse_digits(name) is not None
        )
    except OSError:
        return ()
    nodes: list[Node] = []
    for number in numbers:
        node = _read_node(topology / str(number), order=len(nodes))
        if node is not None:
            nodes.append(node)
    return tuple(nodes)


def _read_node(folder: Path, order: int) -> Node | None:
    """None: a CPU, or a GPU that a device cgroup hides (its files are unreadable or empty)."""
    try:
        gpu_id = read_number(str(folder / "gpu_id"))
    except Unread:
        return None
    properties = parse_pairs(read_text_or_none(str(folder / "properties")) or "")
    if gpu_id == 0 or "location_id" not in properties:
        return None
    bank = parse_pairs(read_text_or_none(str(folder / "mem_banks/0/properties")) or "")
    return Node(
        order=order,
        gpu_id=gpu_id,
        address=address(properties.get("domain", 0), properties["location_id"]),
        bank_bytes=bank.get("size_in_bytes"),
        unique_id=properties.get("unique_id", 0),
        gfx=gfx_name(properties.get("gfx_target_version", 0)),
    )


def address(domain: int, location_id: int) -> str:
    """The PCI address in ``location_id``: bus << 8 | device << 3 | function.

    Bits 31:28 hold the partition on MI300; 25600 is 0000:64:00.0.
    """
    bus, device, function = (location_id >> 8) & 0xFF, (location_id >> 3) & 0x1F, location_id & 7
    return f"{domain:04x}:{bus:02x}:{device:02x}.{function}"


def gfx_name(version: int) -> str | None:
    """``gfx_target_version`` as compilers write it: 110003 is gfx1103, 90010 is gfx90a."""
    if version <= 0:
        return None
    return f"gfx{version // 10000}{version // 100 % 100:x}{version % 100:x}"


def read_held(
    sysfs: Path, gpu_id: int, trees: tuple[int, ...], proc: Path
) -> tuple[Held, ...] | None:
    """VRAM that KFD has given to each tree, in the order of *trees*.

    None: KFD lists no processes here, or lists pids of another PID namespace (a container). A tree
    of which KFD lists no process holds 0. Counted are buffers allocated as VRAM by compute
    (``vram_<gpu_id>``, bytes); not counted are graphics buffers and pinned host memory.

    Costs a file for each process that KFD lists, and a walk up to its root for those on this card;
    a walk down from each tree would touch all of a trial's threads and loader processes.
    """
    listed = read_listed(sysfs, gpu_id)
    return None if listed is None else held_by_trees(listed, trees, proc)


def read_listed(sysfs: Path, gpu_id: int) -> list[tuple[int, int | None]] | None:
    """(pid, bytes) of all processes that KFD lists; None: it lists none here, not even nobody.

    A process that was never given this GPU, or has ended, holds 0.
    """
    try:
        folder = os.open(f"{sysfs}/class/kfd/kfd/proc", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        pids = [name for name in os.listdir(folder) if parse_digits(name) is not None]
        return [(int(pid), _read_vram(f"{pid}/vram_{gpu_id}", folder)) for pid in pids]
    finally:
        os.close(folder)


def _read_vram(path: str, folder: int) -> int | None:
    try:
        return read_number(path, folder)
    except Unread as unread:
        return 0 if unread.gone else None
