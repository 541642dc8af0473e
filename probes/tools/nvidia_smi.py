"""NVIDIA GPUs through nvidia-smi: running it, and which of the GPUs it lists can be used.

Asked are ``--query-gpu`` for memory and ``--query-compute-apps`` for processes: two runs for all
GPUs; ``nvidia_csv`` reads the answers. total is used + reserved + free (24463 = 0 + 326 + 24137 MiB
on a 24 GB card): what the driver keeps for itself is neither in a process nor free, so
``memory.free`` is asked for beside ``memory.used``.

Not covered: MIG instances, whose memory no CSV query tells; GPUs whose memory is the machine's RAM;
NVML. A run of nvidia-smi wakes a suspended GPU.
"""

from __future__ import annotations

import re
import time
from collections.abc import Collection
from pathlib import Path

import msgspec

from probes import drm
from probes.amdgpu import SMALL_BYTES, too_small
from probes.number import read_text_or_none
from probes.processes import in_first_namespace, same_namespace
from probes.reading import Candidate, Device, LeftOut
from probes.tools.command import Said, Shared, ToolFailed, missing, run
from probes.tools.nvidia_csv import (
    APP_COLUMNS,
    GPU_COLUMNS,
    MIG_MODE,
    MIG_ON,
    NAME,
    UNIFIED,
    it_says,
    parse_apps,
    parse_gpus,
)
from probes.tools.tool import ToolCard, ToolProbe, ToolProcess, in_vram, parse_address

#: WSL keeps it where only an interactive shell's PATH leads.
PLACES = (NAME, "/usr/lib/wsl/lib/nvidia-smi")

LIMIT_S = 10.0

_VERSION = re.compile(r"[0-9]+(?:\.[0-9]+)+")
_NO_SUCH_FIELD = re.compile(r'Field "([^"]*)" is not a valid field to query')

#: "infoROM is corrupted": a warning beside answers that are whole (man nvidia-smi).
_WARNED = 14


class NvidiaSmi:
    """Runs nvidia-smi. See probes.tools.tool.Tool."""

    name = NAME

    def __init__(
        self,
        *,
        proc: Path = Path("/proc"),
        dev: Path = Path("/dev"),
        places: tuple[str, ...] = PLACES,
        limit_s: float = LIMIT_S,
    ) -> None:
        self._proc = proc
        self.dev = dev
        self._places = places
        self._limit_s = limit_s
        self._columns = GPU_COLUMNS
        self._apps_again_s = 0.0

    def missing(self) -> str | None:
        try:
            self._program()
        except ToolFailed as failed:
            return str(failed)
        return None

    def version(self) -> str | None:
        """The driver's."""
        lines = map(str.strip, self._ask("gpu", ("driver_version",)).stdout.split("\n"))
        return next((line for line in lines if _VERSION.fullmatch(line)), None)

    def cards(self) -> tuple[ToolCard, ...]:
        """``processes`` is None where the list failed, or cannot be believed (a container)."""
        cards = self._read_gpus()
        found = self._read_apps()
        if found is None:
            return cards
        return tuple(
            msgspec.structs.replace(card, processes=found.get(card.uuid, ())) if card.uuid else card
            for card in cards
        )

    def _read_gpus(self) -> tuple[ToolCard, ...]:
        said = self._ask("gpu", self._columns)
        unknown = _NO_SUCH_FIELD.search(said.stdout + said.stderr)
        if unknown and unknown[1] == MIG_MODE and MIG_MODE in self._columns:
            self._columns = tuple(name for name in self._columns if name != MIG_MODE)
            said = self._ask("gpu", self._columns)
        return parse_gpus(said.stdout if said.stdout.strip() else said.stderr, self._columns)

    def _read_apps(self) -> dict[str, tuple[ToolProcess, ...]] | None:
        began_s = time.monotonic()
        if began_s < self._apps_again_s:
            return None
        try:
            said = self._ask("compute-apps", APP_COLUMNS)
            if said.exit_code not in (0, _WARNED):
                raise ToolFailed(f"{NAME} ended with {said.exit_code}{it_says(said.stdout)}")
            found = parse_apps(said.stdout)
        except ToolFailed:
            # A list that hangs would make each reading of the memory as late: it gets a tenth of
            # the time.
            now_s = time.monotonic()
            self._apps_again_s = now_s + 10 * (now_s - began_s)
            return None
        pids = {process.pid for processes in found.values() for process in processes}
        return found if self._believes(pids) else None

    def _believes(self, pids: Collection[int]) -> bool:
        """In a container the list is empty or another PID namespace's, while memory is held; under
        WSL it is not supported (CUDA on WSL user guide, known limitations)."""
        if not pids:
            return in_first_namespace(self._proc) and not (self.dev / "dxg").exists()
        return same_namespace(pids, self._proc)

    def _ask(self, query: str, columns: tuple[str, ...]) -> Said:
        fields = f"--query-{query}={','.join(columns)}"
        command = (self._program(), fields, "--format=csv,noheader,nounits")
        return run(command, limit_s=self._limit_s)

    def _program(self) -> str:
        for place in self._places:
            if missing(place) is None:
                return place
        others = "".join(f" and there is no {place}" for place in self._places[1:])
        raise ToolFailed(f"{NAME} is not on PATH{others}")


