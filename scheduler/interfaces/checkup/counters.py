"""AMD's counters in sysfs: the cards' memory, and KFD's lists of GPUs and of processes."""

from __future__ import annotations

import os
from pathlib import Path

import msgspec

from probes import kfd
from probes.drm import AMD, read_cards
from probes.number import Unread, read_number
from scheduler.interfaces.checkup.findings import Check, Where, ok, problem, skipped, warning

NAME = "sysfs"
FILES = ("mem_info_vram_total", "mem_info_vram_used", "mem_info_gtt_total", "mem_info_gtt_used")

#: The first PID namespace's number (kernel, include/linux/proc_ns.h, PROC_PID_INIT_INO).
_FIRST_NAMESPACE = "pid:[4026531836]"


class Facts(msgspec.Struct, frozen=True, kw_only=True):
    """``cards``: a card's address and what of it cannot be read. ``kfd_pids`` None: no list."""

    cards: tuple[tuple[str, tuple[str, ...]], ...]
    known_to_kfd: frozenset[str]
    has_kfd: bool
    kfd_pids: tuple[int, ...] | None
    foreign_pids: int  #: of those, how many have no entry in /proc
    namespace: str | None  #: of our pids; None: not said


def check(where: Where) -> tuple[Check, ...]:
    return judge(read(where))


def read(where: Where) -> Facts:
    cards = [
        (card.address, tuple(_unreadable(card.folder)))
        for card in read_cards(where.sysfs)
        if card.vendor == AMD and card.driver == "amdgpu" and card.address
    ]
    pids = _read_pids(where.sysfs)
    return Facts(
        cards=tuple(cards),
        known_to_kfd=frozenset(node.address for node in kfd.read_nodes(where.sysfs)),
        has_kfd=(where.sysfs / "class/kfd/kfd/topology/nodes").is_dir(),
        kfd_pids=pids,
        foreign_pids=sum(not (where.proc / str(pid)).exists() for pid in pids or ()),
        namespace=_read_namespace(where.proc),
    )


def _unreadable(folder: Path) -> list[str]:
    problems = []
    for name in FILES:
        try:
            read_number(str(folder / name))
        except Unread as unread:
            problems.append(f"{name} {unread.seen}")
    return problems


def _read_pids(sysfs: Path) -> tuple[int, ...] | None:
    try:
        names = os.listdir(sysfs / "class/kfd/kfd/proc")
    except OSError:
        return None
    return tuple(sorted(int(name) for name in names if name.isdigit()))


def _read_namespace(proc: Path) -> str | None:
    try:
        return os.readlink(proc / "self/ns/pid")
    except OSError:
        return None


def judge(facts: Facts) -> tuple[Check, ...]:
    if not facts.cards:
        return (skipped(NAME, "no GPU that amdgpu drives"),)
    checks = [_judge_card(facts, address, bad) for address, bad in facts.cards]
    return (*checks, _judge_processes(facts))


def _judge_card(facts: Facts, address: str, unreadable: tuple[str, ...]) -> Check:
    if unreadable:
        seen = f"{address}: {'; '.join(unreadable)}"
        return problem(NAME, seen, "See why: sudo dmesg | grep -i amdgpu; a restart may be needed")
    if not facts.has_kfd:
        seen = f"{address}: the compute driver (KFD) is not there, so ROCm cannot use the card"
        return problem(NAME, seen, "Use a kernel with CONFIG_HSA_AMD=y (distributions' have it)")
    if address not in facts.known_to_kfd:
        seen = f"{address}: the compute driver (KFD) does not list it, so ROCm cannot use it"
        todo = "See why: sudo dmesg | grep -i kfd; in a container, give it --device=/dev/dri"
        return warning(NAME, seen, todo)
    return ok(NAME, f"{address}: memory counters can be read, KFD lists it")


def _judge_processes(facts: Facts) -> Check:
    """A namespace is seen before anything computes; that pids do not match, only then."""
    todo = (
        "In a container: docker run --pid=host ... Until then DRM's own numbers (fdinfo) are read,"
        " and where there are none, promises count"
    )
    if facts.kfd_pids is None:
        return warning(NAME, "KFD lists no processes: what each trial holds is unknown", todo)
    listed = len(facts.kfd_pids)
    if listed and facts.foreign_pids == listed:
        seen = f"none of the {listed} processes that KFD lists is one of this PID namespace"
        return warning(NAME, seen, todo)
    if facts.namespace not in (None, _FIRST_NAMESPACE):
        seen = "our PID namespace is a private one: KFD lists processes by other numbers"
        return warning(NAME, seen, todo)
    return ok(NAME, f"KFD tells memory by process ({listed} listed now)")
