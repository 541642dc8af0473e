"""The makers' tools: which are here, what they see, and whether sysfs says the same.

A tool that is missing stops nothing where sysfs is read; an NVIDIA GPU has no such files, so there
nvidia-smi is needed.
"""

from __future__ import annotations

from pathlib import Path

import msgspec

from probes import kfd
from probes.drm import AMD, read_cards
from probes.number import Unread, read_number
from probes.tools.command import ToolFailed
from probes.tools.tool import Tool, ToolCard
from scheduler.interfaces.checkup.drivers import read_pci_cards
from scheduler.interfaces.checkup.findings import Check, Where, ok, problem, skipped, warning
from scheduler.machine.sizes import format_size

NAME = "tools"
NVIDIA_SMI = "nvidia-smi"

#: Programs come and go between two looks, and tools round to a MiB.
_NEAR_SHARE, _NEAR_BYTES = 0.05, 256 << 20


class Counters(msgspec.Struct, frozen=True, kw_only=True):
    """sysfs on one card: used before the tool was asked and after."""

    total_bytes: int
    used_bytes: tuple[int, int]


class Facts(msgspec.Struct, frozen=True, kw_only=True):
    """One tool. ``failed``: why it gave no answer."""

    name: str
    missing: str | None = None
    version: str | None = None
    cards: tuple[ToolCard, ...] = ()
    failed: str | None = None
    counters: dict[str, Counters] = {}  #: by PCI address
    hip_order: tuple[str, ...] = ()  #: PCI addresses as HIP counts them
    nvidia_needs_it: bool = False
    has_gpus: bool = False  #: GPUs of the tool's maker are on the PCI bus


def check(where: Where, tool: Tool) -> tuple[Check, ...]:
    return judge(read(where, tool))


def read(where: Where, tool: Tool) -> Facts:
    missing, is_nvidias = tool.missing(), tool.name == NVIDIA_SMI
    cards = [one for one in read_pci_cards(where.sysfs) if (one.vendor != AMD) == is_nvidias]
    facts = Facts(
        name=tool.name,
        missing=missing,
        nvidia_needs_it=is_nvidias and any(card.driver == "nvidia" for card in cards),
        has_gpus=bool(cards),
        hip_order=tuple(node.address for node in kfd.read_nodes(where.sysfs)),
    )
    return facts if missing else _ask(where.sysfs, tool, facts)


def _ask(sysfs: Path, tool: Tool, facts: Facts) -> Facts:
    try:
        version = tool.version()
    except ToolFailed:  # whether it answers is seen below
        version = None
    before = _read_counters(sysfs)
    try:
        cards = tool.cards()
    except ToolFailed as failed:
        return msgspec.structs.replace(facts, version=version, failed=str(failed))
    counters = {
        address: Counters(total_bytes=total, used_bytes=(before[address][1], used))
        for address, (total, used) in _read_counters(sysfs).items()
        if address in before
    }
    return msgspec.structs.replace(facts, version=version, cards=cards, counters=counters)


def _read_counters(sysfs: Path) -> dict[str, tuple[int, int]]:
    """(total, used) of each AMD card's VRAM; without the cards that cannot be read."""
    sizes = {}
    for card in read_cards(sysfs):
        if card.vendor != AMD or card.address is None:
            continue
        try:
            total = read_number(str(card.folder / "mem_info_vram_total"))
            sizes[card.address] = total, read_number(str(card.folder / "mem_info_vram_used"))
        except Unread:
            continue
    return sizes


def judge(facts: Facts) -> tuple[Check, ...]:
    if facts.missing:
        return (_judge_missing(facts),)
    who = f"{facts.name} {facts.version}" if facts.version else facts.name
    if facts.failed is not None and not facts.has_gpus:
        return (skipped(NAME, f"{who}: no GPU for it here"),)
    if facts.failed is not None:
        told = problem if facts.nvidia_needs_it else warning
        todo = f"Run it by hand to see more: {facts.name}"
        return (told(NAME, f"{who} gives no answer: {facts.failed}", todo),)
    differ = [text for card in facts.cards if (text := _difference(card, facts)) is not None]
    if differ:
        todo = "sysfs is believed. If it lasts, please report it with both numbers"
        return (warning(NAME, f"{who} and sysfs do not agree: {'; '.join(differ)}", todo),)
    return (ok(NAME, f"{who} sees {_counted(facts)}{_order(facts)}"),)


def _judge_missing(facts: Facts) -> Check:
    if facts.nvidia_needs_it:
        todo = "It comes with the driver: install its utilities, in the driver's own version"
        return problem(NAME, f"NVIDIA's memory is read with {facts.name}: {facts.missing}", todo)
    return skipped(NAME, f"{facts.name} is not needed here ({facts.missing})")


def _counted(facts: Facts) -> str:
    shared = sum(card.address in facts.counters for card in facts.cards)
    gpus = f"{len(facts.cards)} GPU{'' if len(facts.cards) == 1 else 's'}"
    return f"{gpus}, with the numbers of sysfs" if shared else gpus


def _difference(card: ToolCard, facts: Facts) -> str | None:
    """None: near enough, or one of the two says nothing."""
    if card.address is None or card.address not in facts.counters:
        return None
    here = facts.counters[card.address]
    near = max(_NEAR_BYTES, int(_NEAR_SHARE * here.total_bytes))
    low, high = sorted(here.used_bytes)
    for what, said, least, most in (
        ("total", card.total_bytes, here.total_bytes, here.total_bytes),
        ("used", card.used_bytes, low, high),
    ):
        if said is not None and not least - near <= said <= most + near:
            sizes = f"{format_size(said)}, sysfs {format_size(most)}"
            return f"{card.address} {what} {sizes}"
    return None


def _order(facts: Facts) -> str:
    """A user who counts with the tool's numbers means another card than HIP does."""
    seen = tuple(card.address for card in facts.cards if card.address is not None)
    hip = tuple(address for address in facts.hip_order if address in seen)
    told = tuple(address for address in seen if address in hip)
    if told == hip:
        return ""
    return f"; it counts in another order than HIP: {', '.join(told)}, HIP {', '.join(hip)}"
