"""AMD GPUs through sysfs: the amdgpu driver's memory counters, joined with KFD on the PCI address.

Covers finding the GPUs that trials can use, and reading their memory. ``mem_info_vram_used`` counts
every client of the card: compute, games, the compositor; HIP's own number misses all but compute
(ROCm/amdgpu#223), so it is not asked. Polls read ``mem_info_*`` and per-process files (KFD's, else
DRM's) only: none of them wakes a suspended card. Formats: kernel, amdgpu_vram_mgr.c,
amdgpu_gtt_mgr.c.

On an APU HIP allocates from GTT, which is the machine's RAM. There ``total`` is the least of the
GTT limit, KFD's bank and the RAM; ``used`` is what of it cannot be had any more, be it because GPU
clients hold it or because the RAM is taken otherwise. The machine's MemAvailable counts, not our
cgroup's limit: hipMalloc on an APU ignores that (llama.cpp PR 20472).

Not covered: temperatures, busy percentages.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import msgspec

from probes import drm, fdinfo, kfd
from probes.meminfo import read_meminfo
from probes.number import Unread, read_number, read_text_or_none
from probes.reading import Device, Held, LeftOut, Reading

#: Below this a card is not worth sharing: integrated GPUs come with 64 MiB to 2 GiB carved out.
SMALL_BYTES = 4 << 30

#: A counter may pass its total by rounding; by more than this it is broken.
_OVER_FULL = 1.05

#: Told of a card whose counters are refused because it sleeps.
ASLEEP = "is asleep (runtime-suspended) and is not woken to be read"


class Pool(msgspec.Struct, frozen=True, kw_only=True):
    """The memory that HIP allocates from on one card."""

    total_path: str
    used_path: str
    counter_bytes: int  #: what total_path said at start
    limit_bytes: int  #: what may be used of it: less than the counter on an APU or a partition
    is_ram: bool  #: GTT on an APU: the pool is the machine's RAM


class AmdGpu:
    """Reads one AMD GPU. Makes no decision about it."""

    source = "amdgpu"
    every_s = 0.0

    def __init__(
        self, *, device: Device, pool: Pool, node: kfd.Node | None, sysfs: Path, proc: Path
    ) -> None:
        self.device = device
        self.pool = pool
        self.node = node
        self._sysfs = sysfs
        self._proc = proc

    def read(self, trees: tuple[int, ...]) -> Reading:
        """See probes.reading.Probe. Measured: 0.03 ms idle, 0.2 ms with 4 trees and 28 others."""
        total: int | None = None
        used: int | None = None
        problem: str | None = None
        asleep = False
        try:
            total = self._read_total()
            used = self._read_used()
        except Unread as unread:
            asleep = self._is_asleep(unread)
            problem = ASLEEP if asleep else str(unread)
        return Reading(
            device=self.device.key,
            total_bytes=total,
            used_bytes=used,
            held=self.read_held(trees),
            problem=problem,
            asleep=asleep,
        )

    def _is_asleep(self, unread: Unread) -> bool:
        """Drivers say "not permitted" of a suspended card's file instead of waking it (amdgpu_pm.c,
        Linux 6.15); these files are for everybody else."""
        folder = Path(self.pool.total_path).parent
        if not unread.forbidden or Path(unread.path).parent != folder:
            return False
        status = read_text_or_none(str(folder / "power/runtime_status"))
        return status is not None and status.strip() == "suspended"

    def read_held(self, trees: tuple[int, ...]) -> tuple[Held, ...] | None:
        """KFD first: a file a process, with DRM it is a link for each open file. None where
        neither can tell."""
        held = None
        if self.node is not None:
            held = kfd.read_held(self._sysfs, self.node.gpu_id, trees, self._proc)
        if held is not None:
            return held
        region: fdinfo.Region = "gtt" if self.pool.is_ram else "vram"
        return fdinfo.read_held(self.device.key, trees, self._proc, region=region)

    def _read_total(self) -> int:
        """Raises Unread if it is not what it was: a card reset or replaced is not ours to judge."""
        seen = read_number(self.pool.total_path)
        if seen != self.pool.counter_bytes:
            raise Unread(
                self.pool.total_path, f"says {seen} bytes, at start {self.pool.counter_bytes}"
            )
        return self.pool.limit_bytes

    def _read_used(self) -> int:
        pool = self.pool
        used = read_number(pool.used_path)
        if used > pool.counter_bytes * _OVER_FULL:
            raise Unread(pool.used_path, f"says {used} bytes of {pool.counter_bytes} in all")
        if not pool.is_ram:
            # On a partition the counter is the whole card's: it may say too much, never too little.
            return min(used, pool.limit_bytes)
        available = read_meminfo(self._proc).available_bytes
        return used_of_ram(pool, used_bytes=used, available_bytes=available)


def used_of_ram(pool: Pool, *, used_bytes: int, available_bytes: int) -> int:
    """What of an APU's pool cannot be had: bytes, from 0 to the pool's limit."""
    free = min(max(pool.counter_bytes - used_bytes, 0), available_bytes)
    return pool.limit_bytes - min(free, pool.limit_bytes)


def find(
    sysfs: Path = Path("/sys"), proc: Path = Path("/proc")
) -> tuple[tuple[AmdGpu, ...], tuple[LeftOut, ...]]:
    """The AMD GPUs whose memory can be read, and those where it cannot, each with its reason."""
    nodes = kfd.read_nodes(sysfs)
    cards = [card for card in drm.read_cards(sysfs) if card.vendor == drm.AMD]
    examined = [_examine(card, nodes, sysfs, proc) for card in cards]
    left_out = [out for out in examined if isinstance(out, LeftOut)]
    left_out += _partitions(nodes, cards)
    return tuple(gpu for gpu in examined if isinstance(gpu, AmdGpu)), tuple(left_out)


def _examine(
    card: drm.Card, nodes: tuple[kfd.Node, ...], sysfs: Path, proc: Path
) -> AmdGpu | LeftOut:
    node = next((node for node in nodes if node.address == card.address), None)
    name = name_of(card, node, read_text_or_none(str(card.folder / "product_name")))
    if card.address is None:
        return LeftOut(key=card.key, name=name, because="it has no PCI address to know it by")
    if card.driver != "amdgpu":
        driver = card.driver or "no driver"
        return LeftOut(key=card.key, name=name, because=f"driven by {driver}, not by amdgpu")
    try:
        pool = _read_pool(card, node, nodes, proc)
    except Unread as unread:
        return LeftOut(key=card.key, name=name, because=f"its memory cannot be read: {unread}")
    device = Device(
        key=card.address,
        kind="amd",
        name=name,
        total_bytes=pool.limit_bytes,
        uuid=_uuid(node, nodes),
        environment=environment(node, nodes),
        source="amdgpu",
        because=_because(pool, node),
    )
    return AmdGpu(device=device, pool=pool, node=node, sysfs=sysfs, proc=proc)


def _read_pool(
    card: drm.Card, node: kfd.Node | None, nodes: tuple[kfd.Node, ...], proc: Path
) -> Pool:
    vram = read_number(str(card.folder / "mem_info_vram_total"))
    bank = node.bank_bytes if node is not None else None
    # KFD's bank is the pool that HIP sees. Larger than VRAM, it can only be GTT: Phoenix has 4 GiB
    # of VRAM, GTT = bank = half the RAM. Equality with GTT says nothing: a Vega 56 was seen with
    # VRAM = GTT = bank.
    is_ram = bank is not None and bank > vram
    kind = "gtt" if is_ram else "vram"
    counter = read_number(str(card.folder / f"mem_info_{kind}_total"))
    limit = counter
    if bank and (is_ram or _is_partitioned(node, nodes)):
        limit = min(counter, bank)
    if is_ram:
        limit = min(limit, read_meminfo(proc).total_bytes)
    if limit == 0:
        raise Unread(str(card.folder / f"mem_info_{kind}_total"), "says 0 bytes")
    return Pool(
        total_path=str(card.folder / f"mem_info_{kind}_total"),
        used_path=str(card.folder / f"mem_info_{kind}_used"),
        counter_bytes=counter,
        limit_bytes=limit,
        is_ram=is_ram,
    )


def _is_partitioned(node: kfd.Node | None, nodes: tuple[kfd.Node, ...]) -> bool:
    return node is not None and Counter(other.slot for other in nodes)[node.slot] > 1


def objection(gpu: AmdGpu, *, has_card: bool) -> str | None:
    """Why *gpu* is left out unless it is asked for by name; None: it is used.

    *has_card*: the machine has a GPU with memory of its own that trials can use.
    """
    ask = by_name(gpu.device.key)
    if gpu.node is None:
        return f"ROCm cannot use it: the compute driver (KFD) does not list it; {ask}"
    if gpu.pool.limit_bytes < SMALL_BYTES:
        return too_small(gpu.device.key, gpu.pool.limit_bytes)
    if gpu.pool.is_ram and has_card:
        # Ryzen desktops bring a two-core GPU beside the card that was bought for computing; since
        # Linux 6.10 it offers half the RAM as its own.
        return f"it is integrated and shares the RAM, and there is a card of its own; {ask}"
    return None


def too_small(key: str, total_bytes: int) -> str:
    size = total_bytes / (1 << 30)
    return f"{size:.1f} GiB of memory is too little for trials; {by_name(key)}"


def by_name(key: str) -> str:
    return f"name it with --device {key} to use it all the same"


def environment(
    node: kfd.Node | None, nodes: tuple[kfd.Node, ...]
) -> tuple[tuple[str, str | None], ...]:
    """What makes a process see only this GPU; empty where ROCm does not know it.

    ROCR_VISIBLE_DEVICES filters first; the variables of HIP count what is left anew from 0, so they
    must not be set beside it (ROCm docs, GPU isolation).
    """
    if node is None:
        return ()
    return only(_uuid(node, nodes) or str(node.order))


def only(chosen: str) -> tuple[tuple[str, str | None], ...]:
    """The variables by which a process sees only the GPU *chosen*, a UUID or ROCm's index."""
    return (
        ("ROCR_VISIBLE_DEVICES", chosen),
        ("HIP_VISIBLE_DEVICES", None),
        ("CUDA_VISIBLE_DEVICES", None),
        ("GPU_DEVICE_ORDINAL", None),
    )


