"""Which trials of a call wait to start: those that came back, and new ones.

A new trial is asked of the sampler when it starts, so that the sampler knows as much as can be
known, and one is offered at a time. Where memory depends on parameters, a few are asked before they
are offered. Pure.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from scheduler.core.model import Trial
from scheduler.study.serving.quota import Quota


class Turn(NamedTuple):
    """What is to be done: trials to offer, numbers to withdraw, trials to ask the sampler for."""

    offer: list[Trial]
    withdraw: list[int]
    ask: list[Trial]


class Queue:
    """*back* are the trials that an earlier life of the run put back, *left* those that it had
    asked for; *next_number* is the first number that no trial of the run has had."""

    def __init__(
        self,
        run: str,
        quota: Quota,
        back: list[Trial],
        next_number: int,
        left: Sequence[Trial] = (),
    ) -> None:
        self._run = run
        self.quota = quota
        self._back = {trial.number: trial for trial in back}
        self._fresh: dict[int, Trial] = {}  #: new, and offered
        self._asking: set[int] = set()  #: the sampler is at work
        self._asked: set[int] = set()
        self._hand: list[Trial] = []  #: asked, and not offered now
        self._left = list(left)
        self._next = next_number

    def offered(self) -> list[Trial]:
        """All that the supervisor should know to wait."""
        return [*self._back.values(), *self._fresh.values()]

    def new(self) -> list[Trial]:
        """Of these, those that have not begun."""
        return list(self._fresh.values())

    def turn(
        self,
        now_s: float,
        *,
        ending: bool,
        room: int = 1,
        ahead: bool = False,
        want_bytes: int | None = None,
    ) -> Turn:
        """What is to be done now. *room*: up to how many that wait new ones are made or asked for;
        *ahead*: they are asked first, and who waits without is withdrawn; *want_bytes* is for those
        that are not.

        Nothing starts any more while *ending*. When the quota is used up, or the study was
        stopped, those that came back still run: they had begun before.
        """
        may = 0 if ending else self.quota.left(now_s)
        turn = Turn([], [*self._recalled(may), *(self._unasked() if ahead else ())], [])
        if ending:
            turn.withdraw.extend(self._back)
            self._back = {}
        while self._hand and (may is None or self._waiting() < may):
            turn.offer.append(self._offer(self._hand.pop(0)))
        while self._waiting() < (room if may is None else min(room, may)):
            if self._left or ahead:
                trial = self._left.pop(0) if self._left else self._made(None)
                self._asking.add(trial.number)
                turn.ask.append(trial)
            else:
                turn.offer.append(self._offer(self._made(want_bytes)))
        return turn

    def _waiting(self) -> int:
        return len(self._fresh) + len(self._asking)

    def _made(self, want_bytes: int | None) -> Trial:
        self._next += 1
        return Trial(run=self._run, number=self._next - 1, want_bytes=want_bytes)

    def _offer(self, trial: Trial) -> Trial:
        self._fresh[trial.number] = trial
        return trial

    def _recalled(self, may: int | None) -> list[int]:
        """New trials that wait although fewer may begin, the newest first. What was asked for is
        kept: it is offered again if that changes."""
        beyond = 0 if may is None else max(0, self._waiting() - may)
        gone = sorted(self._fresh, reverse=True)[:beyond]
        for number in gone:
            trial = self._fresh.pop(number)
            if number in self._asked:
                self._hand.insert(0, trial)
        return gone

    def _unasked(self) -> list[int]:
        """New trials that wait and were not asked for: from now on others take their place."""
        gone = [number for number in self._fresh if number not in self._asked]
        for number in gone:
            del self._fresh[number]
        return gone

    def asked(self, trial: Trial) -> None:
        """The sampler has answered for a trial that was to be asked for."""
        self._asking.discard(trial.number)
        self._asked.add(trial.number)
        self._hand.append(trial)

    def renew(self, trial: Trial) -> bool:
        """A trial that waits is to be offered like this from now on; False: it does not wait."""
        for waiting in (self._fresh, self._back):
            if trial.number in waiting:
                waiting[trial.number] = trial
                return True
        return False

    def drop(self, number: int) -> None:
        """A new trial that waits no more: it was answered."""
        self._fresh.pop(number, None)

    def take(self, number: int, now_s: float) -> tuple[Trial, bool] | None:
        """The trial that starts now, and whether it has come back; None: it does not wait here."""
        fresh = self._fresh.pop(number, None)
        if fresh is not None:
            self.quota.begin(now_s)
            return fresh, False
        returned = self._back.pop(number, None)
        if returned is None:
            return None
        self.quota.started(now_s)
        return returned, True

    def put_back(self, trial: Trial) -> None:
        self._back[trial.number] = trial

    def is_done(self, now_s: float) -> bool:
        return not self._back and not self.quota.may_begin(now_s)

    def patience_s(self, now_s: float, most_s: float) -> float:
        """How long nothing changes here by itself: until the timeout strikes, at most *most_s*."""
        deadline_s = self.quota.deadline_s
        return most_s if deadline_s is None else max(0.0, min(most_s, deadline_s - now_s))
