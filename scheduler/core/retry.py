"""What follows from an attempt's end for its trial and for the device. Pure.

One ladder; the first rung that applies is taken. Retries are for memory: what the user's own code
raised is done, whatever it was. Where the set-up is at fault no retry helps: the run is halted.

The ladder ends: each rung that sends a trial again counts, asks for more, or waits for strangers to
leave.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import msgspec

from scheduler.core.life import Cause
from scheduler.core.model import Attempt, Change, Settlement, Trial, Verdict
from scheduler.core.policy import NEAR_RATIO, wants_all
from scheduler.core.reasons import size
from scheduler.core.watch import has_broken_promise

#: Times what an attempt reached, promised after its first overrun and after its second; after the
#: third it goes alone. Most that overrun need little more, and half as much again at once takes a
#: neighbour's place: of 6 GiB 9, where two fit in 14. What needs twice as much gets it after two.
OVERRUN_GROWTH = (1.25, 1.5)
CONTENTIONS = 2  #: after so many, alone
SQUEEZED = 5  #: contentions after which a trial that is alone is given up
UNEXPLAINED = 2  #: tries after an end that nobody can explain: a crash may be the trial's own
KILLED = 5  #: the same after SIGKILL, which always comes from outside
FAULTS = 1  #: tries after a GPU fault of its own: each takes its neighbours along
PEAK_MARGIN = 1.25  #: an OOM tells only that the peak is higher than what was seen

Rung = Literal[
    "done",
    "stopped",
    "halted",
    "taken_along",
    "faulted",
    "unexplained",
    "failed",
    "squeezed",
    "more_room",
    "capacity",
    "overrun",
    "misjudged",
    "contention",
    "alone",
]


class Ending(msgspec.Struct, frozen=True, kw_only=True):
    """An attempt's end, and what was around it."""

    attempt: Attempt
    verdict: Verdict
    peak_bytes: int | None
    company: int  #: attempts of ours at once on the device in its last seconds, itself included
    strangers_grew: bool
    stopped: Cause | None  #: we asked for its end, and this is why
    was_killed: bool = False  #: by SIGKILL
    taken_along: bool = False  #: by a GPU fault of another's
    follows_catch: bool = False  #: it raised, in a set-up that has served another trial
    most_bytes: int | None  #: the most that any device its run may use could lately give
    keeps_promise: bool = False  #: its user does not want it to be promised more
    misjudged: bool = False  #: promises there had been made smaller, or all were not there
    outgrew: bool = False  #: its own was, and it needed more again


class Sequel(msgspec.Struct, frozen=True, kw_only=True):
    """What follows. ``again`` is None unless the settlement is "again"."""

    rung: Rung
    settlement: Settlement
    again: Trial | None = None

    @property
    def is_memory(self) -> bool:
        return self.rung in ("squeezed", "more_room", "capacity", "overrun", "contention", "alone")


def follow(ending: Ending) -> Sequel:
    """The first rung of the ladder that applies to *ending*."""
    for rung, applies, comes_back in _LADDER:
        if applies(ending):
            again = comes_back(ending)
            return Sequel(rung=rung, settlement=_SETTLED.get(rung, "again"), again=again)
    raise AssertionError("the last rung applies to everything")


def changes(ending: Ending, sequel: Sequel, *, at_s: float) -> tuple[Change, ...]:
    """What is to be written down of it, about the trial."""
    attempt, trial = ending.attempt, ending.attempt.trial
    promise, again = size(attempt.promise_bytes), sequel.again

    def change(
        what: Literal["promise", "alone", "capacity", "fault"], before: str, after: str
    ) -> Change:
        return Change(
            at_s=at_s,
            what=what,
            run=trial.run,
            trial=trial.number,
            device=attempt.device,
            before=before,
            after=after,
            because=ending.verdict.because,
        )

    if ending.verdict.kind == "gpu_fault" and sequel.rung in _AFTER_FAULT:
        return (change("fault", "running", _AFTER_FAULT[sequel.rung]),)
    if sequel.rung == "capacity":
        had = f"{promise}, alone" if attempt.alone else f"{promise}, which is fixed"
        return (change("capacity", had, "does not fit, told to the sampler"),)
    if not sequel.is_memory or again is None:
        return ()
    if again.alone and not trial.alone:
        return (change("alone", f"{promise}, with neighbours", "all that is left, alone"),)
    if not again.alone and again.want_bytes != attempt.promise_bytes:
        return (change("promise", promise, size(again.want_bytes)),)
    return ()


