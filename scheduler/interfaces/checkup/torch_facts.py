"""torch in this Python: what is installed, and what it sees of the GPUs. Judged in torch_build.

What is installed is read from torch's own version.py, as text: importing it takes seconds and may
hang in the driver. What it sees is asked in a child process with a time limit.
"""

from __future__ import annotations

import ast
import importlib.util
import re
from pathlib import Path

import msgspec

from probes.number import read_text_or_none
from probes.tools.command import ToolFailed, run

LIMIT_S = 45.0
_MARK = "scheduler-doctor:"

VARIABLES = (
    *("ROCR_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES", "CUDA_VISIBLE_DEVICES"),
    "GPU_DEVICE_ORDINAL",
)

#: In the child. The variables go first: what torch counts without them is the question. Prints one
#: line, after the mark: libraries print too. ``uuid``, ``pci_*`` and ``gcnArchName`` came late.
_ASK = f"""
import json, os
for name in {VARIABLES!r}:
    os.environ.pop(name, None)
import torch
cuda = torch.cuda
places = ("pci_domain_id", "pci_bus_id", "pci_device_id")
here = dict(available=cuda.is_available(), devices=[], built_for=[])
if here["available"]:
    here["built_for"] = cuda.get_arch_list()
    for one in map(cuda.get_device_properties, range(cuda.device_count())):
        here["devices"].append(dict(
            name=one.name,
            total_bytes=one.total_memory,
            place=[getattr(one, place, None) for place in places],
            uuid=str(getattr(one, "uuid", "")),
            gfx=getattr(one, "gcnArchName", ""),
        ))
print()
print({_MARK!r} + json.dumps(here))
"""


class Build(msgspec.Struct, frozen=True, kw_only=True):
    """An installed torch. ``hip`` and ``cuda`` are what it was built for; both None: the CPU."""

    version: str
    hip: str | None = None
    cuda: str | None = None

    @property
    def kind(self) -> str | None:
        """ "amd", "nvidia", or None for the CPU only."""
        return "amd" if self.hip else "nvidia" if self.cuda else None

    @property
    def words(self) -> str:
        if self.hip:
            return f"torch {self.version}, built for ROCm {self.hip}"
        return f"torch {self.version}, built for {f'CUDA {self.cuda}' if self.cuda else 'the CPU'}"


class TorchDevice(msgspec.Struct, frozen=True, kw_only=True):
    """A GPU as torch counts them, without visibility variables. Empty: not said."""

    name: str
    total_bytes: int
    place: tuple[int | None, int | None, int | None]  #: PCI domain, bus, device
    uuid: str = ""
    gfx: str = ""  #: "gfx90a:sramecc+:xnack-"

    @property
    def address(self) -> str | None:
        """Its PCI address as ours are written; a GPU is function 0."""
        domain, bus, device = self.place
        if domain is None or bus is None or device is None:
            return None
        return f"{domain:04x}:{bus:02x}:{device:02x}.0"

    @property
    def gpu_uuid(self) -> str | None:
        """As the maker's visibility variable takes it.

        torch writes 16 bytes as 8-4-4-4-12 hex digits (torch/csrc/cuda/Module.cpp). HIP's bytes are
        the 16 hex digits of unique_id as text, and XX where there is none.
        """
        digits = self.uuid.replace("-", "")
        if not re.fullmatch(r"[0-9a-f]{32}", digits):
            return None
        text = bytes.fromhex(digits)
        if re.fullmatch(rb"[0-9a-fA-F]{16}", text):
            return f"GPU-{text.decode().lower()}"
        return None if text.startswith(b"XX") else f"GPU-{self.uuid}"


class Sight(msgspec.Struct, frozen=True, kw_only=True):
    """What torch sees of the GPUs."""

    available: bool
    devices: tuple[TorchDevice, ...] = ()
    built_for: tuple[str, ...] = ()  #: "gfx1100", "sm_90"


def read_build() -> Build | None:
    """None: not installed in this Python. Imports nothing of it."""
    spec = importlib.util.find_spec("torch")
    if spec is None or spec.origin is None:
        return None
    return parse_build(read_text_or_none(str(Path(spec.origin).parent / "version.py")) or "")


def parse_build(text: str) -> Build:
    """torch/version.py: ``__version__ = '2.9.0+rocm6.4'``, ``hip: Optional[str] = '6.4.4'``."""
    said: dict[str, object] = {}
    try:
        lines = ast.parse(text).body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        lines = []
    for line in lines:
        target = line.targets[0] if isinstance(line, ast.Assign) else None
        target = line.target if isinstance(line, ast.AnnAssign) else target
        if isinstance(target, ast.Name) and isinstance(line, ast.Assign | ast.AnnAssign):
            said[target.id] = line.value.value if isinstance(line.value, ast.Constant) else None
    return Build(
        version=_text(said.get("__version__")) or "of unknown version",
        hip=_text(said.get("hip")),
        cuda=_text(said.get("cuda")),
    )


def _text(value: object) -> str | None:
    return value if isinstance(value, str) and value else None


def ask(python: str, limit_s: float = LIMIT_S) -> Sight:
    """Raises ToolFailed where torch cannot be imported, hangs or crashes."""
    said = run([python, "-c", _ASK], limit_s=limit_s)
    return parse_sight(said.stdout, said.stderr, said.exit_code)


def parse_sight(stdout: str, stderr: str, exit_code: int) -> Sight:
    """Raises ToolFailed with the last words of a child that did not come to its end."""
    marked = [line for line in stdout.splitlines() if line.startswith(_MARK)]
    if not marked:
        last = (stderr.strip().splitlines() or [f"it ended with exit code {exit_code}"])[-1]
        raise ToolFailed(f"torch cannot be used: {last}")
    try:
        return msgspec.json.decode(marked[-1].removeprefix(_MARK), type=Sight)
    except msgspec.MsgspecError as error:
        raise ToolFailed(f"torch said what was not understood: {error}") from None
