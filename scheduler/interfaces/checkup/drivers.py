"""The drivers: each GPU of AMD's or NVIDIA's on the PCI bus has the one that computing needs.

Formats: kernel, PCI sysfs attributes (``class``, ``vendor``, ``driver``), /sys/module/*/initstate,
kmod's modules.dep and modprobe.d(5), the UEFI variable SecureBoot.
"""

from __future__ import annotations

import re
from pathlib import Path

import msgspec

from probes.drm import AMD, NVIDIA, parse_hex, parse_uevent, read_cards
from probes.number import read_text_or_none
from scheduler.interfaces.checkup.findings import Check, Where, ok, problem, skipped, warning

NAME = "driver"
MAKERS = {AMD: "AMD", NVIDIA: "NVIDIA"}
MODULES = {AMD: "amdgpu", NVIDIA: "nvidia"}

#: A card bound to one of these is meant for a virtual machine.
_GIVEN_AWAY = frozenset({"vfio-pci", "pci-stub", "xen-pciback"})

#: UEFI specification 2.10, 3.3: a global variable; four bytes of attributes, then the value.
_SECURE_BOOT = "firmware/efi/efivars/SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c"


class PciCard(msgspec.Struct, frozen=True, kw_only=True):
    """A GPU on the PCI bus. ``driver`` None: none is bound to it."""

    address: str
    vendor: int
    driver: str | None


class Module(msgspec.Struct, frozen=True, kw_only=True):
    """A kernel driver. ``is_there`` None: the kernel's list of modules is not here (a container)"""

    name: str
    is_loaded: bool
    version: str | None = None
    is_there: bool | None = None
    blocked_by: tuple[str, ...] = ()  #: files that blacklist it, and the kernel's command line


class Facts(msgspec.Struct, frozen=True, kw_only=True):
    cards: tuple[PciCard, ...]
    amdgpu: Module
    nvidia: Module
    release: str
    is_secure_boot: bool


def check(where: Where) -> tuple[Check, ...]:
    return judge(read(where))


def read(where: Where) -> Facts:
    return Facts(
        cards=read_pci_cards(where.sysfs),
        amdgpu=_read_module(where, "amdgpu", is_loaded=_is_amdgpu_live(where.sysfs)),
        nvidia=_read_module(
            where, "nvidia", is_loaded=(where.proc / "driver/nvidia/version").exists()
        ),
        release=where.release,
        is_secure_boot=_is_secure_boot(where.sysfs),
    )


def read_pci_cards(sysfs: Path) -> tuple[PciCard, ...]:
    """AMD's and NVIDIA's, from the PCI bus and from class/drm (a container may show one only)."""
    cards = {
        card.address: PciCard(address=card.address, vendor=card.vendor, driver=card.driver)
        for card in read_cards(sysfs)
        if card.address is not None and card.vendor in (AMD, NVIDIA)
    }
    for folder in sorted(sysfs.glob("bus/pci/devices/*")):
        vendor = parse_hex(read_text_or_none(str(folder / "vendor")))
        if vendor in (AMD, NVIDIA) and _computes(read_text_or_none(str(folder / "class"))):
            driver = parse_uevent(read_text_or_none(str(folder / "uevent")) or "").get("DRIVER")
            address = folder.name.lower()
            cards[address] = PciCard(address=address, vendor=vendor, driver=driver)
    return tuple(card for _, card in sorted(cards.items()))


def _computes(text: str | None) -> bool:
    """Display controllers (0x03....) and processing accelerators (0x1200.., an MI300)."""
    number = parse_hex(text)
    return number is not None and (number >> 16 == 0x03 or number >> 8 == 0x1200)


def _is_amdgpu_live(sysfs: Path) -> bool:
    """A driver that is built into the kernel has a folder and no initstate."""
    folder = sysfs / "module/amdgpu"
    initstate = read_text_or_none(str(folder / "initstate"))
    return folder.is_dir() and (initstate is None or initstate.strip() == "live")


