"""Files as the kernel shows them, written by hand: one discrete card unless told otherwise."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from pathlib import Path

#: Write files (path -> content, a newline is added) and get the folder they are in.
Write = Callable[[dict[str, object]], Path]

GIB = 1 << 30

DEVICE = "class/drm/card1/device"
USED = f"{DEVICE}/mem_info_vram_used"
TOTAL = f"{DEVICE}/mem_info_vram_total"
ADDRESS = "0000:03:00.0"


def let_in(folder: Path) -> None:
    """Let everybody through to *folder*: what pytest makes on the way is for its user only."""
    for one in (folder, *folder.parents):
        if one.stat().st_uid == os.getuid() and one.is_relative_to(tempfile.gettempdir()):
            one.chmod(one.stat().st_mode | 0o055)


def card_files(
    folder: str = DEVICE,
    *,
    address: str = ADDRESS,
    vram: object = 16 * GIB,
    gtt: object = 8 * GIB,
    driver: str = "amdgpu",
    vendor: str = "0x1002",
) -> dict[str, object]:
    return {
        f"{folder}/vendor": vendor,
        f"{folder}/device": "0x744c",
        f"{folder}/uevent": f"DRIVER={driver}\nPCI_CLASS=30000\nPCI_SLOT_NAME={address}",
        f"{folder}/product_name": "",
        f"{folder}/mem_info_vram_total": vram,
        f"{folder}/mem_info_vram_used": GIB,
        f"{folder}/mem_info_gtt_total": gtt,
        f"{folder}/mem_info_gtt_used": GIB // 2,
    }


def node_files(
    number: int = 1,
    *,
    location: int = 0x0300,
    bank: int = 16 * GIB,
    unique_id: int = 0xE56B237E725EC427,
    gpu_id: int = 41000,
) -> dict[str, object]:
    folder = f"class/kfd/kfd/topology/nodes/{number}"
    return {
        f"{folder}/gpu_id": gpu_id,
        f"{folder}/properties": "simd_count 160\ngfx_target_version 110000\ndomain 0\n"
        f"location_id {location}\nunique_id {unique_id}",
        f"{folder}/mem_banks/0/properties": f"heap_type 1\nsize_in_bytes {bank}\nflags 0",
    }


def process_files(pid: int, parent: int, session: int, state: str = "S") -> dict[str, object]:
    """A process with an awkward name; started at tick 100 + pid."""
    zeros = "0 " * 14
    line = f"{pid} (a ) b) {state} {parent} {pid} {session} {zeros}0 {100 + pid} 0"
    return {f"proc/{pid}/stat": line}


def meminfo_files(total: int = 32 * GIB, available: int = 20 * GIB) -> dict[str, object]:
    lines = f"MemTotal: {total // 1024} kB\nMemFree: 0 kB\nMemAvailable: {available // 1024} kB"
    return {"proc/meminfo": lines}
