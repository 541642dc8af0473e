"""Containment: by what a trial is kept to its promise here, the strongest of what there is."""

from __future__ import annotations

from pathlib import Path

import msgspec

from scheduler.interfaces.checkup.findings import Check, Where, ok, warning
from scheduler.machine import groups

NAME = "containment"
WATCH = "the supervisor's watch"
#: systemd hands it down to nobody by itself; a name of a file of the kernel's is what it takes.
_HAND_DOWN = (
    "For the kernel to keep trials to their part of the card: echo +dmem | sudo tee"
    " CGROUP/cgroup.subtree_control, for each cgroup from the root down to the one around you"
)


class Facts(msgspec.Struct, frozen=True, kw_only=True):
    homes: groups.Homes
    gpus: tuple[str, ...]  #: PCI addresses
    uses_host: bool
    without_region: tuple[str, ...] = ()  #: of the GPUs: the kernel's dmem does not know them


def check(where: Where) -> tuple[Check, ...]:
    return judge(read(where))


def read(where: Where) -> Facts:
    homes = groups.find(where.proc, where.cgroups)
    devices = where.find_devices().devices
    gpus = tuple(device.key for device in devices if device.kind != "host")
    lacking: tuple[str, ...] = ()
    if homes.dmem is not None:
        folder = Path(homes.dmem.folder)
        lacking = tuple(key for key in gpus if not groups.regions_of(key, folder))
    return Facts(
        homes=homes,
        gpus=gpus,
        uses_host=any(device.kind == "host" for device in devices),
        without_region=lacking,
    )


def judge(facts: Facts) -> tuple[Check, ...]:
    on_gpus = (_on_gpus(facts),) if facts.gpus else ()
    return (*on_gpus, _on_host(facts.homes)) if facts.uses_host else on_gpus


def _on_host(homes: groups.Homes) -> Check:
    if homes.memory is None:
        seen = f"RAM: a data limit a process, and {WATCH}; no cgroup: {homes.no_memory}"
        return ok(NAME, seen)
    seen = f"RAM: a cgroup a trial (version {homes.memory.version}, {homes.memory.folder})"
    return ok(NAME, f"{seen}, and a data limit")


def _on_gpus(facts: Facts) -> Check:
    weaker = f"torch's own limit, and {WATCH}"
    dmem = facts.homes.dmem
    if dmem is not None and not facts.without_region:
        return ok(NAME, f"GPU: the dmem cgroup ({dmem.folder}), {weaker}")
    if dmem is not None:
        lacking = ", ".join(facts.without_region)
        return ok(NAME, f"GPU: {weaker}; the kernel's dmem cgroup does not know {lacking}")
    seen = f"GPU: {weaker}; no dmem cgroup: {facts.homes.no_dmem}"
    if "may not control" in facts.homes.no_dmem:
        return warning(NAME, seen, _HAND_DOWN)
    return ok(NAME, seen)
