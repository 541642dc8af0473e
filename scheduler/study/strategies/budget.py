"""Stopping early when nothing better is to come, and going on once when nothing good has come.

What it has decided is kept in the study, for each run and ``optimize`` call: no kill and no resume
makes it go on twice.

    scheduler:budget:RUN/LINE   Decided

Complete trials of the study count for what is good enough, also those of before this run; for
patience the trials that this call has finished.
"""

from __future__ import annotations

import msgspec
from optuna.trial import FrozenTrial, TrialState

from scheduler.machine import changes as record_of
from scheduler.strategies.budget import (
    Ended,
    GoOn,
    Plan,
    Seen,
    Stop,
    decide,
    sentence,
    take,
    trials,
)
from scheduler.strategies.shown import BudgetShown
from scheduler.strategies.wishes import count_of, number_of
from scheduler.study.board import finished_at_s
from scheduler.study.keeping.kept import keep, kept
from scheduler.study.keeping.record import CAPACITY, PUT_BACK
from scheduler.study.strategies.scene import Scene

KEPT = "scheduler:budget"


class Told(msgspec.Struct, frozen=True, kw_only=True):
    """A decision as it is recorded."""

    before: str
    after: str
    because: str
    evidence: str


class Decided(msgspec.Struct, frozen=True, kw_only=True):
    """``n_trials``: what it went on to; None: it has not, or its user has set another number."""

    went_on: bool = False
    n_trials: int | None = None
    told: tuple[Told, ...] = ()


