"""An emulated nvidia-smi: a program to put on PATH, whose answers follow real processes.

    machine = EmulatedNvidia(tmp_path, Gpu(), Gpu(address="00000000:5E:00.0"))
    monkeypatch.setenv("PATH", machine.path())
    machine.hold(process.pid, 6 << 30)

Emulated are the two queries that are asked and ``driver_version``, in the real format, with the
refusals of the real one; not emulated is what it prints for people. What a process holds is gone
with it. Standard library only, so that the program starts in milliseconds.
"""

from __future__ import annotations

import dataclasses
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

from tests.emulated.kernel import started_ticks

_CODE = Path(__file__).parents[2]
_MIB = 1 << 20

#: What it says and how it ends, instead of an answer. Exit codes: man nvidia-smi.
_REFUSALS = {
    "fail": (
        "NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver. Make sure "
        "that the latest NVIDIA driver is installed and running.\n",
        9,
    ),
    "mismatch": (
        "Failed to initialize NVML: Driver/library version mismatch\nNVML library version: 550.9\n",
        18,
    ),
    "no devices": ("No devices were found\n", 6),
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Gpu:
    """One GPU. ``memory`` is what all memory cells say instead of numbers; None: numbers."""

    address: str = "00000000:3B:00.0"
    name: str = "NVIDIA GeForce RTX 4080 SUPER"
    total_mib: int = 16376
    used_mib: int = 11  #: what no process holds
    reserved_mib: int = 350  #: in total, and neither used nor free
    mig: str = "[N/A]"
    memory: str | None = None
    lost: bool = False

    @property
    def uuid(self) -> str:
        return f"GPU-{self.address[4:8]}{self.address[9:11].lower()}00-0000-4000-8000-0000000000aa"


class EmulatedNvidia:
    """A machine with these GPUs."""

    def __init__(self, folder: Path, *gpus: Gpu) -> None:
        self.folder = folder / "nvidia"
        self.dev = self.folder / "dev"
        self._bin = self.folder / "bin"
        self._holders: list[dict[str, Any]] = []
        for made in (self.dev, self._bin):
            made.mkdir(parents=True)
        (self.dev / "nvidiactl").touch()
        self.calls_path.touch()
        self._write_program()
        self._gpus = gpus or (Gpu(),)
        self.set()

    @property
    def calls_path(self) -> Path:
        return self.folder / "calls"

    def path(self) -> str:
        """PATH with the program on it."""
        return os.pathsep.join((str(self._bin), os.environ["PATH"]))

    def set(self, *gpus: Gpu, mode: str = "", unknown: tuple[str, ...] = ()) -> None:
        """Be these GPUs (none: the same as before) from now on.

        *mode*: "" answers, "hang" and "apps hang" do not (the second: about processes), "apps fail"
        ends before the last process is listed; and refusals of all: "fail", "mismatch",
        "no devices".
        *unknown*: fields that this driver does not know.
        """
        self._gpus = gpus or self._gpus
        self._mode, self._unknown = mode, unknown
        self._save()

    def hold(self, pid: int, size_bytes: int | None, gpu: Gpu | None = None) -> None:
        """Let *pid* hold so much of a GPU (the first) in all; None: it is not told how much."""
        uuid = (gpu or self._gpus[0]).uuid
        mine = {"pid": pid, "uuid": uuid, "started_ticks": started_ticks(pid)}
        others = [one for one in self._holders if (one["pid"], one["uuid"]) != (pid, uuid)]
        self._holders = [*others, {**mine, "bytes": size_bytes}]
        self._save()

    def calls(self) -> list[str]:
        """What was asked so far: "gpu", "compute-apps"."""
        return self.calls_path.read_text().split()

    def hanging(self) -> list[int]:
        """Pids of the runs that did not answer, ended or not."""
        return [int(path.name) for path in self.folder.glob("hanging/*")]

    def _save(self) -> None:
        state = {
            "gpus": [{**dataclasses.asdict(gpu), "uuid": gpu.uuid} for gpu in self._gpus],
            "holders": self._holders,
            "mode": self._mode,
            "unknown": self._unknown,
        }
        fresh = self.folder / "fresh"
        fresh.write_text(json.dumps(state))
        fresh.rename(self.folder / "state.json")

    def _write_program(self) -> None:
        program = self._bin / "nvidia-smi"
        program.write_text(
            f"#!{sys.executable} -SE\n"
            f"import sys; sys.path.insert(0, {str(_CODE)!r})\n"
            f"from tests.emulated.nvidia import main; main({str(self.folder)!r}, sys.argv[1:])\n"
        )
        program.chmod(0o755)


def main(folder: str, arguments: list[str]) -> None:
    """The program."""
    state = json.loads((Path(folder) / "state.json").read_text())
    query, fields = _query(arguments)
    with open(Path(folder) / "calls", "a") as calls:
        calls.write(f"{query}\n")
    if state["mode"] in ("hang", f"{query.removeprefix('compute-')} hang"):
        (Path(folder) / "hanging").mkdir(exist_ok=True)
        (Path(folder) / "hanging" / str(os.getpid())).touch()
        time.sleep(600)
    if state["mode"] in _REFUSALS:
        _end(*_REFUSALS[state["mode"]])
    rows = _gpus(state) if query == "gpu" else _apps(state)
    known = set(_gpu(state, {**dataclasses.asdict(Gpu()), "uuid": ""}, 0))
    if query == "compute-apps":
        known = {"gpu_uuid", "pid", "used_memory"}
    for field in fields:
        if field not in known - set(state["unknown"]):
            _end(f'Field "{field}" is not a valid field to query.\n\n', 2)
    lost = [gpu for gpu in state["gpus"] if gpu["lost"]]
    text = "".join(
        f"Unable to determine the device handle for GPU{gpu['address'][4:]}: Unknown Error\n"
        for gpu in lost
    )
    failed = query == "compute-apps" and state["mode"] == "apps fail"
    rows = rows[:-1] if failed else rows
    text += "".join(", ".join(str(row[field]) for field in fields) + "\n" for row in rows)
    _end(text, 255 if lost or failed else 0)


def _query(arguments: list[str]) -> tuple[str, list[str]]:
    if len(arguments) == 2 and arguments[1] == "--format=csv,noheader,nounits":
        name, _, fields = arguments[0].partition("=")
        if name in ("--query-gpu", "--query-compute-apps"):
            return name.removeprefix("--query-"), fields.split(",")
    _end("Invalid combination of input arguments. Please run 'nvidia-smi -h' for help.\n", 2)
    raise AssertionError


def _gpus(state: dict[str, Any]) -> list[dict[str, object]]:
    return [_gpu(state, gpu, index) for index, gpu in enumerate(state["gpus"]) if not gpu["lost"]]


def _gpu(state: dict[str, Any], gpu: dict[str, Any], index: int) -> dict[str, object]:
    mine = [one["bytes"] or 0 for one in _alive(state) if one["uuid"] == gpu["uuid"]]
    used = gpu["used_mib"] + sum(mine) // _MIB
    sizes = {
        "memory.total": gpu["total_mib"],
        "memory.used": used,
        "memory.free": gpu["total_mib"] - gpu["reserved_mib"] - used,
    }
    return {
        "index": index,
        "uuid": gpu["uuid"],
        "pci.bus_id": gpu["address"],
        "driver_version": "550.90.07",
        "mig.mode.current": gpu["mig"],
        "name": gpu["name"],
        **{name: gpu["memory"] or size for name, size in sizes.items()},
    }


def _apps(state: dict[str, Any]) -> list[dict[str, object]]:
    return [
        {
            "gpu_uuid": one["uuid"],
            "pid": one["pid"],
            "used_memory": "[N/A]" if one["bytes"] is None else one["bytes"] // _MIB,
        }
        for one in _alive(state)
    ]


def _alive(state: dict[str, Any]) -> list[dict[str, Any]]:
    """Holders that have not ended; those of another PID namespace (no ticks) always are."""
    return [
        one
        for one in state["holders"]
        if one["started_ticks"] is None or one["started_ticks"] == started_ticks(one["pid"])
    ]


def _end(text: str, code: int) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()
    os._exit(code)
