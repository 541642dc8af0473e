"""AMD's Python library amdsmi, asked by a child process.

It is never imported here: its initialisation may hang for ever (rocm-systems PR 6462), it prints to
standard output, and beside a ROCm torch it can blind both (pytorch#186516). The child is
``amdsmi_child``; here it is run, and its answer read. The library's sizes are bytes, except those
of ``vram_usage``, which are MiB and leave out what the driver pins (196300 of 196592).
"""

from __future__ import annotations

import importlib.util
import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from probes.tools.amd_smi_parse import (
    held_bytes,
    parse_address,
    parse_gfx,
    parse_name,
    parse_size,
    parse_uuid,
    without_doubt,
)
from probes.tools.command import Said, ToolFailed, run
from probes.tools.tool import MIB, ToolCard, ToolProcess

LIMIT_S = 10.0

#: Where ROCm's own packages put it, which is not where Python looks.
ROCM_FOLDER = "/opt/rocm/share/amd_smi"

_CHILD = str(Path(__file__).with_name("amdsmi_child.py"))


class AmdSmiLibrary:
    """See probes.tools.tool.Tool. A call costs a start of Python and of the library."""

    name = "amdsmi"

    def __init__(self, folder: str | None = None, limit_s: float = LIMIT_S) -> None:
        """*folder* has the package ``amdsmi`` in it; None: where Python or ROCm has it."""
        self._folder = folder
        self._limit_s = limit_s

    def missing(self) -> str | None:
        """See probes.tools.tool.Tool."""
        found = self._folder or find_folder()
        return None if found else "the Python package amdsmi is not installed"

    def version(self) -> str | None:
        """The package's own. Raises ToolFailed where it cannot be imported."""
        said = self._ask("version").get("version")
        return said if isinstance(said, str) else None

    def cards(self) -> tuple[ToolCard, ...]:
        """The GPUs, in its own order. Raises ToolFailed."""
        return parse_gpus(self._ask())

    def _ask(self, *more: str) -> dict[str, Any]:
        folder = self._folder or find_folder()
        if folder is None:
            raise ToolFailed("the Python package amdsmi is not installed")
        # -I: nothing of the current folder or of PYTHON* variables is imported in its place.
        arguments = [sys.executable, "-I", _CHILD, folder, str(2 * self._limit_s), *more]
        try:
            said = run(arguments, limit_s=self._limit_s)
        except ToolFailed as failed:
            raise ToolFailed(f"amdsmi: {failed}") from failed
        return parse_answer(said)


def find_folder() -> str | None:
    """The folder with the package in it; None: there is none. Imports nothing of it."""
    try:
        spec = importlib.util.find_spec("amdsmi")
    except (ImportError, ValueError, AttributeError):
        spec = None
    if spec is not None and spec.origin is not None and spec.submodule_search_locations:
        return str(Path(spec.submodule_search_locations[0]).parent)
    return ROCM_FOLDER if os.path.exists(f"{ROCM_FOLDER}/amdsmi/__init__.py") else None


def parse_answer(said: Said) -> dict[str, Any]:
    """The child's answer. Raises ToolFailed with what the library said instead."""
    noise = " ".join(said.stderr.split())[-300:]
    try:
        answer = json.loads(said.stdout)
    except (ValueError, RecursionError):
        ended = f"ended with {said.exit_code}"  # negative: killed by that signal
        raise ToolFailed(f"amdsmi: its process {ended}, saying: {noise or 'nothing'}") from None
    if not isinstance(answer, dict):
        raise ToolFailed("amdsmi: its process gave an answer of no known form")
    if "error" in answer:
        raise ToolFailed(f"amdsmi: {answer['error']}{f' ({noise})' if noise else ''}")
    return answer


def parse_gpus(answer: Mapping[str, Any]) -> tuple[ToolCard, ...]:
    """The GPUs of a child's answer. Raises ToolFailed."""
    gpus = answer.get("gpus")
    if not isinstance(gpus, list):
        raise ToolFailed("amdsmi: its process gave an answer of no known form")
    if not gpus:
        raise ToolFailed(
            "amdsmi finds no GPU; that is also what it says beside another copy of its library"
        )
    return without_doubt([_parse_gpu(index, _dict(gpu)) for index, gpu in enumerate(gpus)])


def _parse_gpu(index: int, gpu: Mapping[str, Any]) -> ToolCard:
    total, used = (parse_size(gpu.get(f"vram_{what}_bytes"), 1) for what in ("total", "usage"))
    if total is None or used is None:
        # Both from the one answer: the total without what is pinned fits no other used.
        coarse = _dict(gpu.get("vram_usage"))
        total, used = (parse_size(coarse.get(f"vram_{what}"), MIB) for what in ("total", "used"))
    asic = _dict(gpu.get("asic"))
    return ToolCard(
        index=str(index),
        address=parse_address(gpu.get("bdf")),
        name=parse_name(asic.get("market_name")),
        uuid=parse_uuid(_dict(gpu.get("enumeration")).get("hip_uuid")),
        total_bytes=total,
        used_bytes=used,
        gtt_total_bytes=parse_size(gpu.get("gtt_total_bytes"), 1),
        gtt_used_bytes=parse_size(gpu.get("gtt_usage_bytes"), 1),
        gfx=parse_gfx(asic.get("target_graphics_version")),
        problem=_problem(index, gpu) if total is None or used is None else None,
        processes=_parse_processes(gpu.get("processes")),
    )


def _problem(index: int, gpu: Mapping[str, Any]) -> str:
    told = _dict(gpu.get("problems")).items()
    words = [f"{name}: {why}" for name, why in told if name.startswith("vram")]
    return f"amdsmi does not say the memory of its GPU {index} ({'; '.join(words)[:200]})"


def _parse_processes(listed: object) -> tuple[ToolProcess, ...] | None:
    """None where the call failed, or one of them cannot be told."""
    if not isinstance(listed, list):
        return None
    found = [_parse_process(_dict(one)) for one in listed]
    return tuple(one for one in found if one is not None) if None not in found else None


def _parse_process(one: Mapping[str, Any]) -> ToolProcess | None:
    pid = one.get("pid")
    if not isinstance(pid, int) or isinstance(pid, bool) or pid <= 0:
        return None
    memory = _dict(one.get("memory_usage"))
    return ToolProcess(
        pid=pid,
        held_bytes=held_bytes(
            vram=parse_size(memory.get("vram_mem"), 1),
            others=[parse_size(memory.get(f"{pool}_mem"), 1) for pool in ("gtt", "cpu")],
            whole=parse_size(one.get("mem"), 1),
        ),
        name=parse_name(one.get("name")),
    )


def _dict(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}
