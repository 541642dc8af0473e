"""The graphics cards that Linux lists under class/drm, of any maker: who made each, who drives it.

Covers identity only (vendor, driver, PCI address); memory is read by the maker's own module.
Format: the kernel's drm_sysfs and PCI attributes (``vendor``, ``device``, ``uevent``).
"""

from __future__ import annotations

import re
from pathlib import Path

import msgspec

from probes.number import read_text_or_none

AMD = 0x1002
NVIDIA = 0x10DE

#: Connectors (card1-DP-1) and render nodes stand beside the cards.
_CARD = re.compile(r"card\d+")
_ADDRESS = re.compile(r"[0-9a-f]{4,8}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-7]")


class Card(msgspec.Struct, frozen=True, kw_only=True):
    """One card. The N of cardN changes between boots, so it names nothing: ``address`` does."""

    folder: Path  #: .../class/drm/cardN/device
    entry: str  #: cardN, to tell people where we looked
    vendor: int | None  #: PCI vendor; None: not a PCI device, or not said
    product: int | None  #: PCI device id
    driver: str | None  #: None: not said
    address: str | None  #: PCI address in lower case, domain first; None: not a PCI device

    @property
    def key(self) -> str:
        return self.address or self.entry


def read_cards(sysfs: Path) -> tuple[Card, ...]:
    """All cards, by PCI address. Empty where there is no class/drm (a server, a container)."""
    folder = sysfs / "class" / "drm"
    try:
        entries = [entry for entry in folder.iterdir() if _CARD.fullmatch(entry.name)]
    except OSError:
        return ()
    return tuple(sorted((_read_card(entry) for entry in entries), key=lambda card: card.key))


def _read_card(entry: Path) -> Card:
    folder = entry / "device"
    uevent = parse_uevent(read_text_or_none(str(folder / "uevent")) or "")
    address = uevent.get("PCI_SLOT_NAME", folder.resolve().name).lower()
    return Card(
        folder=folder,
        entry=entry.name,
        vendor=parse_hex(read_text_or_none(str(folder / "vendor"))),
        product=parse_hex(read_text_or_none(str(folder / "device"))),
        driver=uevent.get("DRIVER"),
        address=address if _ADDRESS.fullmatch(address) else None,
    )


def parse_uevent(text: str) -> dict[str, str]:
    """The KEY=value lines of a uevent file; lines without "=" are left out."""
    return dict(line.split("=", 1) for line in text.splitlines() if "=" in line)


def parse_hex(text: str | None) -> int | None:
    """0x744c as a number; None where it is not one."""
    try:
        return int(text or "", 16)
    except ValueError:
        return None
