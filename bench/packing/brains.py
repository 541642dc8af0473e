"""What stands where our core stands: handles events, answers with actions. The rivals' common part.

A rival sees every trial at once and each end as it comes. Its attempts have no cap unless it sets
one, so too many of them run the device out of memory and one of them ends by that.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import msgspec

from scheduler.core.actions import Action, Settle, Start
from scheduler.core.events import Event, Exited, Found, Offered
from scheduler.core.model import Attempt, Evidence, Trial, Verdict, VerdictKind


class Brain(Protocol):
    """Our core, or a rival."""

    def handle(self, event: Event) -> Sequence[Action]: ...


class Rival:
    """Starts what :meth:`place` finds a device for, in the order of the queue."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self.cards: dict[str, int] = {}  #: bytes of each
        self.queue: list[Trial] = []
        self.going: dict[str, Attempt] = {}
        self._stuck = True  #: nothing has changed since nothing could start

    # -- what a rival decides ------------------------------------------------------------------

    def place(self, trial: Trial) -> Attempt | None:
        """The attempt to start now; None: it waits."""
        raise NotImplementedError

    def after_oom(self, attempt: Attempt) -> Trial | None:
        """The trial as it comes back; None: it is lost."""
        return None

    def ordered(self) -> list[Trial]:
        return self.queue

    # -- the same for all ----------------------------------------------------------------------

    def handle(self, event: Event) -> Sequence[Action]:
        self.now_s = event.at_s
        actions: list[Action] = []
        match event:
            case Found(budgets=budgets):
                self.cards = {one.device.key: one.device.total_bytes or 0 for one in budgets}
            case Offered(trial=trial):
                self.queue.append(trial)
                self._stuck = False
            case Exited(attempt=attempt, evidence=evidence):
                actions.append(self._settle(self.going.pop(attempt), evidence))
                self._stuck = False
            case _:
                pass
        if not self._stuck or self.looks_again():
            actions += self._start()
        return actions

    def looks_again(self) -> bool:
        """Whether something may start though nothing has ended."""
        return False

    def _settle(self, attempt: Attempt, evidence: Evidence) -> Settle:
        if evidence.outcome == "complete":
            verdict = Verdict(kind="finished", because="")
            return Settle(attempt=attempt, verdict=verdict, settlement="done")
        kind: VerdictKind = "device_oom"
        verdict, again = Verdict(kind=kind, because=evidence.message), self.after_oom(attempt)
        settlement = "failed" if again is None else "again"
        if again is not None:
            again = msgspec.structs.replace(again, attempts=attempt.trial.attempts + 1)
        return Settle(attempt=attempt, verdict=verdict, settlement=settlement, again=again)  # type: ignore[arg-type]

    def _start(self) -> list[Action]:
        actions: list[Action] = []
        for trial in list(self.ordered()):
            if not self.cards:
                break
            attempt = self.place(trial)
            if attempt is not None:
                self.queue.remove(trial)
                self.going[attempt.id] = attempt
                actions.append(Start(attempt=attempt, because="it fits"))
            elif self.stops_at_first():
                break
        self._stuck = True
        return actions

    def stops_at_first(self) -> bool:
        """Whether those behind one that does not fit are not looked at."""
        return True

    def on(self, device: str) -> list[Attempt]:
        return [one for one in self.going.values() if one.device == device]

    def attempt(self, trial: Trial, device: str, promise: int, cap: int | None = None) -> Attempt:
        return Attempt(
            id=f"{trial.run}/{trial.number}.{trial.attempts + 1}",
            trial=trial,
            device=device,
            promise_bytes=promise,
            cap_bytes=cap,
            started_at_s=self.now_s,
        )