# -- when a rung applies -------------------------------------------------------------------------


def _is_over(ending: Ending) -> bool:
    if ending.verdict.kind == "configuration":
        return ending.follows_catch
    return ending.verdict.kind in ("finished", "user_error")


def _is_misconfigured(ending: Ending) -> bool:
    return ending.verdict.kind == "configuration"


def _made_way(ending: Ending) -> bool:
    return ending.verdict.kind == "stopped" and ending.stopped in _NOT_ITS_DOING


def _is_unexplained(ending: Ending) -> bool:
    return ending.verdict.kind in ("unknown_kill", "gpu_fault")


def _may_fault_again(ending: Ending) -> bool:
    return ending.verdict.kind == "gpu_fault" and ending.attempt.trial.faults < FAULTS


def _may_be_tried(ending: Ending) -> bool:
    tries = KILLED if ending.was_killed else UNEXPLAINED
    return ending.verdict.kind == "unknown_kill" and ending.attempt.trial.unexplained < tries


# From here down the attempt ran out of memory, or was stopped for what it held.


def _broke_promise(ending: Ending) -> bool:
    return (
        ending.verdict.own_cap
        or ending.stopped == "overrun"
        or has_broken_promise(ending.peak_bytes, ending.attempt.promise_bytes)
    )


def _is_pressed(ending: Ending) -> bool:
    return ending.company > 1 or ending.strangers_grew or ending.stopped == "unclear"


def _is_misjudged(ending: Ending) -> bool:
    """It was let start, or its neighbours were, on what others had been promised at first."""
    return ending.misjudged and _is_pressed(ending)


def _is_squeezed(ending: Ending) -> bool:
    """Alone, strangers took what it was given. Its own growth into that is not their doing."""
    pressed = _is_pressed(ending) and not _broke_promise(ending)
    return ending.attempt.alone and pressed and ending.attempt.trial.contentions < SQUEEZED


def _has_seen_less(ending: Ending) -> bool:
    """Alone, but on a smaller device than there is, or beside more strangers than there were."""
    most = ending.most_bytes
    return (
        ending.attempt.alone
        and not ending.keeps_promise
        and most is not None
        and ending.attempt.promise_bytes < NEAR_RATIO * most
    )


def _may_have_no_more(ending: Ending) -> bool:
    """It needs more than its promise, and its user does not want it to get that.

    One that contention ended comes back all the same, to the same promise and in the end alone:
    that was not its doing.
    """
    return ending.keeps_promise and (_broke_promise(ending) or not _is_pressed(ending))


# -- what the trial comes back as ------------------------------------------------------------------


def _not(ending: Ending) -> None:
    return None


def _unchanged(ending: Ending) -> Trial:
    return msgspec.structs.replace(ending.attempt.trial, attempts=_attempts(ending.attempt))


def _kept(ending: Ending, unexplained: int = 0, faults: int = 0) -> Trial:
    """The same, with room for what it was seen to hold.

    Without the latter: 1. three attempts, each 4 % above its promise, fill the reserve, 2. the
    youngest is stopped, 3. it comes back to the same promise, and is stopped again.
    """
    trial, attempt = ending.attempt.trial, ending.attempt
    held = max(attempt.promise_bytes, ending.peak_bytes or 0)
    return msgspec.structs.replace(
        trial,
        want_bytes=trial.want_bytes if attempt.alone else held,
        unexplained=trial.unexplained + unexplained,
        outgrew=trial.outgrew or ending.outgrew,
        faults=trial.faults + faults,
        attempts=_attempts(attempt),
    )


def _tried(ending: Ending) -> Trial:
    return _kept(ending, unexplained=1)


