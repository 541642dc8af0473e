"""AMD's GPUs by every source: the kernel's files first, AMD's library and commands behind them.

The tools are asked where the kernel's files do not answer: later, when those of a card fail
(``failover``), or at once for a card whose memory they never told. They read the same driver, so
they help where sysfs is hidden or a file of it is broken, not where the driver is.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from probes import amdgpu, drm, fdinfo, kfd
from probes.amdgpu import AmdGpu
from probes.meminfo import read_meminfo
from probes.number import Unread
from probes.reading import Candidate, Device, Held, LeftOut
from probes.tools.command import Shared, ToolFailed
from probes.tools.tool import Tool, ToolCard, ToolProbe, in_vram

Cards = Shared[tuple[ToolCard, ...]]
HeldBy = Callable[[tuple[int, ...]], tuple[Held, ...] | None]


def find(
    sysfs: Path, proc: Path, tools: Sequence[Tool], *, has_card: bool
) -> tuple[tuple[Candidate, ...], tuple[LeftOut, ...]]:
    """The AMD GPUs that can be used, and those that cannot, each with its reason.

    *tools* are those that can be asked, the preferred first; one is started only where the driver
    is there and a card's memory is not told by its files. *has_card*: there is a GPU of another
    maker with memory of its own.
    """
    gpus, left_out = amdgpu.find(sysfs, proc)
    asked = [(tool.name, Shared(tool.cards)) for tool in tools]
    has_card = has_card or any(not gpu.pool.is_ram and gpu.node for gpu in gpus)
    candidates = [
        Candidate(_sources(gpu, asked, proc), amdgpu.objection(gpu, has_card=has_card))
        for gpu in gpus
    ]
    known = {gpu.device.key for gpu in gpus}
    if asked and _is_any_untold(sysfs, known):
        told, untold = _told_by_tools(asked, known, sysfs, proc)
        keys = {one.device.key for one in told} | {out.key for out in untold}
        left_out = (*(out for out in left_out if out.key not in keys), *untold)
        candidates += told
    return tuple(candidates), left_out


def _is_any_untold(sysfs: Path, known: set[str]) -> bool:
    """The driver is there, and there are cards of it, or may be, that its files do not tell of."""
    driven = [card for card in drm.read_cards(sysfs) if card.driver == "amdgpu"]
    hidden = not driven and (sysfs / "module/amdgpu").is_dir()
    return hidden or any(card.key not in known for card in driven)


# -- a card that its files tell of -------------------------------------------------------------


def _sources(
    gpu: AmdGpu, asked: Sequence[tuple[str, Cards]], proc: Path
) -> tuple[AmdGpu | ToolProbe, ...]:
    tools = [
        ToolProbe(
            device=gpu.device,
            source=name,
            cards=cards,
            used=_used_by(gpu, name, proc),
            held=gpu.read_held,
            proc=proc,
        )
        for name, cards in asked
    ]
    return gpu, *tools


def _used_by(gpu: AmdGpu, name: str, proc: Path) -> Callable[[ToolCard], tuple[int, int]]:
    """(total, used) of the pool that HIP uses on *gpu*, by what a tool says of it."""

    def used(card: ToolCard) -> tuple[int, int]:
        pool = gpu.pool
        if not pool.is_ram:
            total, in_use = in_vram(card, name)
            return min(total, pool.limit_bytes), min(in_use, pool.limit_bytes)
        if card.gtt_used_bytes is None:
            raise ToolFailed(card.problem or f"{name} does not say how much GTT is used")
        try:
            available = read_meminfo(proc).available_bytes
        except Unread as unread:
            raise ToolFailed(str(unread)) from unread
        in_use = amdgpu.used_of_ram(pool, used_bytes=card.gtt_used_bytes, available_bytes=available)
        return pool.limit_bytes, in_use

    return used


# -- a card that only tools tell of ------------------------------------------------------------


def _told_by_tools(
    asked: Sequence[tuple[str, Cards]], known: set[str], sysfs: Path, proc: Path
) -> tuple[list[Candidate], list[LeftOut]]:
    """By the first tool that lists such cards."""
    nodes = kfd.read_nodes(sysfs)
    for name, cards in asked:
        try:
            fresh = [card for card in cards.get() if card.address not in known]
        except ToolFailed:
            continue
        if fresh:
            told: list[Candidate] = []
            untold: list[LeftOut] = []
            for card in fresh:
                node = next((node for node in nodes if node.address == card.address), None)
                variables = amdgpu.environment(node, nodes) or _by_uuid(card, len(fresh))
                device = _device(name, card, variables)
                if isinstance(device, LeftOut):
                    untold.append(device)
                else:
                    told.append(
                        _candidate(device, cards, _held(device.key, node, sysfs, proc), proc)
                    )
            return told, untold
    return [], []


def _device(
    name: str, card: ToolCard, variables: tuple[tuple[str, str | None], ...]
) -> Device | LeftOut:
    title = card.name or (f"AMD GPU ({card.gfx})" if card.gfx else "AMD GPU")
    problem = None
    total = 0
    if card.address is None:
        problem = f"{name} does not say its PCI address"
    elif not variables:
        problem = f"{name} tells no unique id, so trials could not be sent to it"
    try:
        total, _ = in_vram(card, name)
    except ToolFailed as failed:
        problem = f"its memory cannot be read: {failed}"
    if card.address is None or problem is not None:
        key = card.address or f"{name} {card.index}"
        return LeftOut(key=key, name=title, because=problem or "")
    return Device(
        key=card.address,
        kind="amd",
        name=title,
        total_bytes=total,
        uuid=card.uuid,
        environment=variables,
        source=name,
        because=f"its memory is told by {name}, and not by the driver's files",
    )


def _candidate(device: Device, cards: Cards, held: HeldBy, proc: Path) -> Candidate:
    probe = ToolProbe(
        device=device,
        source=device.source,
        cards=cards,
        used=lambda card: in_vram(card, device.source),
        held=held,
        proc=proc,
    )
    total = device.total_bytes or 0
    small = amdgpu.too_small(device.key, total) if total < amdgpu.SMALL_BYTES else None
    return Candidate((probe,), small)


def _by_uuid(card: ToolCard, count: int) -> tuple[tuple[str, str | None], ...]:
    """What makes a process see only this card; an only card needs no name."""
    chosen = card.uuid or ("0" if count == 1 else None)
    return amdgpu.only(chosen) if chosen else ()


def _held(key: str, node: kfd.Node | None, sysfs: Path, proc: Path) -> HeldBy:
    """As for a card with files of its own: KFD, else DRM's."""

    def held(trees: tuple[int, ...]) -> tuple[Held, ...] | None:
        found = None if node is None else kfd.read_held(sysfs, node.gpu_id, trees, proc)
        return fdinfo.read_held(key, trees, proc, region="vram") if found is None else found

    return held
