"""All checks at once, each in a thread of its own with a deadline, told in their order.

A read of sysfs that hangs in the driver cannot be ended: its thread is left behind, and goes with
the process.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import NamedTuple

from scheduler.interfaces.checkup import (
    containment,
    counters,
    devices,
    drivers,
    kernel,
    limits,
    permissions,
    place,
    python,
    supervisor,
    tools,
    torch_build,
    torch_facts,
    variables,
)
from scheduler.interfaces.checkup.findings import Check, State, Where, problem

LIMIT_S = 10.0
DEVICES_LIMIT_S = 30.0  #: to find them, tools of the makers may be asked
TOOL_LIMIT_S = 45.0  #: a tool is asked twice, and amd-smi was seen to take 20 s when cold


class Part(NamedTuple):
    """One thing to look at. ``hung``: what it means when it does not come to an end."""

    name: str
    check: Callable[[Where], tuple[Check, ...]]
    limit_s: float = LIMIT_S
    hung: State = "problem"


def parts(where: Where) -> tuple[Part, ...]:
    """In the order in which they are told: what is quick, and what others rest on, first."""
    asked = [
        Part(tools.NAME, partial(tools.check, tool=tool), TOOL_LIMIT_S, "warning")
        for tool in where.find_tools()
    ]
    return (
        Part(python.NAME, python.check),
        Part(place.NAME, place.check),
        Part(supervisor.NAME, supervisor.check),
        Part(devices.NAME, devices.check, DEVICES_LIMIT_S),
        Part(drivers.NAME, drivers.check),
        Part(permissions.NAME, permissions.check),
        Part(counters.NAME, counters.check),
        Part(kernel.NAME, kernel.check, DEVICES_LIMIT_S, "warning"),
        Part(limits.GROUP, limits.check_group),
        Part(limits.LIMITS, limits.check_limits),
        Part(containment.NAME, containment.check, DEVICES_LIMIT_S, "warning"),
        Part(variables.NAME, variables.check, DEVICES_LIMIT_S, "warning"),
        *asked,
        Part(torch_build.NAME, torch_build.check, torch_facts.LIMIT_S + DEVICES_LIMIT_S),
    )


def examine(where: Where, wanted: tuple[Part, ...]) -> Iterator[Check]:
    """What each of *wanted* found, in their order, each as soon as it and those before it are
    known."""
    began_s = time.monotonic()
    jobs = [_Job(where, part) for part in wanted]
    for job in jobs:
        job.start()
    for job in jobs:
        yield from job.wait(began_s)


class _Job:
    def __init__(self, where: Where, part: Part) -> None:
        self._where = where
        self._part = part
        self._found: tuple[Check, ...] | None = None
        self._thread = threading.Thread(target=self._work, name=part.name, daemon=True)

    def start(self) -> None:
        self._thread.start()

    def _work(self) -> None:
        try:
            self._found = self._part.check(self._where)
        except Exception as error:
            # A machine that is odd in one place must not cost what the other checks say.
            seen = f"could not be looked at: {type(error).__name__}: {error}"
            self._found = (problem(self._part.name, seen, "Please report this as a mistake"),)

    def wait(self, began_s: float) -> tuple[Check, ...]:
        limit_s = self._part.limit_s
        self._thread.join(max(0.0, began_s + limit_s - time.monotonic()))
        if self._found is not None:
            return self._found
        seen = f"did not answer in {limit_s:.0f} s"
        todo = "A driver may hang; see its words: sudo dmesg | tail -50"
        return (Check(name=self._part.name, state=self._part.hung, seen=seen, todo=todo),)