def _uuid(node: kfd.Node | None, nodes: tuple[kfd.Node, ...]) -> str | None:
    """As rocminfo prints it; None on APUs (0) and partitions (one id for all of a card)."""
    if node is None or Counter(other.unique_id for other in nodes)[node.unique_id] > 1:
        return None
    return f"GPU-{node.unique_id:016x}" if node.unique_id else None


def name_of(card: drm.Card, node: kfd.Node | None, product_name: str | None) -> str:
    """A name for people. The driver's product name is an empty line on most consumer cards."""
    if product_name and product_name.strip():
        return product_name.strip()
    product = f"AMD GPU 0x{card.product:04x}" if card.product is not None else "AMD GPU"
    return f"{product} ({node.gfx})" if node is not None and node.gfx else product


def _because(pool: Pool, node: kfd.Node | None) -> str:
    where = "RAM that the GPU may map (GTT)" if pool.is_ram else "VRAM"
    known = "KFD lists it" if node is not None else "asked for by name; KFD does not list it"
    return f"driven by amdgpu, its memory is {where}; {known}"


def _partitions(nodes: tuple[kfd.Node, ...], cards: list[drm.Card]) -> list[LeftOut]:
    """KFD's nodes without counters of their own: all but the first partition of a card."""
    first = {card.address: card for card in cards}
    by_slot = {card.address.rpartition(".")[0]: card for card in cards if card.address}
    taken = set[str]()
    left_out: list[LeftOut] = []
    for node in nodes:
        if node.address in first and node.address not in taken:
            taken.add(node.address)
            continue
        card = by_slot.get(node.slot)
        of = (
            f"a partition of {card.address} without"
            if card is not None
            else "listed by KFD with no"
        )
        left_out.append(
            LeftOut(
                key=f"{node.address}/{node.order}",
                name=f"AMD GPU ({node.gfx})" if node.gfx else "AMD GPU",
                because=f"it is {of} memory counters of its own",
            )
        )
    return left_out