class BudgetGuard:
    def __init__(self, scene: Scene) -> None:
        self._scene = scene
        asked = scene.asked.budget
        self._plan = Plan(
            n_trials=scene.quota.n_trials,
            target=asked.target,
            floor=asked.floor,
            patience=asked.patience,
            extend_to=asked.extend_to,
        )
        self._decided = Decided()
        self._seen: Seen | None = None  #: None: nobody has wanted to know yet
        self._stopped: str | None = None  #: why nothing more starts, by this
        self._begun = False
        self._said: set[str] = set()  #: what the user does not want to be done

    def begin(self) -> None:
        """The call begins: what earlier lives have decided holds, and what they had no time to
        decide is decided."""
        self._begun = True
        if not self._scene.is_single:
            if not self._plan.is_empty:
                self._scene.board.warn(
                    "--target, --floor and --patience do nothing with several objectives"
                )
            return
        decided = kept(self._scene.study, self._key, Decided)
        if decided is not None:
            self._recall(decided)
        self._say_what_does_nothing()
        self._look()

    def finished(self, trial: FrozenTrial) -> None:
        """A trial has come to its final state."""
        if self._seen is not None:
            self._seen = take(self._seen, trial.number, *_ended(trial), self._scene.sign)
            self._look()

    # -- what the user sets ------------------------------------------------------------------------

    def set(self, key: str, value: str) -> None:
        """``target``, ``floor``, ``patience``, ``extend_to`` or ``n_trials``. Raises ValueError."""
        if not self._scene.is_single and key != "n_trials":
            raise ValueError("there are several objectives")
        new = number_of(value) if key in ("target", "floor") else count_of(value)
        if key == "n_trials":
            self._set_trials(new)
        else:
            before = getattr(self._plan, key)
            self._plan = msgspec.structs.replace(self._plan, **{key: new})
            if new != before:
                self._scene.changes.record("budget", _named(key, before), _named(key, new), "")
        if self._begun and self._scene.is_single:
            self._say_what_does_nothing()
            self._look()

    def _set_trials(self, new: float | None) -> None:
        """In the place of what the run went on to, too."""
        if new is None:
            raise ValueError("a number of trials cannot be taken away")
        before, wanted = self._scene.quota.n_trials, int(new)
        self._plan = msgspec.structs.replace(self._plan, n_trials=wanted, went_on_to=None)
        if self._decided.n_trials is not None and not self._scene.changes.is_again:
            self._keep(msgspec.structs.replace(self._decided, n_trials=None))
        self._allow(wanted)
        if before != wanted:
            self._scene.changes.record("budget", trials(before), trials(wanted), "")

    # -- what follows from the trials --------------------------------------------------------------

    def _look(self) -> None:
        """Decide, and show what is to come."""
        if self._plan.is_empty and self._stopped is None:
            self._show()
            return
        if self._seen is None:
            self._seen = self._look_back()
        now = decide(self._plan, self._seen, self._done(), self._scene.sign)
        if isinstance(now, Stop):
            self._stop(now)
        elif self._stopped is not None:
            self._scene.quota.go_on(self._stopped)
            self._stopped = None
        if isinstance(now, GoOn):
            self._go_on(now)
        self._show()

    def _stop(self, stop: Stop) -> None:
        if self._is_forbidden(stop.after, stop.because):
            return
        if self._stopped is None:
            self._stopped = stop.because
            self._scene.quota.stop(stop.because)
        self._tell(stop)

    def _go_on(self, on: GoOn) -> None:
        if self._is_forbidden(on.after, on.because):
            return
        self._plan = msgspec.structs.replace(self._plan, went_on=True, went_on_to=on.to)
        self._tell(on, went_on=True, n_trials=on.to)
        self._allow(on.to)

    def _is_forbidden(self, after: str, because: str) -> bool:
        """Then it is only said."""
        if not self._scene.changes.is_fixed("budget"):
            return False
        kind = after.partition(",")[0]
        if kind not in self._said:
            self._said.add(kind)
            self._scene.board.warn(f"{because}; the budget is fixed, so the run goes on as it was")
        return True

    def _tell(self, now: Stop | GoOn, **more: object) -> None:
        """Kept before it is recorded: a kill in between is made up for by ``_recall``."""
        told = Told(before=now.before, after=now.after, because=now.because, evidence=now.evidence)
        if any(one.after == told.after for one in self._decided.told):
            return
        known = (*self._decided.told, told)
        self._keep(msgspec.structs.replace(self._decided, told=known, **more))
        self._record(told)

    def _record(self, told: Told) -> None:
        self._scene.changes.record(
            "budget", told.before, told.after, told.because, evidence=told.evidence
        )

    def _recall(self, decided: Decided) -> None:
        self._decided = decided
        self._plan = msgspec.structs.replace(
            self._plan, went_on=decided.went_on, went_on_to=decided.n_trials
        )
        if decided.n_trials is not None:
            self._allow(decided.n_trials)
        recorded, _ = record_of.read(self._scene.folder)
        known = {(one.what, one.before, one.after, one.because) for one in recorded}
        for told in decided.told:
            if ("budget", told.before, told.after, told.because) not in known:
                self._record(told)

    def _allow(self, n_trials: int) -> None:
        self._scene.quota.n_trials = n_trials
        self._scene.board.set(n_trials=n_trials)

    # -- the trials --------------------------------------------------------------------------------

    def _done(self) -> int:
        """Trials of the call that have come to their end."""
        now = self._scene.board.status
        return now.complete + now.pruned + now.failed + now.capacity

    def _look_back(self) -> Seen:
        """At the study's trials in the order in which they ended, those of the call last."""
        ours = {frozen.number for frozen, _ in self._scene.record.ours()}
        ended = [one for one in self._scene.study.get_trials(deepcopy=False) if _is_over(one)]
        ended.sort(key=lambda one: (one.number in ours, finished_at_s(one) or 0.0, one.number))
        seen, sign = Seen(), self._scene.sign
        for trial in ended:
            seen = take(seen, trial.number, *_ended(trial), sign)
            if trial.number not in ours:
                seen = msgspec.structs.replace(seen, since=0)
        return seen

    # -- what is kept and shown --------------------------------------------------------------------

    @property
    def _key(self) -> str:
        record = self._scene.record
        return f"{KEPT}:{record.run}/{record.line}"

    def _keep(self, decided: Decided) -> None:
        self._decided = decided
        keep(self._scene.study, self._key, decided)

    def _say_what_does_nothing(self) -> None:
        plan, board = self._plan, self._scene.board
        if plan.floor is None or plan.went_on:
            return
        if plan.n_trials is None:
            board.warn("--floor does nothing: the run has no number of trials to go on beyond")
        elif plan.further is None:
            board.warn(
                f"--floor does nothing: {trials(plan.n_trials)} are asked for, and the run would go"
                f" on to {plan.extend_to}"
            )

    def _show(self) -> None:
        plan, seen = self._plan, self._seen or Seen()
        if plan.is_empty and not self._decided.told:
            self._scene.board.set(budget=None)
            return
        self._scene.board.set(
            budget=BudgetShown(
                target=plan.target,
                floor=plan.floor,
                patience=plan.patience,
                goes_on_to=plan.further,
                went_on=plan.went_on,
                since_best=None if seen.best is None else seen.since,
                ends=self._stopped,
                sentence=sentence(plan, seen, self._stopped),
            )
        )


def _is_over(trial: FrozenTrial) -> bool:
    return trial.state.is_finished() and PUT_BACK not in trial.system_attrs


def _ended(trial: FrozenTrial) -> tuple[Ended, float | None]:
    """How it did, and its value where that counts: within its constraints, if it has any."""
    if trial.state == TrialState.COMPLETE:
        breaks = any(excess > 0.0 for excess in trial.constraints.values())
        return "complete", None if breaks else trial.value
    if trial.state == TrialState.PRUNED and CAPACITY not in trial.system_attrs:
        return "pruned", None
    return "other", None


def _named(key: str, value: float | None) -> str:
    return f"no {key}" if value is None else f"{key} {value!r}"
