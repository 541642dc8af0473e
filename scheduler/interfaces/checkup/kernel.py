"""The kernel: which of its features for GPU memory are here.

Versions: fdinfo memory keys of amdgpu 5.19, KFD's per-process files 5.9, HIP allocating from GTT
on an APU 6.10, the dmem cgroup 6.14. Only the second is needed, and the third on an APU.
"""

from __future__ import annotations

import msgspec

from probes import kfd
from probes.drm import AMD, read_cards
from probes.number import Unread, read_number, read_text_or_none
from scheduler.interfaces.checkup.findings import (
    Check,
    Where,
    ok,
    release_number,
    warning,
)
from scheduler.machine.sizes import format_size

NAME = "kernel"
KFD_PROCESSES, FDINFO, GTT_ON_APU = (5, 9), (5, 19), (6, 10)


class Facts(msgspec.Struct, frozen=True, kw_only=True):
    release: str
    uses_amd: bool
    has_dmem: bool
    #: An APU whose HIP has less than the RAM it may map: its bank and its GTT, in bytes.
    carved_out: tuple[int, int] | None = None


def check(where: Where) -> tuple[Check, ...]:
    return judge(read(where))


def read(where: Where) -> Facts:
    controllers = read_text_or_none(str(where.cgroups / "cgroup.controllers")) or ""
    has_dmem = (where.cgroups / "dmem.capacity").exists() or "dmem" in controllers.split()
    return Facts(
        release=where.release,
        uses_amd="amd" in where.find_devices().makers,
        has_dmem=has_dmem,
        carved_out=_carved_out(where),
    )


def _carved_out(where: Where) -> tuple[int, int] | None:
    """An APU is known by its unique_id 0; a bank below GTT there is the carve-out."""
    nodes = {node.address: node for node in kfd.read_nodes(where.sysfs)}
    for card in read_cards(where.sysfs):
        node = nodes.get(card.address or "")
        if card.vendor != AMD or node is None or node.unique_id or node.bank_bytes is None:
            continue
        try:
            gtt = read_number(str(card.folder / "mem_info_gtt_total"))
        except Unread:
            continue
        if node.bank_bytes < gtt:
            return node.bank_bytes, gtt
    return None


def judge(facts: Facts) -> tuple[Check, ...]:
    number = release_number(facts.release)
    if number is None:
        return (ok(NAME, f"{facts.release}: what it can do is not known by its name"),)
    if facts.uses_amd and number < KFD_PROCESSES:
        seen = f"{facts.release}: before 5.9, KFD does not tell memory by process"
        return (warning(NAME, seen, "Promises count instead. Use a kernel from 5.9 on"),)
    if facts.carved_out is not None and number < GTT_ON_APU:
        bank, gtt = map(format_size, facts.carved_out)
        seen = f"{facts.release}: before 6.10, an APU gives trials {bank} and not {gtt} of RAM"
        return (warning(NAME, seen, "Use a kernel from 6.10 on, or a larger carve-out (BIOS)"),)
    has = {
        "KFD memory by process": number >= KFD_PROCESSES,
        "fdinfo memory": number >= FDINFO,
        "RAM for APUs": number >= GTT_ON_APU,
        "dmem cgroup": facts.has_dmem,
    }
    with_it = ", ".join(name for name, is_here in has.items() if is_here)
    without = ", ".join(name for name, is_here in has.items() if not is_here)
    return (ok(NAME, f"{facts.release}: {with_it}" + (f"; without {without}" if without else "")),)
