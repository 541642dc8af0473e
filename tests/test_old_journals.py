"""Journals of supervisors that are long gone replay for ever.

Each in ``tests/data`` is what a version wrote and is never changed; where events get new fields,
one is added beside them. The first was written by a real run. The second holds what no single run
has: each kind of event, with the core's answers to it acted out. The third is its second half,
behind what a journal begins with that was shortened there. The fourth has limits that a user set
while a run went on; a simulated machine wrote it.
"""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any, get_args

import msgspec
import pytest

from scheduler.core.actions import Action, Hold, Note, Settle, Start
from scheduler.core.core import Core
from scheduler.core.events import Event, Limited, Offered, Progressed, Remembered, Started
from scheduler.machine.journal import replay

DATA = Path(__file__).parent / "data"
GIB = 1 << 30


class Replayed:
    """A journal's events, each with what the core says to it, and the core as it is then."""

    def __init__(self, path: Path) -> None:
        self.core = Core()
        self.steps: list[tuple[Event, tuple[Action, ...]]] = []
        for event in replay(path):
            self.steps.append((event, self.core.handle(event)))
            self.core.check()

    @property
    def actions(self) -> list[Action]:
        return [action for _, actions in self.steps for action in actions]

    def starts(self) -> list[str]:
        return [action.attempt.id for action in self.actions if isinstance(action, Start)]

    def settled(self) -> dict[str, tuple[str, str]]:
        return {
            action.attempt.id: (action.verdict.kind, action.settlement)
            for action in self.actions
            if isinstance(action, Settle)
        }


def a_copy(name: str, folder: Path) -> Path:
    """Reading a journal may cut its file."""
    return Path(shutil.copy(DATA / name, folder / name))


@pytest.mark.parametrize("name", sorted(path.name for path in DATA.glob("journal-*.jsonl")))
def test_every_line_is_read_and_taken(name: str, tmp_path: Path) -> None:
    """None is cut or set aside; the core takes all, and what it starts is what was started then."""
    path = a_copy(name, tmp_path)
    replayed = Replayed(path)
    assert path.read_bytes() == (DATA / name).read_bytes()
    assert [one.name for one in tmp_path.iterdir()] == [name]
    assert len(replayed.steps) == len(path.read_text().splitlines()) > 0
    known: set[str] = set()
    for event, actions in replayed.steps:
        if isinstance(event, Remembered):
            known |= {attempt for device in event.devices for attempt in device.lives}
        if isinstance(event, Started):
            assert event.attempt in known, f"{event.attempt} was started then, and is not now"
        known |= {action.attempt.id for action in actions if isinstance(action, Start)}


SERVICE = ("in service", "out of service")
IN_THE_SECOND = {
    "script-1/1.1": ("gpu_fault", "again"),
    "script-1/0.1": ("gpu_fault", "again"),
    "script-1/2.1": ("finished", "done"),
    "script-1/1.2": ("gpu_fault", "failed"),
    "script-1/0.2": ("gpu_fault", "again"),
    "script-1/3.1": ("stopped", "again"),
    "script-1/0.3": ("stopped", "again"),
    "script-1/0.4": ("configuration", "done"),
    "script-1/3.5": ("finished", "done"),
}


def test_the_second_version(tmp_path: Path) -> None:
    """A window lets three run at once. Three faults of two trials, of which one took a third along,
    and the card is put into service again by its user; a pause that stops and puts back; a set-up
    that has served another trial; a reboot."""
    replayed = Replayed(a_copy("journal-2.jsonl", tmp_path))
    kinds = {type(event) for event, _ in replayed.steps}
    assert kinds == set(get_args(Event)) - {Remembered, Limited, Progressed}
    assert replayed.settled() == IN_THE_SECOND
    numbers = ("0.1", "1.1", "2.1", "1.2", "0.2", "3.1", "0.3", "0.4", "3.2", "4.1", "3.5")
    begun = replayed.starts()
    assert begun.pop(3) == "night-2/0.1"
    assert begun == [f"script-1/{one}" for one in numbers]
    changes = [action.change for action in replayed.actions if isinstance(action, Note)]
    told = [(one.trial, one.what) for one in changes]
    assert told == [
        *((1, "fault"), (0, "fault"), (1, "fault"), (0, "fault")),
        *[(None, "service")] * 4,
        *((0, "stopped"), (3, "stopped")),
    ]
    assert [(one.before, one.after) for one in changes[4:8:2]] == [SERVICE, SERVICE[::-1]]
    held = [action.because for action in replayed.actions if isinstance(action, Hold)]
    assert any(because.endswith("at most 3 at once, mon-fri 09:00-18:00") for because in held)
    assert "paused by you" in held


