"""The loop. The supervisor and the simulator run this one."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from scheduler.core.actions import Action
from scheduler.core.events import Event


class Brain(Protocol):
    """Who decides: the core, or another to compare it with."""

    def handle(self, event: Event) -> Iterable[Action]: ...


class World(Protocol):
    """The outside: a machine with devices and hosts, or a model of one."""

    def next_event(self) -> Event | None:
        """Waits for it. None: there will be no more."""
        ...

    def perform(self, action: Action) -> None: ...


class Journal(Protocol):
    def append(self, event: Event) -> None: ...


def run(core: Brain, world: World, journal: Journal) -> None:
    """Handle events until the world has no more."""
    while (event := world.next_event()) is not None:
        journal.append(event)  # before acting, so that a replay sees what we saw
        for action in core.handle(event):
            world.perform(action)
