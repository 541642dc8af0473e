"""The poller: whatever one probe does, the others' word comes, and no old word passes for new."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from queue import SimpleQueue

import pytest

from probes.reading import Device, Held, Reading
from scheduler.core.events import Sampled
from scheduler.machine import devices
from scheduler.machine.devices import Poller, blind


class Card:
    """A probe that does what *answer* does."""

    every_s = 0.0

    def __init__(
        self, key: str, answer: Callable[[], None] = lambda: None, *, source: str = "sysfs"
    ) -> None:
        self.source = source
        self.device = Device(
            key=key, kind="amd", name=key, total_bytes=16, source="test", because="test"
        )
        self.answer = answer
        self.reads = 0

    def read(self, trees: tuple[int, ...]) -> Reading:
        self.answer()
        self.reads += 1
        held = tuple(Held(pid=pid, held_bytes=self.reads) for pid in trees)
        return Reading(device=self.device.key, total_bytes=16, used_bytes=self.reads, held=held)


@pytest.fixture
def never() -> Iterator[threading.Event]:
    """Waiting for it hangs until the test is over."""
    event = threading.Event()
    yield event
    event.set()


def poller(*cards: Card, period_s: float = 1.0) -> Poller:
    return Poller(
        [[card] for card in cards], lambda key: (7,) if key == "a" else (), lambda _: None, period_s
    )


def test_each_device_is_asked_about_its_own_attempts() -> None:
    sampled = poller(Card("a"), Card("b")).poll()
    assert [reading.used_bytes for reading in sampled.readings] == [1, 1]
    assert [reading.held for reading in sampled.readings] == [(Held(pid=7, held_bytes=1),), ()]


def test_a_poll_shows_what_is_read_in_it_and_not_before() -> None:
    one = poller(Card("a"))
    assert [one.poll().readings[0].used_bytes for _ in range(3)] == [1, 2, 3]


def test_a_device_that_hangs_does_not_keep_the_others(never: threading.Event) -> None:
    one = poller(Card("a", lambda: void(never.wait())), Card("b"), period_s=0.1)
    for count in (1, 2, 3):
        hanging, working = one.poll().readings
        assert (working.used_bytes, working.problem) == (count, None)
        assert (hanging.used_bytes, hanging.problem) == (None, "has not answered yet")


def test_its_last_word_is_not_believed_for_longer_than_three_seconds(
    never: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    now_s = [100.0]
    monkeypatch.setattr(devices.time, "monotonic", lambda: now_s[0])
    card = Card("a")
    one = poller(card, period_s=0.1)
    one.poll()
    card.answer = lambda: void(never.wait())
    assert one.poll().readings[0].used_bytes == 1
    now_s[0] += 3.5
    (reading,) = one.poll().readings
    assert (reading.total_bytes, reading.used_bytes, reading.held) == (None, None, None)
    assert reading.problem == "has not answered for 4 s"


def test_it_is_heard_again_when_it_answers(
    never: threading.Event, wait_for: Callable[[Callable[[], object], str], object]
) -> None:
    card = Card("a", lambda: void(never.wait()))
    one = poller(card, period_s=0.1)
    assert one.poll().readings[0].problem is not None
    never.set()
    wait_for(lambda: one.poll().readings[0].used_bytes, "a reading")


def test_a_bug_in_a_probe_costs_its_device_only() -> None:
    def fail() -> None:
        raise KeyError("amdsmi")

    broken, working = poller(Card("a", fail), Card("b")).poll().readings
    assert broken.used_bytes is None
    assert broken.problem == "its probe failed: KeyError: 'amdsmi'"
    assert working.used_bytes == 1


def test_polls_come_by_the_period_and_sooner_when_nudged() -> None:
    samples: SimpleQueue[Sampled] = SimpleQueue()
    one = Poller([[Card("a")]], lambda key: (), samples.put, period_s=60.0)
    one.start()
    samples.get(timeout=30.0)
    one.nudge()
    samples.get(timeout=30.0)


def test_a_shorter_period_holds_at_once() -> None:
    samples: SimpleQueue[Sampled] = SimpleQueue()
    one = Poller([[Card("a")]], lambda key: (), samples.put, period_s=60.0)
    one.start()
    samples.get(timeout=30.0)
    one.every(0.01)
    for _ in range(3):
        samples.get(timeout=30.0)


def test_a_source_that_hangs_is_left_for_the_next_and_heard_again(
    never: threading.Event, monkeypatch: pytest.MonkeyPatch, wait_for: Callable[..., object]
) -> None:
    now_s = [100.0]
    monkeypatch.setattr(devices.time, "monotonic", lambda: now_s[0])
    first, second = Card("a"), Card("a", source="rocm-smi")
    one = Poller([[first, second]], lambda key: (), lambda _: None, period_s=0.1)
    one.poll()
    assert (first.reads, second.reads) == (1, 0)
    first.answer = lambda: void(never.wait())
    problems = []
    for _ in range(6):
        problems.append(one.poll().readings[0].problem)
        now_s[0] += 2.0
    assert problems == [
        None,
        None,
        "has not answered for 4 s",
        "has not answered for 6 s",
        "sysfs: has not answered for 8 s",
        None,
    ]
    assert [state.state for state in one.sources()["a"]] == ["left", "in use"]
    never.set()
    wait_for(lambda: one.poll() and one.sources()["a"][0].state == "in use", "the first again")
    assert one.sources()["a"][1].state == "standby"


def test_a_tool_is_not_started_more_often_than_it_bears(monkeypatch: pytest.MonkeyPatch) -> None:
    now_s = [100.0]
    monkeypatch.setattr(devices.time, "monotonic", lambda: now_s[0])
    card = Card("a")
    card.every_s = 1.0
    one = poller(card)
    for _ in range(8):
        one.poll()
        now_s[0] += 0.25
    assert card.reads == 2


def test_a_blind_poll_says_nothing_but_why() -> None:
    (reading,) = blind(["a"], 5.0, "the disk is full").readings
    assert (reading.total_bytes, reading.used_bytes, reading.problem) == (
        None,
        None,
        "the disk is full",
    )


def void(_: object) -> None:
    """For answers that wait: nothing comes back."""
