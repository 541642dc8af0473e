"""The only writer of state: an event goes in, actions come out.

Covers what hosts say and the order in which an event's consequences are drawn: what happened is
taken in, devices that are over are relieved, what fits is started.
"""

from __future__ import annotations

import msgspec

from scheduler.core import admission, company, ending, memory, reasons, sampling, view
from scheduler.core.actions import Action, Stop
from scheduler.core.events import (
    Event,
    Exited,
    Found,
    Joined,
    Left,
    Limited,
    Offered,
    Prioritised,
    Progressed,
    Remembered,
    Ruled,
    Sampled,
    Saved,
    Served,
    Started,
    Vanished,
    Withdrawn,
)
from scheduler.core.events import Running as Reported
from scheduler.core.invariants import check
from scheduler.core.life import Lease, Releasing, Running, Starting, Stopping, is_active
from scheduler.core.records import DeviceState
from scheduler.core.state import State, lost_device
from scheduler.core.watch import Strain

#: Events of several threads are this little out of order at most. More, and the clock was set back.
OUT_OF_ORDER_S = 5.0


class Core:
    """All devices, runs and attempts of a machine. Pure: the same events, the same actions."""

    def __init__(self) -> None:
        self._state = State()

    def handle(self, event: Event) -> tuple[Action, ...]:
        """Take *event* in and return what must be done about it, in order.

        What a host says too late, twice, or about attempts that nobody knows has no effect.
        """
        if event.at_s < self._state.now_s - OUT_OF_ORDER_S:
            self._state = memory.recall(memory.earlier(self._state, event.at_s))
        self._state.now_s = event.at_s
        actions = self._take(event)
        if isinstance(event, Remembered):
            return ()  # who said it has looked, or looks at the next event
        if self._state.rules and isinstance(event, Ruled | Joined):
            actions += admission.obey(self._state)  # starts obey by themselves
        if isinstance(event, Sampled):
            actions += admission.relieve(self._state)
        actions += company.look(self._state, polled=isinstance(event, Sampled))
        actions += admission.admit(self._state, polled=isinstance(event, Sampled))
        return (*actions, *company.look(self._state))

    def remember(self) -> Remembered:
        """All that is known, as an event: a core that takes it goes on as this one."""
        return memory.remember(self._state)

    def view(self) -> view.View:
        """What is so now, for people: a frozen value that any thread may read."""
        return view.view(self._state)

    def check(self) -> None:
        """Assert what must hold between any two events. For tests, and after a replay."""
        check(self._state)

    def _take(self, event: Event) -> list[Action]:
        match event:
            case Sampled():
                return sampling.sampled(self._state, event)
            case Offered():
                self._offered(event)
            case Started():
                self._started(event)
            case Exited():
                return ending.exited(self._state, event)
            case Vanished():
                ending.vanished(self._state, event)
            case Withdrawn():
                self._withdrawn(event)
            case Joined():
                return self._joined(event)
            case Left():
                self._left(event)
            case Found():
                return self._found(event)
            case _:
                return self._take_order(event)
        return []

    def _take_order(
        self, event: Ruled | Prioritised | Limited | Served | Saved | Progressed | Remembered
    ) -> list[Action]:
        """What people want, and what is told beside the course of an attempt."""
        state = self._state
        match event:
            case Ruled(rules=rules) if rules != state.rules:
                state.rule(rules)
            case Prioritised(run=name) if name in state.runs:
                run = state.runs[name]
                run.run = msgspec.structs.replace(run.run, priority=event.priority)
            case Limited(run=name) if name in state.runs:
                self._limit(event)
            case Served(device=key) if key in state.devices:
                return [*ending.served(state, state.devices[key])]
            case Saved():
                self._saved(event)
            case Progressed():
                self._progressed(event)
                company.progressed(state, event)
            case Remembered():
                self._state = memory.recall(event)
        return []

    def _limit(self, event: Limited) -> None:
        """What runs beyond the new limits may finish."""
        run = self._state.runs[event.run]
        run.run = msgspec.structs.replace(
            run.run, max_attempts=event.max_attempts, fixed=event.fixed
        )
        self._state.touch_all()

    def _saved(self, event: Saved) -> None:
        """A host's clock may be wrong; nothing is written in the future."""
        life = self._state.find(event.attempt)
        if life is not None and is_active(life):
            before_s = life.lease.saved_at_s or 0.0
            saved_at_s = max(before_s, min(event.saved_at_s, event.at_s))
            lease = msgspec.structs.replace(life.lease, saved_at_s=saved_at_s)
            self._state.keep(msgspec.structs.replace(life, lease=lease))

    def _progressed(self, event: Progressed) -> None:
        """A host that joins anew may tell again what it had told."""
        life = self._state.find(event.attempt)
        if life is not None and is_active(life) and event.reports > life.lease.reports:
            lease = msgspec.structs.replace(life.lease, reports=event.reports)
            self._state.keep(msgspec.structs.replace(life, lease=lease))

    def _found(self, event: Found) -> list[Action]:
        """A new life of the supervisor: hosts have to join anew, and say again what waits.

        Readings of the last life are not believed. Attempts on a device that is no longer there
        stay until they are told to be gone; nothing new starts on it. Rules are said anew.
        """
        state = self._state
        state.rule(())
        for known in state.devices.values():
            known.found = False
        for budget in event.budgets:
            key = budget.device.key
            device = state.devices.setdefault(key, DeviceState(budget=budget))
            device.budget, device.found = budget, True
        for device in state.devices.values():
            device.reading, device.strain = None, Strain()
            device.forget_strangers()
        state.touch_all()
        for run in state.runs.values():
            run.joined = False
            state.clear_queue(run.run.id)
        return self._forget_last_boot(event)

    def _forget_last_boot(self, event: Found) -> list[Action]:
        """No process has outlived the machine's start, no memory waits to be given back, and cards
        were reset. What they have taught stays."""
        state, former = self._state, self._state.boot_id
        state.boot_id = event.boot_id or former
        if "" in (former, event.boot_id) or former == event.boot_id:
            return []
        for life in tuple(state.lives()):
            ended = life if isinstance(life, Releasing) else state.end(life, event.at_s)
            state.release(ended)
        devices = state.devices.values()
        return [note for one in devices for note in ending.served(state, one, reasons.REBOOTED)]

    def _joined(self, event: Joined) -> list[Action]:
        """What the host runs counts from here on; what it does not run any more is over.

        It offers anew what waits, since we may have missed what became of it.
        """
        state, name = self._state, event.run.id
        run = state.runs.get(name) or state.add(event.run)
        run.run, run.joined, run.halted = event.run, True, None
        state.clear_queue(name)
        state.touch_all()
        told = {one.attempt.id for one in event.running}
        for life in tuple(state.lives_of(name)):
            if life.lease.attempt.id not in told:
                state.end(life, event.at_s)
        return [stop for one in event.running for stop in self._adopt(one)]

    def _adopt(self, reported: Reported) -> list[Action]:
        """An attempt that runs already. Asked to stop once, it is asked again."""
        state, attempt = self._state, reported.attempt
        state.count(attempt)
        life = state.find(attempt.id)
        if isinstance(life, Releasing):
            if life.settle is not None or life.evidence is not None:
                return []  # it has ended; its host will ask how that was taken
            state.past.pop(attempt.id, None)
        elif life is not None:
            if reported.process is not None:
                state.begin(life, reported.process)
            if isinstance(life, Stopping):
                return [Stop(attempt=attempt, because=life.because)]
            return []
        if attempt.device not in state.devices:
            state.devices[attempt.device] = lost_device(attempt)
        state.devices[attempt.device].forget_strangers()  # what it holds was theirs so far
        lease = Lease(attempt=attempt, oom_kills=ending.oom_kills(state))
        process = reported.process
        state.keep(Running(lease=lease, process=process) if process else Starting(lease=lease))
        return []

    def _left(self, event: Left) -> None:
        if event.run in self._state.runs:
            self._state.runs[event.run].joined = False
            self._state.clear_queue(event.run)

    def _offered(self, event: Offered) -> None:
        """One that waits or runs already is the same trial; while it waits its host may come to
        know better what it needs."""
        state, trial = self._state, event.trial
        run = state.runs.get(trial.run)
        if run is None or not run.joined or run.halted is not None:
            return
        if trial.number in run.awaited:
            state.renew(trial)
        elif state.running(trial.run, trial.number) is None:
            state.enqueue(trial)

    def _withdrawn(self, event: Withdrawn) -> None:
        """Also one that its host was told to start meanwhile: it will not be."""
        state = self._state
        if event.run not in state.runs:
            return
        state.dequeue(event.run, event.trial)
        life = state.running(event.run, event.trial)
        if isinstance(life, Starting):
            state.end(life, event.at_s)

    def _started(self, event: Started) -> None:
        life = self._state.find(event.attempt)
        if life is not None and is_active(life):
            self._state.begin(life, event.process)
