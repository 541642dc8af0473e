"""Make a process fit to run one attempt: its environment, threads, limits, seeds, exit handlers.

Everything here happens in the attempt, after the fork or at the line of a script that was run
again, and before the objective's first line.
"""

from __future__ import annotations

import atexit
import contextlib
import ctypes
import importlib.abc
import importlib.machinery
import importlib.util
import os
import random
import resource
import signal
import sys
import threading
import weakref
from collections.abc import Callable, Sequence
from types import ModuleType
from typing import Any, NoReturn

import threadpoolctl

from scheduler.core.watch import BROKEN_RATIO
from scheduler.machine import groups
from scheduler.study.attempt import stopping
from scheduler.study.attempt.courtesy import be_courteous
from scheduler.study.attempt.own_peak import own_bytes
from scheduler.study.channel import Go
from scheduler.study.offered import checkpoints

THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "MKL_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
)
#: Beyond the promise, before malloc fails: libraries map more than they touch. The supervisor's
#: own watch is meant to come first.
DATA_SLACK_BYTES = 512 << 20
#: Beyond that, before the kernel kills: a MemoryError says more, and lets a trial save.
GROUP_SLACK_BYTES = 128 << 20
PR_SET_PDEATHSIG = 1

_kept: list[object] = []  # things that must live as long as the process


def die_with_parent(parent: int) -> None:
    """Be killed when the thread of *parent* that started us ends.

    Exits at once where the parent is gone already (prctl(2): the signal is not sent then).
    """
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        os._exit(1)


def prepare(go: Go) -> None:
    """All of it, in the order that matters: the environment before anything reads it."""
    apply_environment(go)
    share_threads(go.threads)
    reseed(go.attempt.trial.number)
    be_courteous(go.nice, go.io)
    if go.attempt.cap_bytes is not None:
        contain(go.attempt.cap_bytes, go)


def contain(cap_bytes: int, go: Go) -> None:
    """Keep the attempt to its cap by all that there is: the weaker means end it more gently."""
    if go.on_host:
        limit_bytes = limit_data(cap_bytes)
        groups.enclose(groups.Limits(ram_bytes=limit_bytes + GROUP_SLACK_BYTES))
        return
    vram_bytes = int(BROKEN_RATIO * cap_bytes)
    groups.enclose(groups.Limits(vram_bytes=vram_bytes, address=go.attempt.device))
    if go.total_bytes:
        cap_torch(min(1.0, cap_bytes / go.total_bytes))


def apply_environment(go: Go) -> None:
    """The device's own variables, and what a script may want to know of its attempt."""
    told = {
        "SCHEDULER_RUN": go.attempt.trial.run,
        "SCHEDULER_ATTEMPT": go.attempt.id,
        "SCHEDULER_DEVICE": go.attempt.device,
        "SCHEDULER_PROMISE_BYTES": str(go.attempt.promise_bytes),
        "SCHEDULER_CAP_BYTES": None if go.attempt.cap_bytes is None else str(go.attempt.cap_bytes),
        checkpoints.VARIABLE: go.checkpoints,
    }
    for name, value in (go.environment | told).items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value


def thread_environment(threads: int) -> dict[str, str]:
    """The variables for a process that has not loaded its libraries yet.

    Empty where the user has set one: torch takes the least of OMP's and MKL's number.
    """
    if any(name in os.environ for name in THREAD_VARIABLES):
        return {}
    return dict.fromkeys(THREAD_VARIABLES, str(threads))


def share_threads(threads: int) -> None:
    """Bound the threads of libraries that are loaded already, and of those still to come.

    Two processes with default OpenMP threads ran 10 to 16 times slower than with one thread each.
    A user who has set any of the variables has decided. A number that the script gave to torch
    itself cannot be told from torch's default, and is overruled in a fork.
    """
    variables = thread_environment(threads)
    if not variables:
        return
    os.environ.update(variables)
    _kept.append(threadpoolctl.threadpool_limits(limits=threads))
    torch = sys.modules.get("torch")
    if torch is not None:
        with contextlib.suppress(Exception):
            torch.set_num_threads(threads)


def reseed(trial_number: int) -> None:
    """Give each trial its own chance, drawn from the state that the script left.

    Without this every fork would draw the same numbers. A retry of a trial draws what its first
    attempt drew.
    """
    seed = random.Random(f"{random.getrandbits(64)}:{trial_number}").getrandbits(63)
    random.seed(seed)
    numpy_random = sys.modules.get("numpy.random")
    if numpy_random is not None:
        inherited = int(numpy_random.randint(0, 2**31))
        numpy_random.seed((inherited + seed) % 2**32)
    torch = sys.modules.get("torch")
    if torch is not None:
        torch.manual_seed((int(torch.initial_seed()) + seed) % 2**63)


def limit_data(cap_bytes: int) -> int:
    """On host RAM: malloc fails above what the process has now, plus the cap, plus slack.

    Returns that sum, or the user's own limit where that is less.
    """
    inherited = own_bytes("VmData")
    assert inherited is not None, "/proc/self/status has no VmData"
    soft = inherited + cap_bytes + cap_bytes // 4 + DATA_SLACK_BYTES
    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    if hard != resource.RLIM_INFINITY:
        soft = min(soft, hard)
    resource.setrlimit(resource.RLIMIT_DATA, (soft, hard))
    return soft


def cap_torch(fraction: float) -> None:
    """Bound torch's allocator when, and only if, the GPU is initialised.

    ``torch.cuda._lazy_call`` runs a function at that moment, so a trial that never touches the GPU
    pays nothing. The fraction is of the device's whole memory; the GPU context is outside of it.
    """

    def ask(torch: Any) -> None:
        with contextlib.suppress(Exception):
            torch.cuda._lazy_call(lambda: torch.cuda.set_per_process_memory_fraction(fraction))

    if "torch" in sys.modules:
        ask(sys.modules["torch"])
    else:
        sys.meta_path.insert(0, _WhenImported("torch", ask))


class _WhenImported(importlib.abc.MetaPathFinder):
    """Call *then* with the module once *name* has been imported by somebody."""

    def __init__(self, name: str, then: Callable[[Any], None]) -> None:
        self._name = name
        self._then = then

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if name != self._name:
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(name)
        if spec is None or spec.loader is None:
            return None
        execute = spec.loader.exec_module

        def execute_and_tell(module: ModuleType) -> None:
            execute(module)
            self._then(module)

        spec.loader.exec_module = execute_and_tell  # type: ignore[method-assign]
        return spec


def forget_inherited_endings() -> None:
    """Drop the exit handlers and finalizers that a fork inherited: they are the host's.

    One ``sys.exit`` in an attempt would otherwise delete the host's temporary folders.
    """
    atexit._clear()
    weakref.finalize._registry.clear()  # type: ignore[attr-defined]
    processes: Any = sys.modules.get("multiprocessing.process")
    if processes is not None:
        processes._children = set()
    util = sys.modules.get("multiprocessing.util")
    if util is not None:
        util._finalizer_registry.clear()
        util._run_after_forkers()
        atexit.register(util._exit_function)


def restore_signals() -> None:
    """What Python starts with; the host's handlers mean nothing here."""
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def leave(code: int) -> NoReturn:
    """End the process as Python would, but without unwinding into the script's own frames.

    A negative *code* is the signal to end by.
    """
    with contextlib.suppress(BaseException):
        threading._shutdown()  # type: ignore[attr-defined]  # waits for non-daemon threads
    with contextlib.suppress(BaseException):
        atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(BaseException):
            stream.flush()
    if code < 0:
        stopping.die()
    os._exit(code)
