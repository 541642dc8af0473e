"""When a run ends before its number of trials, and when it goes on beyond it. Pure.

``--n-trials`` is a promise: what is not asked for changes nothing. Values come as Optuna has them;
*sign* is 1.0 where larger ones are better and -1.0 where smaller ones are.

**Improvement**: a complete trial strictly better than all complete ones before it, in the order in
which they finished. What breaks a constraint is none. ``--patience`` counts the complete and pruned
trials since; before the first complete one there is nothing to be better than, and nothing counts.
Trials that failed or did not fit the device say nothing and do not count.

That is the rule of Optuna's ``BestValueStagnationEvaluator``, with pruned trials counted too: they
cost time, and where a pruner is at work most trials are pruned. Optuna's ``Terminator`` with its
other evaluators is no second opinion here: it is deprecated in Optuna 5, its default estimates the
regret by a Gaussian process that needs torch, and it compares that with the spread of
cross-validation scores, which an objective has to report by itself.
"""

from __future__ import annotations

from typing import Literal

import msgspec

Ended = Literal["complete", "pruned", "other"]
MORE = 1.5  #: how far a run goes on by default, times its number of trials


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """What holds now. None: not asked for; of ``n_trials``: no limit."""

    n_trials: int | None = None
    target: float | None = None
    floor: float | None = None
    patience: int | None = None
    extend_to: int | None = None
    went_on: bool = False  #: it did, which it does once
    went_on_to: int | None = None  #: trials; None: it did not, or another number was set since

    @property
    def is_empty(self) -> bool:
        return self.target is None and self.floor is None and self.patience is None

    @property
    def end(self) -> int | None:
        """How many trials there are to be as things stand; None: no limit."""
        return self.n_trials if self.went_on_to is None else self.went_on_to

    @property
    def further(self) -> int | None:
        """To how many trials it may go on; None: not at all."""
        if self.floor is None or self.n_trials is None or self.went_on:
            return None
        to = round(MORE * self.n_trials) if self.extend_to is None else self.extend_to
        return to if to > self.n_trials else None


class Seen(msgspec.Struct, frozen=True, kw_only=True):
    """What the trials say. ``best`` None: none is complete and within its constraints."""

    best: float | None = None
    number: int | None = None  #: of the best one, Optuna's
    since: int = 0  #: complete and pruned trials after the last improvement


def take(seen: Seen, number: int, ended: Ended, value: float | None, sign: float) -> Seen:
    """After one more trial. *value* None: it has none that counts."""
    if ended == "complete" and value is not None and _is_better(value, seen.best, sign):
        return Seen(best=value, number=number)
    if ended == "other" or seen.best is None:
        return seen
    return msgspec.structs.replace(seen, since=seen.since + 1)


def _is_better(value: float, than: float | None, sign: float) -> bool:
    return than is None or sign * value > sign * than


def is_as_good(value: float | None, wanted: float, sign: float) -> bool:
    return value is not None and sign * value >= sign * wanted


class Stop(msgspec.Struct, frozen=True, kw_only=True):
    """No more trials start; those that run may finish."""

    before: str
    after: str
    because: str
    evidence: str


class GoOn(msgspec.Struct, frozen=True, kw_only=True):
    """To ``to`` trials."""

    to: int
    before: str
    after: str
    because: str
    evidence: str


def decide(plan: Plan, seen: Seen, done: int, sign: float) -> Stop | GoOn | None:
    """What follows when *done* trials of the call have come to their end; None: nothing."""
    best = seen.best
    if plan.target is not None and is_as_good(best, plan.target, sign):
        return _stop(plan, seen, done, "target", plan.target)
    if plan.went_on and plan.floor is not None and is_as_good(best, plan.floor, sign):
        return _stop(plan, seen, done, "floor", plan.floor)
    if plan.patience is not None and seen.since >= plan.patience:
        return _stop(plan, seen, done, "patience", plan.patience)
    return _go_on(plan, seen, done, sign)


def _go_on(plan: Plan, seen: Seen, done: int, sign: float) -> GoOn | None:
    to = plan.further
    if to is None or plan.n_trials is None or plan.floor is None or done < plan.n_trials:
        return None
    if is_as_good(seen.best, plan.floor, sign):
        return None
    return GoOn(
        to=to,
        before=trials(plan.n_trials),
        after=f"up to {trials(to)}",
        because=f"none of {trials(plan.n_trials)} reached the floor, {plan.floor:g}",
        evidence=_best(seen),
    )


def _stop(
    plan: Plan, seen: Seen, done: int, by: Literal["target", "floor", "patience"], bound: float
) -> Stop:
    if by == "patience":
        because = f"{seen.since} finished trials brought nothing better"
    else:
        because = f"trial {seen.number} is as good as the {by}, {bound:g}"
    of = "" if plan.end is None else f" of {plan.end}"
    return Stop(
        before=f"goes on to {trials(plan.end)}",
        after=f"ends by its {by}, {bound:g}",
        because=because,
        evidence=f"{done}{of} trials had ended; {_best(seen)}",
    )


def _best(seen: Seen) -> str:
    if seen.best is None:
        return "no trial is complete"
    return f"the best is {seen.best:.6g} in trial {seen.number}"


def trials(count: int | None) -> str:
    return "any number of trials" if count is None else f"{count} trial{'s' * (count != 1)}"


def sentence(plan: Plan, seen: Seen, ends: str | None) -> str:
    """What is to come of it, in a line; "" where there is nothing to say. *ends*: why nothing more
    starts."""
    if ends is not None:
        return f"no more trials start: {ends}"
    parts = []
    if plan.target is not None:
        parts.append(f"stops at {plan.target:g}")
    if plan.further is not None:
        parts.append(f"goes on to {plan.further} while nothing reaches {plan.floor:g}")
    elif plan.floor is not None and plan.went_on:
        parts.append(f"went on; stops at {plan.floor:g}")
    if plan.patience is not None:
        parts.append(f"stops after {plan.patience} without a better one, {seen.since} so far")
    return "; ".join(parts)