def _faulted(ending: Ending) -> Trial:
    return _kept(ending, faults=1)


def _pressed(ending: Ending) -> Trial:
    """Same parameters, fewer neighbours; the last try is alone."""
    trial, attempt = ending.attempt.trial, ending.attempt
    contentions = trial.contentions + 1
    alone = attempt.alone or contentions >= CONTENTIONS
    same = alone or ending.keeps_promise
    want = attempt.promise_bytes if same else max(attempt.promise_bytes, _with_margin(ending))
    return msgspec.structs.replace(
        trial,
        want_bytes=trial.want_bytes if attempt.alone else want,
        alone=alone,
        contentions=contentions,
        attempts=_attempts(attempt),
    )


def _larger(ending: Ending) -> Trial:
    """A larger promise, the same company; alone where that is about all there is."""
    trial, attempt = ending.attempt.trial, ending.attempt
    growth = OVERRUN_GROWTH[min(trial.overruns, len(OVERRUN_GROWTH) - 1)]
    want = int(growth * _reached_bytes(ending))
    overruns = trial.overruns + 1
    alone = overruns > len(OVERRUN_GROWTH) or wants_all(want, ending.most_bytes)
    return msgspec.structs.replace(
        trial,
        want_bytes=attempt.promise_bytes if alone else want,
        alone=alone,
        overruns=overruns,
        attempts=_attempts(attempt),
    )


def _alone(ending: Ending) -> Trial:
    """All that is left, if that is no less than it has failed with."""
    attempt = ending.attempt
    return msgspec.structs.replace(
        attempt.trial,
        want_bytes=attempt.promise_bytes,
        alone=True,
        attempts=_attempts(attempt),
    )


def _roomier(ending: Ending) -> Trial:
    """Alone again, where there is more than it had."""
    want = int(PEAK_MARGIN * ending.attempt.promise_bytes)
    most = want if ending.most_bytes is None else ending.most_bytes
    return msgspec.structs.replace(_alone(ending), want_bytes=min(want, most))


def _reached_bytes(ending: Ending) -> int:
    """It needs more than that."""
    attempt = ending.attempt
    cap = attempt.cap_bytes if ending.verdict.own_cap else None
    return max(attempt.promise_bytes, cap or 0, ending.peak_bytes or 0)


def _with_margin(ending: Ending) -> int:
    return int(PEAK_MARGIN * (ending.peak_bytes or 0))


def _attempts(attempt: Attempt) -> int:
    return max(attempt.trial.attempts + 1, number_of(attempt.id))


def number_of(attempt_id: str) -> int:
    """The N of "RUN/TRIAL.N"; 0 where there is none."""
    last = attempt_id.rpartition(".")[2]
    return int(last) if last.isdecimal() else 0


_Applies = Callable[[Ending], bool]
_ComesBack = Callable[[Ending], Trial | None]

_AFTER_FAULT: dict[Rung, str] = {
    "taken_along": "comes back, not counted against it",
    "faulted": "is tried once more",
    "failed": "failed",
}
_NOT_ITS_DOING: tuple[Cause | None, ...] = ("strangers", "asked", "guess", None)
_SETTLED: dict[Rung, Settlement] = {"done": "done", "failed": "failed", "capacity": "capacity"}
_LADDER: tuple[tuple[Rung, _Applies, _ComesBack], ...] = (
    ("done", _is_over, _not),
    ("stopped", _made_way, _kept),
    ("halted", _is_misconfigured, _unchanged),
    ("taken_along", lambda ending: ending.taken_along, _kept),
    ("faulted", _may_fault_again, _faulted),
    ("unexplained", _may_be_tried, _tried),
    ("failed", _is_unexplained, _not),
    ("squeezed", _is_squeezed, _pressed),
    ("more_room", _has_seen_less, _roomier),
    ("capacity", lambda ending: ending.attempt.alone, _not),
    ("capacity", _may_have_no_more, _not),
    ("overrun", _broke_promise, _larger),
    ("misjudged", _is_misjudged, _kept),
    ("contention", _is_pressed, _pressed),
    ("alone", lambda ending: True, _alone),
)
