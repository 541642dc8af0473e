"""Runs another program for its words: with a time limit, without a terminal, and never waited for
longer than that.

Covers starting, limiting and ending it; what its words mean is in one module per tool. A tool that
sits in the driver (state D) cannot be killed: it is left to end when the driver lets it, and who
asked is answered all the same.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Generic, TypeVar

import msgspec

#: More than any tool says of 16 cards; a tool that runs wild must not fill our memory.
MOST_BYTES = 4 << 20

#: Where ROCm's packages put its programs; not all of them put them on PATH too.
ROCM_FOLDER = "/opt/rocm/bin"

_REAP_S = 0.5


class ToolFailed(Exception):
    """A tool gave no answer that can be used. The text is for people, and names the tool."""


class Said(msgspec.Struct, frozen=True, kw_only=True):
    """What a program printed. Bytes that are not UTF-8 are escaped."""

    stdout: str
    stderr: str
    exit_code: int
    took_s: float


def find(name: str, *folders: str) -> str:
    """The program's path: on PATH, else in one of *folders*. Raises ToolFailed.

    A *name* with a slash in it is a path already.
    """
    path = os.pathsep.join((os.environ.get("PATH", os.defpath), *folders))
    program = shutil.which(name, path=path)
    if program is None:
        where = "".join(f" nor in {folder}" for folder in folders)
        raise ToolFailed(f"{name} is {'neither' if where else 'not'} on PATH{where}")
    return program


def missing(name: str, *folders: str) -> str | None:
    """Why the program cannot be started here; None: it can."""
    try:
        find(name, *folders)
    except ToolFailed as failed:
        return str(failed)
    return None


def run(
    arguments: Sequence[str], *, limit_s: float, environment: Mapping[str, str] | None = None
) -> Said:
    """Run to the end. Raises ToolFailed where it cannot be started or does not end in *limit_s*.

    *environment* is added to ours; the language is always C, so that words can be told.
    """
    began_s = time.monotonic()
    name = os.path.basename(arguments[0])
    try:
        process = subprocess.Popen(
            arguments,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**os.environ, **(environment or {}), "LC_ALL": "C.UTF-8", "NO_COLOR": "1"},
            start_new_session=True,
        )
    except OSError as error:
        because = (error.strerror or str(error)).lower()
        raise ToolFailed(f"{name} cannot be started: {because}") from error
    try:
        stdout, stderr = _listen(process, began_s + limit_s)
        process.wait(max(0.0, began_s + limit_s - time.monotonic()))
    except (TimeoutError, subprocess.TimeoutExpired):
        _end(process)
        raise ToolFailed(f"{name} did not answer in {limit_s:.0f} s") from None
    except BaseException:
        _end(process)
        raise
    if len(stdout) > MOST_BYTES:
        raise ToolFailed(f"{name} says more than {MOST_BYTES} bytes")
    return Said(
        stdout=stdout.decode(errors="backslashreplace"),
        stderr=stderr.decode(errors="backslashreplace"),
        exit_code=process.returncode,
        took_s=time.monotonic() - began_s,
    )


def _listen(process: subprocess.Popen[bytes], until_s: float) -> list[bytes]:
    """What comes out of both pipes up to their ends, and of each no more than is worth keeping.

    Raises TimeoutError.
    """
    pipes = [pipe for pipe in (process.stdout, process.stderr) if pipe is not None]
    said = {pipe.fileno(): b"" for pipe in pipes}
    with selectors.DefaultSelector() as selector:
        for pipe in pipes:
            selector.register(pipe, selectors.EVENT_READ)
        while selector.get_map():
            ready = selector.select(max(0.0, until_s - time.monotonic()))
            if not ready:
                raise TimeoutError
            for key, _ in ready:
                part = os.read(key.fd, 1 << 16)
                if not part:
                    selector.unregister(key.fileobj)
                elif len(said[key.fd]) <= MOST_BYTES:
                    said[key.fd] += part
    return list(said.values())


def _end(process: subprocess.Popen[bytes]) -> None:
    """Kill it and what it started; one that cannot die yet is left to be collected later."""
    with contextlib.suppress(OSError):
        os.killpg(process.pid, signal.SIGKILL)
    for pipe in (process.stdout, process.stderr):
        if pipe is not None:
            pipe.close()
    try:
        process.wait(_REAP_S)
    except subprocess.TimeoutExpired:
        threading.Thread(target=process.wait, name=f"reap {process.pid}", daemon=True).start()


T = TypeVar("T")


class Shared(Generic[T]):
    """One call answers all who ask while it runs or soon after: eight cards, one nvidia-smi."""

    def __init__(self, call: Callable[[], T], fresh_s: float = 0.5) -> None:
        self._call = call
        self._fresh_s = fresh_s
        self._lock = threading.Lock()
        self._answer: T | None = None
        self._failure: Exception | None = None
        self._until_s = 0.0

    def get(self) -> T:
        """The answer, at most *fresh_s* old. Raises what the call raised, for as long."""
        with self._lock:
            if time.monotonic() >= self._until_s:
                self._answer, self._failure = None, None
                try:
                    self._answer = self._call()
                except Exception as error:
                    self._failure = error
                self._until_s = time.monotonic() + self._fresh_s
            if self._failure is not None:
                raise self._failure
            assert self._answer is not None
            return self._answer
