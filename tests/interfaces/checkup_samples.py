"""A machine for the doctor, as a value: folders below one, and devices that are handed in."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from probes.reading import Device, Reading
from scheduler.interfaces.checkup.findings import Check, Found, Where
from scheduler.machine.state import StateFolder

GIB = 1 << 30
HOST = Device(key="host", kind="host", name="host RAM", total_bytes=8 * GIB, source="", because="")
CARD = Device(
    key="0000:03:00.0",
    kind="amd",
    name="AMD GPU 0x744c (gfx1100)",
    total_bytes=16 * GIB,
    uuid="GPU-e56b237e725ec427",
    source="amdgpu",
    because="",
)
IGPU = Device(
    key="0000:0c:00.0", kind="amd", name="iGPU", total_bytes=8 * GIB, source="", because=""
)
NVIDIA_CARD = Device(
    key="0000:65:00.0", kind="nvidia", name="RTX", total_bytes=8 * GIB, source="", because=""
)


class Steady:
    """A probe that always says the same."""

    source = "steady"
    every_s = 0.0

    def __init__(self, device: Device, used_bytes: int | None = GIB) -> None:
        self.device = device
        self.used_bytes = used_bytes

    def read(self, trees: tuple[int, ...]) -> Reading:
        return Reading(
            device=self.device.key,
            total_bytes=self.device.total_bytes,
            used_bytes=self.used_bytes,
            problem=None if self.used_bytes is not None else "mem_info_vram_used: is empty",
        )


def found(*devices: Device) -> Found:
    return Found(devices=devices, sources=tuple((Steady(device),) for device in devices))


def machine(root: Path, *devices: Device, **changes: Any) -> Where:
    """Its folders are below *root*; what is not written there is not there."""
    given: dict[str, Any] = {
        "sysfs": root / "sys",
        "proc": root / "proc",
        "dev": root / "dev",
        "etc": root / "etc",
        "modules": root / "modules",
        "cgroups": root / "sys/fs/cgroup",
        "state": StateFolder(root / "state"),
        "release": "6.18.4-generic",
        "find_devices": lambda: found(*(devices or (HOST,))),
        "find_tools": lambda: (),
    }
    return Where(**(given | changes))


@contextlib.contextmanager
def folder_for_all() -> Iterator[Path]:
    """One that nobody can reach as well: pytest's own are closed to other users."""
    with tempfile.TemporaryDirectory(prefix="doctor-") as name:
        Path(name).chmod(0o755)
        yield Path(name)


def put(root: Path, files: dict[str, object]) -> None:
    """Write files: path below *root* -> content, a newline added."""
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{content}\n")


def only(checks: tuple[Check, ...]) -> Check:
    assert len(checks) == 1, checks
    return checks[0]
