from __future__ import annotations

from scheduler.core.core import Core
from scheduler.core.events import Found
from scheduler.loop import run


class Told:
    """A world, a journal and a core in one: what they are asked, in order."""

    def __init__(self, *events: Found) -> None:
        self.left = list(events)
        self.order: list[str] = []

    def next_event(self):
        self.order.append("next")
        return self.left.pop(0) if self.left else None

    def perform(self, action):
        self.order.append(f"perform {action}")

    def append(self, event):
        self.order.append("append")

    def handle(self, event):
        self.order.append("handle")
        return ("one", "two")


def test_an_event_is_written_down_before_it_is_acted_on():
    told = Told(Found(at_s=1.0, budgets=()))
    run(told, told, told)
    assert told.order == ["next", "append", "handle", "perform one", "perform two", "next"]


def test_an_event_that_cannot_be_written_down_is_not_acted_on():
    class Full(Told):
        def append(self, event):
            raise OSError("no space")

    full = Full(Found(at_s=1.0, budgets=()))
    try:
        run(full, full, full)
    except OSError:
        full.order.append("raised")
    assert full.order == ["next", "raised"]


def test_the_core_fits_the_loop():
    told = Told(Found(at_s=1.0, budgets=()))
    run(Core(), told, told)
    assert told.order == ["next", "append", "next"]
