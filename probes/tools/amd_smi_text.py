"""What AMD's amd-smi prints for people, as far as it says memory to a MiB.

Covers its table (7.0 and later), ``monitor -v`` and ``list``, for a version that has no JSON. Not
covered: a ``monitor`` that rounds to a tenth of a GB (6.4 and later): its numbers are None.
"""

from __future__ import annotations

import re

from probes.tools.amd_smi_parse import (
    Identity,
    not_said,
    parse_address,
    parse_name,
    parse_size,
    without_doubt,
)
from probes.tools.command import ToolFailed
from probes.tools.tool import MIB, ToolCard

# The table: "| 0000:03:00.0     AMD Radeon RX 6800 | ..." over "| 0 ... 14592/16368 MB |".
_BUS_LINE = re.compile(r"\| ([0-9a-fA-F:.]{12,16}) +(.*?) *\|.*\|")
_USED_LINE = re.compile(r"\| +(\d{1,4}) .*\|.* (\d{1,9})/(\d{1,9}) MB \|")


def parse_list_text(text: str) -> dict[int, Identity]:
    """``list`` for people. Empty where no GPU is told."""
    found = re.findall(r"^GPU: (\d{1,4})\n +BDF: (\S+)$", text, re.MULTILINE)
    return {int(gpu): Identity(address=parse_address(bus)) for gpu, bus in found}


def parse_table(text: str) -> tuple[ToolCard, ...]:
    """The table of ``amd-smi`` alone, from 7.0 on: two lines for each GPU. Raises ToolFailed."""
    cards: list[ToolCard] = []
    bus: re.Match[str] | None = None
    for line in text.splitlines():
        used = _USED_LINE.fullmatch(line)
        if bus and used:
            cards.append(
                ToolCard(
                    index=used[1],
                    address=parse_address(bus[1]),
                    name=parse_name(bus[2]),
                    total_bytes=int(used[3]) * MIB,
                    used_bytes=int(used[2]) * MIB,
                )
            )
        bus = _BUS_LINE.fullmatch(line)
    if not cards:
        raise ToolFailed(f"amd-smi shows no GPU with its memory: {text[:200]!r}")
    return without_doubt(cards)


def parse_monitor(text: str) -> tuple[ToolCard, ...]:
    """The table of ``monitor -v``, without addresses; its values end where their headings end.

    A table of processes may follow. Raises ToolFailed.
    """
    lines = text.partition("PROCESS INFO")[0].splitlines()
    head = next((line for line in lines if re.match(r"GPU +[A-Z]", line)), "")
    cards: list[ToolCard] = []
    for line in lines:
        if found := re.match(r" +(\d{1,4}) ", line):
            total, used = _cell(head, line, "VRAM_TOTAL"), _cell(head, line, "VRAM_USED")
            known = total is not None and used is not None
            problem = None if known else f"{not_said(found[1])}, or only in GB"
            cards.append(
                ToolCard(index=found[1], total_bytes=total, used_bytes=used, problem=problem)
            )
    if not head or not cards or len({card.index for card in cards}) != len(cards):
        raise ToolFailed(f"amd-smi shows no table of GPUs: {text[:200]!r}")
    return tuple(cards)


def _cell(head: str, line: str, heading: str) -> int | None:
    found = re.search(rf" +{heading}(?= |$)", head)
    return parse_size(line[found.start() : found.end()].strip(), MIB) if found else None
