"""May this process be forked, and the copy compute? Asked at the ``optimize`` call.

A GPU context does not survive a fork. An OpenMP pool of GNU's libgomp does not either: the child
waits for threads that were never copied, at its first parallel region. (Two torch processes: the
parent had run one parallel operation, the child hung with two threads, ran with one.) Whether a
pool exists cannot be seen from outside, so a child tries it, under a time limit.
"""

from __future__ import annotations

import ctypes
import os
import select
import signal
import sys
import threading
from pathlib import Path

#: Each starts threads of its own at import or first use and is documented not to be fork-safe.
UNSAFE_MODULES = ("tensorflow", "jax", "grpc", "polars")
GPU_FILES = ("/dev/kfd", "/dev/nvidia")
OPENMP_NAMES = ("libgomp", "libomp", "libiomp")
#: A parallel region takes microseconds; a needless "unsafe" only costs the slower way to start.
LIMIT_S = 2.0


def why_not_fork() -> str | None:
    """A sentence that says why forking is unsafe here; None where it is safe."""
    return (
        _unsafe_module()
        or _gpu_open(Path("/proc/self/fd"))
        or _foreign_thread()
        or _canary(_openmp_libraries(Path("/proc/self/maps").read_text()))
    )


def _unsafe_module() -> str | None:
    found = [name for name in UNSAFE_MODULES if name in sys.modules]
    return f"{found[0]} is loaded and cannot be forked" if found else None


def _gpu_open(descriptors: Path) -> str | None:
    for descriptor in descriptors.iterdir():
        try:
            target = os.readlink(descriptor)
        except OSError:
            continue
        if target.startswith(GPU_FILES):
            return f"the script has opened the GPU ({target}) before optimize"
    return None


def _foreign_thread() -> str | None:
    """A thread of the script's would be missing in the copy (a TensorBoard writer's queue)."""
    for thread in threading.enumerate():
        if thread is not threading.main_thread() and type(thread).__name__ != "TMonitor":
            return f"the script has started a thread ({thread.name}) before optimize"
    return None


def _openmp_libraries(maps: str) -> list[str]:
    paths = {line.split(maxsplit=5)[5] for line in maps.splitlines() if line.count("/")}
    return sorted(p for p in paths if os.path.basename(p).startswith(OPENMP_NAMES))


def _canary(libraries: list[str]) -> str | None:
    """Fork a child that enters a parallel region of each library with two threads."""
    child = os.fork()
    if child == 0:
        _sing(libraries)
    descriptor = os.pidfd_open(child)
    try:
        ended, _, _ = select.select([descriptor], [], [], LIMIT_S)
        if not ended:
            os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
    finally:
        os.close(descriptor)
    if not ended:
        return "an OpenMP thread pool exists already: a forked copy hangs in it"
    if os.waitstatus_to_exitcode(status) == 3:
        return "torch has touched the GPU and cannot be forked"
    if status != 0:
        return f"a forked copy died in an OpenMP region (status {status})"
    return None


def _sing(libraries: list[str]) -> None:
    """In the child. ``GOMP_parallel(function, data, threads, flags)`` is GCC's ABI for a parallel
    region, which LLVM's and Intel's runtimes export too; ``getpid`` does as a harmless body."""
    try:
        torch = sys.modules.get("torch")
        cuda = getattr(torch, "cuda", None)
        if cuda is not None and cuda._is_in_bad_fork():
            os._exit(3)
        body = ctypes.cast(ctypes.CDLL(None).getpid, ctypes.c_void_p)
        for path in libraries:
            parallel = getattr(ctypes.CDLL(path), "GOMP_parallel", None)
            if parallel is not None:
                parallel(body, None, ctypes.c_uint(2), ctypes.c_uint(0))
        os._exit(0)
    except BaseException:
        os._exit(4)