def as_then(seen: Any) -> Any:
    """Without what was not remembered then: caps above the promise, and how attempts have grown."""
    text = msgspec.json.encode(seen)
    text = re.sub(rb'"cap_bytes":\d+', b'"cap_bytes":0', text)
    return msgspec.json.decode(re.sub(rb'"was_growing":\w+', b'"was_growing":0', text))


def test_the_third_goes_on_where_it_was_shortened(tmp_path: Path) -> None:
    """As the long one does, with the same actions."""
    long = Replayed(a_copy("journal-2.jsonl", tmp_path))
    short = Replayed(a_copy("journal-3.jsonl", tmp_path))
    (first, said), *rest = short.steps
    assert isinstance(first, Remembered)
    assert said == ()
    assert as_then(rest) == as_then(long.steps[-len(rest) :])
    assert as_then(short.core.view()) == as_then(long.core.view())
    assert len(short.core.view().changes) == 10


def test_the_first_version(tmp_path: Path) -> None:
    """A card of 16 GiB, three attempts at once, four trials of 3, 8.2, 2 and 14.5 GiB with a
    promise of 6: two fit, one comes back with 9, one is too big and is tried alone in the end.
    (They came back with half as much again then, and would with a quarter above their cap now.)"""
    replayed = Replayed(a_copy("journal-1.jsonl", tmp_path))
    kinds = {type(event).__name__ for event, _ in replayed.steps}
    assert kinds == {"Found", "Joined", "Offered", "Started", "Exited", "Sampled", "Left"}
    assert replayed.starts() == [
        f"script-1/{one}" for one in ("0.1", "1.1", "2.1", "3.1", "1.2", "3.2", "3.3")
    ]
    assert replayed.settled() == {
        "script-1/0.1": ("finished", "done"),
        "script-1/1.1": ("device_oom", "again"),
        "script-1/1.2": ("finished", "done"),
        "script-1/2.1": ("finished", "done"),
        "script-1/3.1": ("device_oom", "again"),
        "script-1/3.2": ("device_oom", "again"),
        "script-1/3.3": ("device_oom", "capacity"),
    }
    changes = [action.change for action in replayed.actions if isinstance(action, Note)]
    assert [(one.trial, one.what, one.before, one.after) for one in changes] == [
        (1, "promise", "6.0 GiB", "8.2 GiB"),
        (3, "promise", "6.0 GiB", "8.2 GiB"),
        (3, "alone", "9.0 GiB, with neighbours", "all that is left, alone"),
        (3, "capacity", "14.0 GiB, alone", "does not fit, told to the sampler"),
    ]


def test_the_fourth_keeps_what_its_user_has_fixed(tmp_path: Path) -> None:
    """No promise is raised: the trial of 7.5 GiB is too big at once. From the fourth second on one
    at a time, from the eighteenth as many as fit."""
    replayed = Replayed(a_copy("journal-4.jsonl", tmp_path))
    assert replayed.settled()["train-1/2.1"] == ("device_oom", "capacity")
    changes = [action.change for action in replayed.actions if isinstance(action, Note)]
    assert "promise" not in {one.what for one in changes}
    limits = [(e.max_attempts, e.fixed) for e, _ in replayed.steps if isinstance(e, Limited)]
    assert limits == [(1, ("promise",)), (None, ("promise", "concurrency"))]
    (run,) = replayed.core.view().runs
    assert (run.run.max_attempts, run.run.fixed) == limits[-1]


def test_what_comes_back_is_what_hosts_offered_then(tmp_path: Path) -> None:
    """A host offers again what it was told to: the trial in the journal is the one that replay
    makes of the attempt's end. How much more one is promised is another rule's by now."""
    replayed = Replayed(a_copy("journal-1.jsonl", tmp_path))
    again = [one.again for one in replayed.actions if isinstance(one, Settle) and one.again]
    offered = [e.trial for e, _ in replayed.steps if isinstance(e, Offered) and e.trial.attempts]
    now, then = (
        [msgspec.structs.replace(one, want_bytes=None) for one in trials]
        for trials in (again, offered)
    )
    assert then == now != []


def test_nothing_is_left_of_a_run_that_ended(tmp_path: Path) -> None:
    """As far as its supervisor was concerned when it left."""
    view = Replayed(a_copy("journal-1.jsonl", tmp_path)).core.view()
    (run,) = view.runs
    assert (run.connected, run.active, run.waiting) == (False, 0, ())
    card = next(one for one in view.devices if one.budget.device.kind == "amd")
    assert card.attempts == ()
    assert card.strangers_bytes == card.used_bytes == 400 << 20
    assert card.headroom_bytes is not None
    assert card.headroom_bytes > 13 * GIB