def _read_module(where: Where, name: str, *, is_loaded: bool) -> Module:
    version = read_text_or_none(str(where.sysfs / "module" / name / "version"))
    return Module(
        name=name,
        is_loaded=is_loaded,
        version=version.strip() if version else None,
        is_there=_is_there(where.modules / where.release, name),
        blocked_by=() if is_loaded else _blocked_by(where, name),
    )


def _is_there(folder: Path, name: str) -> bool | None:
    dep = read_text_or_none(str(folder / "modules.dep"))
    if dep is None:
        return None
    builtin = read_text_or_none(str(folder / "modules.builtin")) or ""
    return re.search(rf"/{name}\.ko(\.\w+)?(:|$)", dep + builtin, re.MULTILINE) is not None


def _blocked_by(where: Where, name: str) -> tuple[str, ...]:
    line = re.compile(
        rf"^\s*(blacklist\s+{name}|install\s+{name}\s+/(usr/)?bin/(true|false))\b", re.M
    )
    files = [
        str(path)
        for path in sorted((where.etc / "modprobe.d").glob("*.conf"))
        if line.search(read_text_or_none(str(path)) or "")
    ]
    words = (read_text_or_none(str(where.proc / "cmdline")) or "").split()
    blocked = [word for word in words if word == "nomodeset" or _blacklists(word, name)]
    return (*files, *(f"{word} on the kernel's command line" for word in blocked))


def _blacklists(word: str, name: str) -> bool:
    option, _, names = word.partition("=")
    return option in ("modprobe.blacklist", "module_blacklist") and name in names.split(",")


def _is_secure_boot(sysfs: Path) -> bool:
    try:
        return (sysfs / _SECURE_BOOT).read_bytes()[-1:] == b"\x01"
    except OSError:
        return False


def judge(facts: Facts) -> tuple[Check, ...]:
    """A card without its driver stops trials only where no other card has one: a second card, for
    the screen or a virtual machine, is nobody's mistake."""
    if not facts.cards:
        return (skipped(NAME, "no GPU of AMD's or NVIDIA's on the PCI bus"),)
    one_works = any(_works(card, facts) for card in facts.cards)
    return tuple(_judge_card(card, facts, one_works) for card in facts.cards)


def _module_of(card: PciCard, facts: Facts) -> Module:
    return facts.amdgpu if card.vendor == AMD else facts.nvidia


def _works(card: PciCard, facts: Facts) -> bool:
    return card.driver == MODULES[card.vendor] and _module_of(card, facts).is_loaded


def _judge_card(card: PciCard, facts: Facts, one_works: bool) -> Check:
    module, who = _module_of(card, facts), f"{card.address} ({MAKERS[card.vendor]})"
    if _works(card, facts):
        version = f" {module.version}" if module.version else ""
        return ok(NAME, f"{who}: {module.name}{version} is loaded and drives it")
    if card.driver in _GIVEN_AWAY:
        return skipped(NAME, f"{who}: given to virtual machines ({card.driver})")
    told = warning if one_works else problem
    if not module.is_loaded:
        driven = f", {card.driver} drives it" if card.driver else ""
        return told(
            NAME, f"{who}: {module.name} is not loaded{driven}", _how_to_load(module, facts)
        )
    seen = f"{who}: {module.name} is loaded, but {card.driver or 'nothing'} drives this card"
    return told(NAME, seen, f"See why: sudo dmesg | grep -i -e {module.name} -e {card.address}")


def _how_to_load(module: Module, facts: Facts) -> str:
    if module.blocked_by:
        what = "; ".join(module.blocked_by)
        return f"It is blocked by {what}. Take that out, then restart the machine"
    if module.is_there is False:
        package = "the linux-modules-extra package" if module.name == "amdgpu" else "the driver"
        return (
            f"Kernel {facts.release} has no {module.name}: install {package} for it, or where it"
            f" was built by DKMS: sudo dkms autoinstall && sudo modprobe {module.name}"
        )
    signed = (
        " (Secure Boot is on: a driver built here must be signed)" if facts.is_secure_boot else ""
    )
    look = f"sudo dmesg | grep -i {module.name}"
    return f"sudo modprobe {module.name}; if that fails, see why: {look}{signed}"