def memory(card: ToolCard) -> tuple[int, int]:
    """(total, used), the driver's reserve counted as used. Raises ToolFailed with the reason."""
    if card.problem is not None:
        raise ToolFailed(card.problem)
    return in_vram(card, NAME)


def find(
    sysfs: Path = Path("/sys"), proc: Path = Path("/proc"), tool: NvidiaSmi | None = None
) -> tuple[tuple[Candidate, ...], tuple[LeftOut, ...]]:
    """The NVIDIA GPUs that can be used, and those that cannot, each with its reason.

    Nothing is started where the kernel shows no driver of NVIDIA's.
    """
    tool = tool or NvidiaSmi(proc=proc)
    drivers, names = read_listed(sysfs, proc)
    shared = Shared(tool.cards)
    because = f"NVIDIA's driver is not loaded: there is no {proc}/driver/nvidia"
    cards: tuple[ToolCard, ...] = ()
    if "nvidia" in drivers.values() or _has_driver(proc, tool):
        try:
            cards = shared.get()
            because = f"{NAME} does not list it"
        except ToolFailed as failed:
            because = str(failed)
            if tool.missing() is not None:
                because += "; install the driver's utilities"
            drivers = drivers or {"nvidia": "nvidia"}
    examined = [_examine(card, shared, proc, names) for card in cards]
    candidates = tuple(each for each in examined if isinstance(each, Candidate))
    left_out = [each for each in examined if isinstance(each, LeftOut)]
    for key in drivers.keys() - {card.address for card in cards}:
        driven = f"driven by {drivers[key]}, not by nvidia"
        reason = because if drivers[key] == "nvidia" else driven
        left_out.append(LeftOut(key=key, name=names.get(key, "NVIDIA GPU"), because=reason))
    return candidates, tuple(sorted(left_out, key=lambda out: out.key))


def _has_driver(proc: Path, tool: NvidiaSmi) -> bool:
    """Under WSL the driver is Windows': /dev/dxg is there for GPUs of any maker."""
    if (proc / "driver/nvidia").exists() or (tool.dev / "nvidiactl").exists():
        return True
    return (tool.dev / "dxg").exists() and tool.missing() is None


def read_listed(sysfs: Path, proc: Path) -> tuple[dict[str, str], dict[str, str]]:
    """(driver, name) by key of the NVIDIA GPUs that the kernel lists, with or without DRM."""
    cards = [card for card in drm.read_cards(sysfs) if card.vendor == drm.NVIDIA]
    drivers = {card.key: card.driver or "no driver" for card in cards}
    names: dict[str, str] = {}
    for folder in proc.glob("driver/nvidia/gpus/*"):
        key = parse_address(folder.name) or folder.name
        drivers[key] = "nvidia"
        model = parse_model(read_text_or_none(str(folder / "information")) or "")
        names |= {key: model} if model else {}
    return drivers, names


def parse_model(text: str) -> str | None:
    """The ``Model:`` line of /proc/driver/nvidia/gpus/*/information; None: there is none."""
    for line in text.splitlines():
        name, _, value = line.partition(":")
        if name.strip() == "Model" and value.strip():
            return value.strip()
    return None


def _examine(
    card: ToolCard, cards: Shared[tuple[ToolCard, ...]], proc: Path, names: dict[str, str]
) -> Candidate | LeftOut:
    key = card.address or card.uuid or f"nvidia-{card.index}"
    name = card.name or names.get(key, "NVIDIA GPU")
    try:
        total, _ = memory(card)
    except ToolFailed as failed:
        return LeftOut(key=key, name=name, because=f"{failed}{_instead(card)}")
    if card.address is None or card.uuid is None:
        lacks = "PCI address to know it by" if card.address is None else "UUID to hold trials to it"
        return LeftOut(key=key, name=name, because=f"it has no {lacks}")
    device = Device(
        key=key,
        kind="nvidia",
        name=name,
        total_bytes=total,
        uuid=card.uuid,
        # By UUID: an index would depend on CUDA_DEVICE_ORDER, and on what was visible before.
        environment=(("CUDA_VISIBLE_DEVICES", card.uuid),),
        source=NAME,
        because=f"driven by nvidia, its memory is VRAM; {NAME} tells what is used",
    )
    probe = ToolProbe(device=device, source=NAME, cards=cards, used=memory, held=_untold, proc=proc)
    return Candidate((probe,), too_small(key, total) if total < SMALL_BYTES else None)


def _instead(card: ToolCard) -> str:
    """What can be done about a card's problem."""
    if card.problem == MIG_ON:
        return f"; to use the whole GPU switch MIG off: nvidia-smi -i {card.address} -mig 0"
    return ": host RAM is the device" if card.problem == UNIFIED else ""


def _untold(trees: tuple[int, ...]) -> None:
    """No file of the kernel's tells what a process holds: nvidia-smi's list is the only one."""
