"""Asks AMD's Python library amdsmi about all GPUs, in a process of its own, and prints JSON.

    python -I amdsmi_child.py FOLDER LIMIT_S [version]

FOLDER is where the package is. Run by ``amdsmi_library``, which reads the answer; standard library
only, since it is the user's Python. The answer is one JSON object:

    {"version": "7.0.2", "gpus": [{"bdf": "0000:03:00.0", "vram_total_bytes": 17163091968, ...}]}
    {"error": "KeyError: 'libamd_smi.so'"}

Values stand as the library gives them, null where a call failed; ``problems`` says why, by name.
The library prints to standard output, so the answer has a copy of it that nobody else knows.
"""

from __future__ import annotations

import importlib.machinery
import importlib.util
import json
import os
import signal
import sys
from collections.abc import Callable
from typing import Any


def main(folder: str, limit_s: float, only_version: bool) -> None:
    # Its initialisation may wait for ever on a card that hangs (rocm-systems PR 6462). Whoever
    # started us may be gone by then, so the end is ours to bring about.
    signal.setitimer(signal.ITIMER_REAL, limit_s)
    answer = os.dup(1)
    os.dup2(2, 1)
    said: dict[str, Any] = {}
    try:
        library = imported(folder)
        said["version"] = version(library)
        if not only_version:
            said["gpus"] = gpus(library)
    except Exception as error:
        said["error"] = words(error)
    with os.fdopen(answer, "w") as file:
        json.dump(said, file, default=str)
    sys.stdout.flush()
    sys.stderr.flush()
    # Not through its clean-up at exit, which may hang as its start may.
    os._exit(0)


def imported(folder: str) -> Any:
    """Raises what the import raises: KeyError, OSError, AttributeError and others were seen."""
    try:
        return load(folder)
    except KeyError as error:
        if error.args != ("ROCM_PATH",):
            raise
    # 6.0 and 6.1 want to be told what later ones assume.
    os.environ["ROCM_PATH"] = "/opt/rocm"
    return load(folder)


def load(folder: str) -> Any:
    """The package in *folder*, which is not put on the path: it may hold much else."""
    spec = importlib.machinery.PathFinder.find_spec("amdsmi", [folder])
    if spec is None or spec.loader is None:
        raise ModuleNotFoundError(f"there is no amdsmi in {folder}")
    library = sys.modules["amdsmi"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(library)
    return library


def version(library: Any) -> str | None:
    found = getattr(library, "__version__", None)
    return str(found) if found else None


def gpus(library: Any) -> list[dict[str, Any]]:
    library.amdsmi_init(library.AmdSmiInitFlags.INIT_AMD_GPUS)
    return [gpu(library, handle) for handle in library.amdsmi_get_processor_handles()]


def gpu(library: Any, handle: Any) -> dict[str, Any]:
    """What it says of one GPU: a call that fails costs its own value only."""
    said: dict[str, Any] = {}
    problems: dict[str, str] = {}

    def ask(name: str, call: Callable[..., Any], *arguments: Any) -> None:
        try:
            said[name] = call(*arguments)
        except Exception as error:
            said[name] = None
            problems[name] = words(error)

    for pool in ("VRAM", "GTT"):
        for what in ("total", "usage"):
            ask(f"{pool.lower()}_{what}_bytes", memory, library, handle, what, pool)
    # Lambdas, because a version may lack the call itself.
    ask("vram_usage", lambda: library.amdsmi_get_gpu_vram_usage(handle))
    ask("bdf", lambda: library.amdsmi_get_gpu_device_bdf(handle))
    ask("processes", processes, library, handle)
    ask("asic", lambda: library.amdsmi_get_gpu_asic_info(handle))
    ask("enumeration", lambda: library.amdsmi_get_gpu_enumeration_info(handle))
    return {**said, "problems": problems}


def memory(library: Any, handle: Any, what: str, pool: str) -> Any:
    """Bytes."""
    call = getattr(library, f"amdsmi_get_gpu_memory_{what}")
    return call(handle, getattr(library.AmdSmiMemoryType, pool))


def processes(library: Any, handle: Any) -> list[Any]:
    """Dicts since 6.1.2; before that handles, which another call makes dicts."""
    listed = library.amdsmi_get_gpu_process_list(handle)
    return [
        one if isinstance(one, dict) else library.amdsmi_get_gpu_process_info(handle, one)
        for one in listed
    ]


def words(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())}"[:300]


if __name__ == "__main__":
    main(sys.argv[1], float(sys.argv[2]), sys.argv[3:] == ["version"])
