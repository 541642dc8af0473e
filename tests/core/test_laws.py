"""What must hold whatever happens: random events, also impossible ones, in any order."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st
from scene import (
    CRASHED,
    DONE,
    FAULTED,
    GIB,
    KILLED,
    OOM,
    OWN_CAP,
    RAISED,
    STOPPED,
    UNSET,
    CheckedCore,
    assert_replays,
    budget,
    reading,
)

from scheduler.core.actions import Halt, Refuse, Settle, Start, Stop
from scheduler.core.events import (
    Event,
    Exited,
    Found,
    Joined,
    Left,
    Offered,
    Prioritised,
    Ruled,
    Running,
    Sampled,
    Saved,
    Served,
    Started,
    Vanished,
    Withdrawn,
)
from scheduler.core.model import Attempt, Process, Rule, Run, Trial

DEVICES = ("a", "b")
RUNS = {
    "r": Run(id="r"),
    "s": Run(id="s", device="b", promise_bytes=3 * GIB, max_attempts=2),
    "t": Run(id="t", reserve_bytes=1 * GIB, contain=False),
}
EVIDENCE = (DONE, OOM, OWN_CAP, KILLED, STOPPED, RAISED, CRASHED, FAULTED, UNSET)

Ask = tuple[str, int, int, int]
ASKS: st.SearchStrategy[list[Ask]] = st.lists(
    st.tuples(
        st.sampled_from(
            ["sample"] * 6
            + ["offer"] * 4
            + ["start"] * 4
            + ["exit"] * 4
            + ["rule", "join", "join"] * 2
            + ["again", "vanish", "join", "leave", "find", "withdraw", "late"]
            + ["save", "serve", "prioritise", "boot", "set back"]
        ),
        st.integers(0, 3),
        st.integers(0, 20),
        st.integers(0, 16),
    ),
    max_size=60,
)


class Outside:
    """Hosts and devices that say anything, in an order of their own."""

    def __init__(self) -> None:
        self.core = CheckedCore()
        self.other: CheckedCore | None = None  #: is to say the same from here on
        self.now_s = 1e6
        self.attempts: dict[str, Attempt] = {}
        self.again: list[Trial] = []
        self.halted: set[str] = set()
        self.handle(Found(at_s=self.now_s, budgets=tuple(budget(key) for key in DEVICES)))
        for run in RUNS.values():
            self.handle(Joined(at_s=self.now_s, run=run))

    def handle(self, event: Event) -> None:
        view = self.core.view()
        if isinstance(event, Joined):
            self.halted.discard(event.run.id)
        actions = self.core.handle(event)
        if self.other is not None:
            assert self.other.handle(event) == actions
            assert self.other.view() == self.core.view()
        for action in actions:
            match action:
                case Start(attempt=attempt):
                    assert attempt.id not in self.attempts, "an id was used twice"
                    self.attempts[attempt.id] = attempt
                    assert attempt.trial.run not in self.halted, "a halted run was given a start"
                case Settle(again=Trial() as again):
                    assert again.attempts > 0
                    self.again.append(again)
                case Halt(run=run):
                    assert run not in self.halted, "halted twice"
                    self.halted.add(run)
                case Stop(attempt=attempt):
                    assert attempt.id in self.attempts
                case Refuse():
                    self._refused(action)
        self._admitted(view, event)
        self._ruled([action.attempt for action in actions if isinstance(action, Start)])

    def _refused(self, refuse: Refuse) -> None:
        """No device could take it, were it empty; and it waits no more."""
        view, run = self.core.view(), RUNS[refuse.run]
        assert refuse.want_bytes > refuse.most_bytes
        for device in view.devices:
            known = device.found and device.total_bytes is not None and device.out_because is None
            if known and device.budget.is_for(run) and device.strangers_bytes is not None:
                reserve = 2 * GIB if run.reserve_bytes is None else run.reserve_bytes
                strangers = device.strangers_high_bytes or 0
                assert refuse.want_bytes > device.total_bytes - strangers - reserve
        waiting = [(one.trial.run, one.trial.number) for of in view.runs for one in of.waiting]
        assert (refuse.run, refuse.trial) not in waiting

    def _ruled(self, begun: list[Attempt]) -> None:
        """No start exceeds a rule, nor does it use what a rule keeps free."""
        view = self.core.view()
        there = [
            one for device in view.devices for one in device.attempts if one.state != "releasing"
        ]
        for rule, attempt in ((rule, attempt) for rule in view.rules for attempt in begun):
            of_run = rule.run == attempt.trial.run
            of_device = rule.run is None and rule.device in (None, attempt.device)
            if rule.max_attempts is not None and of_run:
                same = [one for one in there if one.attempt.trial.run == rule.run]
                assert len(same) <= rule.max_attempts
            elif rule.max_attempts is not None and of_device:
                same = [one for one in there if one.attempt.device == attempt.device]
                assert len(same) <= rule.max_attempts
            if rule.reserve_bytes is not None and of_device:
                (card,) = (d for d in view.devices if d.budget.device.key == attempt.device)
                promised = sum(one.promise_bytes for one in card.attempts)
                left = card.total_bytes - promised - (card.strangers_high_bytes or 0)
                assert left >= rule.reserve_bytes

    def _admitted(self, before: object, event: Event) -> None:
        """Promises never exceed what the device has, when one is made."""
        after = self.core.view()
        known = {one.attempt.id for device in before.devices for one in device.attempts}
        for device in after.devices:
            new = [
                one.attempt
                for one in device.attempts
                if one.attempt.id not in known and one.state == "starting"
            ]
            new = [one for one in new if one.started_at_s == event.at_s]
            if not new:
                continue
            assert device.found
            assert device.out_because is None, "started on a device that is out of service"
            assert device.used_bytes is not None, "unknown admitted something"
            runs = {run.run.id: run.run for run in after.runs}
            reserves = [runs[one.trial.run].reserve_bytes for one in new]
            reserve = min(2 * GIB if one is None else one for one in reserves)
            promised = sum(one.promise_bytes for one in device.attempts)
            strangers = device.strangers_high_bytes or 0
            assert strangers >= (device.strangers_bytes or 0)
            assert promised + strangers <= device.total_bytes - reserve
            if any(one.attempt.alone for one in device.attempts):
                assert len(device.attempts) == 1, "one that must be alone has company"

    def live(self) -> list[str]:
        return [one.attempt.id for device in self.core.view().devices for one in device.attempts]

    def events(self, kind: str, which: int, number: int, size: int) -> Iterator[Event]:
        self.now_s += (0.0, 0.5, 1.0, 40.0)[which]
        run = list(RUNS)[which % 3]
        live, all_of_them = self.live(), list(self.attempts)
        attempt = live[number % len(live)] if live else "r/0.1"
        late = all_of_them[number % len(all_of_them)] if all_of_them else "r/0.1"
        match kind:
            case "sample":
                yield self.sampled(which, number, size)
            case "offer":
                want = None if size < 4 else size * GIB
                offered = Trial(run=run, number=number, want_bytes=want, alone=size == 1)
                yield Offered(at_s=self.now_s, trial=offered)
            case "start":
                yield self.started(attempt)
            case "exit":
                yield Exited(
                    at_s=self.now_s, attempt=attempt, evidence=EVIDENCE[number % len(EVIDENCE)]
                )
            case "late":
                yield self.started(late)
                yield Exited(at_s=self.now_s, attempt=late, evidence=DONE)
            case "again" if self.again:
                yield Offered(at_s=self.now_s, trial=self.again.pop(number % len(self.again)))
            case "vanish":
                yield Vanished(at_s=self.now_s, attempt=attempt)
            case "join":
                running = tuple(
                    Running(
                        attempt=self.attempts[one],
                        process=None if size % 2 else Process(pid=hash_of(one), started_ticks=1),
                    )
                    for one in all_of_them
                    if self.attempts[one].trial.run == run and one in live
                )
                yield Joined(at_s=self.now_s, run=RUNS[run], running=running[: size % 3])
            case "leave":
                yield Left(at_s=self.now_s, run=run)
            case "find":
                found = DEVICES[: 1 + number % 2]
                yield Found(at_s=self.now_s, budgets=tuple(budget(key) for key in found))
            case "boot":
                found = tuple(budget(key) for key in DEVICES)
                yield Found(at_s=self.now_s, budgets=found, boot_id=f"boot{number % 3}")
            case "set back":
                self.now_s -= 500.0 * number
            case "rule":
                yield Ruled(at_s=self.now_s, rules=rules(which, number, size))
            case "save":
                yield Saved(at_s=self.now_s, attempt=attempt, saved_at_s=self.now_s - size)
            case "serve":
                yield Served(at_s=self.now_s, device=DEVICES[number % 2])
            case "prioritise":
                yield Prioritised(at_s=self.now_s, run=run, priority=size % 3 - 1)
            case "withdraw":
                yield Withdrawn(at_s=self.now_s, run=run, trial=number)

    def started(self, attempt: str) -> Event:
        process = Process(pid=hash_of(attempt), started_ticks=1)
        return Started(at_s=self.now_s, attempt=attempt, process=process)

    def sampled(self, which: int, number: int, size: int) -> Event:
        """Each attempt holds some of its promise, or more; strangers some; or nothing is said."""
        readings = []
        for place, key in enumerate(DEVICES):
            if (which + place) % 7 == 3:
                readings.append(reading(None, key=key))
                continue
            held: dict[int, int | None] = {}
            for device in self.core.view().devices:
                for one in device.attempts if device.budget.device.key == key else ():
                    if one.process is not None:
                        held[one.process.pid] = one.attempt.promise_bytes * (number % 6) // 4
            used = min(16 * GIB, sum(size or 0 for size in held.values()) + size * GIB // 2)
            readings.append(reading(used, None if number == 13 else held, key=key))
        return Sampled(at_s=self.now_s, readings=tuple(readings[: 1 + (number != 7)]))


def rules(which: int, number: int, size: int) -> tuple[Rule, ...]:
    """Some of five, by the bits of *number*."""
    all_of_them = (
        Rule(source="you", because="1", device="a", max_attempts=size % 3, stops=which % 2 == 0),
        Rule(source="you", because="2", run="r", max_attempts=size % 2),
        Rule(source="you", because="3", run="s", max_attempts=size % 3, stops=True),
        Rule(source="window", because="4", reserve_bytes=size * GIB, stops=which > 1),
        Rule(source="program", because="5", max_attempts=2, stops=True),
    )
    return tuple(rule for place, rule in enumerate(all_of_them) if number >> place & 1)


def hash_of(attempt: str) -> int:
    """A pid; the same in each process, which hash() is not."""
    return 1000 + sum((place + 1) * ord(letter) for place, letter in enumerate(attempt))


@settings(max_examples=150, deadline=None)
@given(ASKS)
def test_whatever_happens_the_invariants_hold_and_the_journal_replays(asks):
    outside = Outside()
    for ask in asks:
        for event in outside.events(*ask):
            outside.handle(event)
    assert_replays(outside.core)


@settings(max_examples=60, deadline=None)
@given(ASKS, ASKS)
def test_a_core_that_is_told_what_another_knows_goes_on_as_that_one(before, after):
    outside = Outside()
    for ask in before:
        for event in outside.events(*ask):
            outside.handle(event)
    line = msgspec.json.encode(outside.core.remember())
    outside.other = CheckedCore()
    outside.other.handle(msgspec.json.decode(line, type=Event))
    for ask in after:
        for event in outside.events(*ask):
            outside.handle(event)


@settings(max_examples=50, deadline=None)
@given(ASKS)
def test_an_unknown_device_never_admits(asks):
    outside = Outside()
    for ask in asks:
        for event in outside.events(*ask):
            if isinstance(event, Sampled):
                event = Sampled(
                    at_s=event.at_s, readings=tuple(reading(None, key=key) for key in DEVICES)
                )
            outside.handle(event)
    assert not outside.attempts


@settings(max_examples=20, deadline=None)
@given(
    st.lists(st.integers(1, 14), min_size=90, max_size=90),
    st.integers(1, 6),
    st.sampled_from([("a",), ("a", "b")]),
)
def test_no_trial_that_fits_an_empty_device_waits_while_fifty_others_start(sizes, at_once, keys):
    """However large or small it is, and whatever its run offers after it."""
    core, at_s, begun = CheckedCore(), 1e6, 0
    core.handle(Found(at_s=at_s, budgets=tuple(budget(key) for key in keys)))
    core.handle(Joined(at_s=at_s, run=RUNS["r"]))
    left = [Trial(run="r", number=n, want_bytes=size * GIB) for n, size in enumerate(sizes)]
    running: list[str] = []
    since: dict[int, int] = {}  #: trials that wait: how many had begun when it was offered
    while left:
        at_s += 1.0
        events: list[Event] = []
        if running:
            events.append(Exited(at_s=at_s, attempt=running.pop(0), evidence=DONE))
        while left and len(since) < at_once:
            trial = left.pop(0)
            since[trial.number] = begun
            events.append(Offered(at_s=at_s, trial=trial))
        readings = tuple(reading(0, key=key) for key in keys)
        events.append(Sampled(at_s=at_s + 0.5, readings=readings))
        for action in (action for event in events for action in core.handle(event)):
            assert not isinstance(action, Refuse)
            if isinstance(action, Start):
                begun += 1
                running.append(action.attempt.id)
                del since[action.attempt.trial.number]
        assert all(begun - before < 50 for before in since.values())


@settings(max_examples=50, deadline=None)
@given(ASKS)
def test_once_the_devices_are_free_whatever_still_waits_and_fits_starts(asks):
    """No memory lies idle for ever because of what has been."""
    outside = Outside()
    for ask in asks:
        for event in outside.events(*ask):
            outside.handle(event)
    outside.handle(Found(at_s=outside.now_s, budgets=tuple(budget(key) for key in DEVICES)))
    outside.handle(Joined(at_s=outside.now_s, run=RUNS["r"]))
    for attempt in outside.live():
        outside.handle(Vanished(at_s=outside.now_s, attempt=attempt))
    for _ in range(3):
        outside.now_s += 40
        free = tuple(reading(0, key=key) for key in DEVICES)
        outside.handle(Sampled(at_s=outside.now_s, readings=free))
    outside.handle(Offered(at_s=outside.now_s, trial=Trial(run="r", number=99)))
    assert any(attempt.startswith("r/99.") for attempt in outside.attempts)
