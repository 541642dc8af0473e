"""The loop. The supervisor and the simulator run this one."""

from __future__ import annotations

from typing import Protocol

from scheduler.core.actions import Action
from scheduler.core.core import Core
from scheduler.core.events import Event


class World(Protocol):
    """The outside: a machine with devices and hosts, or a model of one."""

    def next_event(self) -> Event | None:
        """Waits for it. None: there will be no more."""
        ...

    def perform(self, action: Action) -> None: ...


class Journal(Protocol):
    def append(self, event: Event) -> None: ...


def run(core: Core, world: World, journal: Journal) -> None:
    """Handle events until the world has no more."""
    while (event := world.next_event()) is not None:
        journal.append(event)  # before acting, so that a replay sees what we saw
        for action in core.handle(event):
            world.perform(action)
