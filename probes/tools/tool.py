"""What tools of the GPUs' makers say, in one form: for sources that are a program or a library.

A tool answers for all its GPUs at once. Its own numbers for them (card0, GPU 1) differ between
tools and versions, so the PCI address joins what it says with what others say.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

import msgspec

from probes.processes import held_by_trees
from probes.reading import Device, Held, Reading
from probes.tools.command import Shared, ToolFailed

MIB = 1 << 20

#: A PCI address in any maker's writing: upper-case hex, domains of four or eight digits.
ADDRESS = re.compile(r"([0-9a-f]{4,8})(:[0-9a-f]{2}:[0-9a-f]{2}\.[0-7])", re.IGNORECASE)


def parse_address(text: str) -> str | None:
    """A PCI address as the kernel writes it: 00000000:3B:00.0 is 0000:3b:00.0; None: it is none."""
    found = ADDRESS.fullmatch(text)
    return f"{int(found[1], 16):04x}{found[2].lower()}" if found else None


class ToolProcess(msgspec.Struct, frozen=True, kw_only=True):
    """A process that a tool lists on one GPU. ``held_bytes`` None: not said."""

    pid: int
    held_bytes: int | None
    name: str | None = None


class ToolCard(msgspec.Struct, frozen=True, kw_only=True):
    """One GPU in a tool's words. None: not said, and ``problem`` says why where that matters.

    Sizes are bytes as the tool says them; tools that say MiB are exact to a MiB.
    """

    index: str  #: the tool's own name for it ("card0", "1"); never a key
    address: str | None = None  #: PCI address, lower case, four-digit domain: 0000:03:00.0
    name: str | None = None
    uuid: str | None = None  #: as the maker's visibility variable takes it
    total_bytes: int | None = None  #: VRAM
    used_bytes: int | None = None
    free_bytes: int | None = None  #: where the tool says it apart; need not be total - used
    gtt_total_bytes: int | None = None
    gtt_used_bytes: int | None = None
    gfx: str | None = None  #: "gfx1100", AMD only
    problem: str | None = None
    processes: tuple[ToolProcess, ...] | None = None  #: None: it was not asked, or cannot tell


class Tool(Protocol):
    """A tool of this machine."""

    name: str  #: "rocm-smi": names the source everywhere

    def missing(self) -> str | None:
        """Why it cannot be asked here at all; None: it can. Starts nothing, takes no time."""
        ...

    def version(self) -> str | None:
        """For people; None where it does not say. May take seconds; raises ToolFailed."""
        ...

    def cards(self) -> tuple[ToolCard, ...]:
        """Ask it. May take seconds; raises ToolFailed, and nothing else."""
        ...


class ToolProbe:
    """One GPU through a tool; all GPUs of the tool share its calls."""

    #: Tools are processes: none is started more often than this.
    every_s = 1.0

    def __init__(
        self,
        *,
        device: Device,
        source: str,
        cards: Shared[tuple[ToolCard, ...]],
        used: Callable[[ToolCard], tuple[int, int]],
        held: Callable[[tuple[int, ...]], tuple[Held, ...] | None],
        proc: Path = Path("/proc"),
    ) -> None:
        """*used* makes (total, used) of what the tool said, raising ToolFailed where it cannot;
        *held* is asked first for what trees hold, the tool's own list only where it cannot tell."""
        self.device = device
        self.source = source
        self._cards = cards
        self._used = used
        self._held = held
        self._proc = proc

    def read(self, trees: tuple[int, ...]) -> Reading:
        """See probes.reading.Probe."""
        total: int | None = None
        used: int | None = None
        problem: str | None = None
        held = self._held(trees)
        try:
            card = card_at(self._cards.get(), self.device.key, self.source)
            total, used = self._used(card)
            if held is None and card.processes is not None:
                listed = [(one.pid, one.held_bytes) for one in card.processes]
                held = held_by_trees(listed, trees, self._proc)
        except ToolFailed as failed:
            problem = str(failed)
        return Reading(
            device=self.device.key,
            total_bytes=total,
            used_bytes=used,
            held=held,
            problem=problem,
        )

    def listed(self) -> list[tuple[int, int | None]] | None:
        """(pid, bytes) of all processes that the tool lists on this GPU; None: it cannot tell."""
        try:
            processes = card_at(self._cards.get(), self.device.key, self.source).processes
        except ToolFailed:
            return None
        return None if processes is None else [(one.pid, one.held_bytes) for one in processes]


def card_at(cards: tuple[ToolCard, ...], address: str, source: str) -> ToolCard:
    """The one GPU at *address*. Raises ToolFailed where the tool lists none, or two."""
    found = [card for card in cards if card.address == address]
    if len(found) == 1:
        return found[0]
    seen = ", ".join(card.address or f"{card.index} without an address" for card in cards)
    raise ToolFailed(f"{source} lists {len(found)} GPUs at {address}; it lists {seen or 'none'}")


def in_vram(card: ToolCard, source: str) -> tuple[int, int]:
    """(total, used) of a GPU with memory of its own. Raises ToolFailed with the tool's reason.

    A tool that says what is free apart from what is used is believed where it says less: the
    driver's own reserve is in neither.
    """
    total, used = card.total_bytes, card.used_bytes
    if total is None or used is None:
        raise ToolFailed(card.problem or f"{source} does not say how much memory is used")
    if total <= 0 or used > 1.05 * total:
        raise ToolFailed(f"{source} says {used} bytes used of {total}")
    if card.free_bytes is not None:
        used = max(used, total - card.free_bytes)
    return total, min(used, total)
