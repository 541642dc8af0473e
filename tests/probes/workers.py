"""Processes that hold memory of an emulated card, and waiting for what a probe says of it."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable

from probes.reading import Probe, Reading
from tests.emulated.card import EmulatedCard

WORKER = """
import sys
from tests.emulated import gpu
for line in sys.stdin:
    try:
        gpu.hold(int(line))
        print("holds", flush=True)
    except RuntimeError as error:
        print(f"{type(error).__module__}.{type(error).__qualname__}: {error}", flush=True)
"""


class Worker:
    """A process that holds what it is told."""

    def __init__(self, card: EmulatedCard, probe: Probe, **extra: str) -> None:
        environment = {**os.environ, **card.environment(), **extra}
        for name, value in probe.device.environment:
            environment.pop(name, None)
            if value is not None:
                environment[name] = value
        self.process = subprocess.Popen(
            [sys.executable, "-c", WORKER],
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.pid = self.process.pid

    def hold(self, size_bytes: int) -> str:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(f"{size_bytes}\n")
        self.process.stdin.flush()
        return self.process.stdout.readline().strip()

    def kill(self) -> None:
        self.process.kill()
        self.process.communicate()


def until(read: Callable[[], Reading], true: Callable[[Reading], bool]) -> Reading:
    """The first reading for which it is true. The deadline is far: it is met in 50 ms."""
    deadline = time.monotonic() + 60
    while not true(reading := read()):
        assert time.monotonic() < deadline, reading
        time.sleep(0.005)
    return reading
