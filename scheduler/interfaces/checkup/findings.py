"""What a check says, and where checks look. A machine is a value: other roots, another machine."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Literal, NamedTuple

import msgspec

from probes.choose import tools
from probes.reading import Device, LeftOut, Probe
from probes.tools.command import Shared
from probes.tools.tool import Tool
from scheduler.machine.budgets import look_here, sysfs_root
from scheduler.machine.state import StateFolder, find

#: Longer than any call of ours: the devices are looked for once.
_ONE_CALL_S = 3600.0

#: "problem": trials cannot run, or not where they should. "skipped": there is nothing to check.
State = Literal["ok", "warning", "problem", "skipped"]


class Check(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that was looked at: what was seen, in a line, and what to do about it."""

    name: str
    state: State
    seen: str
    todo: str | None = None  #: None: nothing, or nothing that can be done


def ok(name: str, seen: str) -> Check:
    return Check(name=name, state="ok", seen=seen)


def skipped(name: str, seen: str) -> Check:
    return Check(name=name, state="skipped", seen=seen)


def warning(name: str, seen: str, todo: str | None = None) -> Check:
    return Check(name=name, state="warning", seen=seen, todo=todo)


def problem(name: str, seen: str, todo: str | None = None) -> Check:
    return Check(name=name, state="problem", seen=seen, todo=todo)


class Found(NamedTuple):
    """The devices that trials will use, the sources of each, and what is left out."""

    devices: tuple[Device, ...]
    sources: tuple[tuple[Probe, ...], ...]  #: in the order of devices, the preferred first
    left_out: tuple[LeftOut, ...] = ()

    @property
    def makers(self) -> frozenset[str]:
        """Of the GPUs among them: "amd", "nvidia"; empty where RAM is used."""
        return frozenset(device.kind for device in self.devices if device.kind != "host")


class Where(msgspec.Struct, frozen=True, kw_only=True):
    """The machine that is looked at."""

    sysfs: Path = Path("/sys")
    proc: Path = Path("/proc")
    dev: Path = Path("/dev")
    etc: Path = Path("/etc")
    modules: Path = Path("/lib/modules")
    cgroups: Path = Path("/sys/fs/cgroup")
    environment: Mapping[str, str] = {}
    python: str = sys.executable
    state: StateFolder
    release: str  #: of the kernel: "6.18.4-generic"
    find_devices: Callable[[], Found]  #: may take seconds, or hang
    find_tools: Callable[[], tuple[Tool, ...]]


def this_machine() -> Where:
    """$SCHEDULER_SYSFS_ROOT stands in for /sys, as it does for the supervisor."""
    return Where(
        sysfs=sysfs_root(),
        environment=dict(os.environ),
        state=find(),
        release=os.uname().release,
        find_devices=Shared(_find_devices, fresh_s=_ONE_CALL_S).get,
        find_tools=lambda: tools().all(),
    )


def _find_devices() -> Found:
    here = look_here()
    both = zip(here.budgets, here.sources, strict=True)
    used = [(budget.device, sources) for budget, sources in both if not budget.on_request]
    return Found(
        devices=tuple(device for device, _ in used),
        sources=tuple(sources for _, sources in used),
        left_out=here.left_out,
    )


def release_number(release: str) -> tuple[int, int] | None:
    """(6, 18) of "6.18.4-generic"; None where it is not a kernel's release."""
    first, _, rest = release.partition(".")
    second = rest.partition(".")[0].partition("-")[0]
    return (int(first), int(second)) if first.isdigit() and second.isdigit() else None
