"""Promises that follow what attempts hold: smaller once they have grown, and back where wrong.

Writes the core's state. When peaks come is learned from the run's own attempts (``growth``). The
promise that an attempt was started with stays what it may hold without breaking its word, and its
cap stays too: that less was set aside for it since is our guess, and where that fails nobody is to
blame. So who then ran out of memory comes back as if it had made way, no device is held to bear
fewer at once, and the runs concerned are promised in full until more of their attempts have shown
how they grow.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from scheduler.core.actions import Note
from scheduler.core.growth import KEPT, Outlook, grown, is_still, record
from scheduler.core.ledger import Claim, balance
from scheduler.core.life import Lease, Life, Running, is_outgrown
from scheduler.core.model import Attempt, Change
from scheduler.core.reasons import size
from scheduler.core.records import DeviceState, RunState
from scheduler.core.state import State, reserve_bytes

MIB = 1 << 20
LOOK_S = 5.0
SLACK_BYTES = 64 * MIB
STILL_RATIO = 0.1  #: of its age an attempt must not have grown, before less is set aside for it
#: Less is not worth a promise that may be wrong.
LEAST_RATIO, LEAST_BYTES = 0.05, 128 * MIB
LEAST_MORE_BYTES = 16 * MIB  #: each record makes a small difference; margins are larger
PAUSE_MOST = 1024

FULL, FOLLOWS = "the full promise to the end", "what is held, and a margin"


# -- what is seen ----------------------------------------------------------------------------------


def age_s(lease: Lease, at_s: float) -> float:
    """As far as it was seen to run."""
    unseen_s = lease.growth.unseen_s if lease.growth else 0.0
    return at_s - lease.attempt.started_at_s - unseen_s


def with_peak(lease: Lease, peak_bytes: int, at_s: float) -> Lease:
    """*lease* with a new peak, seen at *at_s*."""
    growth = lease.growth
    if growth is not None:
        growth = grown(growth, peak_bytes, age_s(lease, at_s), lease.reports)
    return msgspec.structs.replace(lease, peak_bytes=peak_bytes, growth=growth)


def overlook(device: DeviceState, from_s: float, to_s: float) -> None:
    """Nobody looked at *device* between the two."""
    for attempt, life in device.lives.items():
        lease = life.lease
        if lease.growth is None:
            continue
        missed_s = to_s - max(from_s, lease.attempt.started_at_s)
        growth = msgspec.structs.replace(
            lease.growth, unseen_s=lease.growth.unseen_s + max(0.0, missed_s)
        )
        lease = msgspec.structs.replace(lease, growth=growth)
        device.lives[attempt] = msgspec.structs.replace(life, lease=lease)


def learn(run: RunState, lease: Lease, *, ended_at_s: float, complete: bool) -> None:
    """How the attempt grew: of one that was *complete*, and of one that proved us wrong.

    The others' peaks were yet to come for all we know. So was the end of one that proved us wrong:
    it counts as one of the longest.
    """
    outgrew = is_outgrown(lease)
    if lease.growth is None or not (complete or outgrew):
        return
    took_s, known = age_s(lease, ended_at_s), run.followed
    if not complete:
        took_s = max((took_s, *(one.took_s for one in known.grown)))
    one = record(lease.growth, took_s, lease.reports)
    if one is not None:
        run.followed = msgspec.structs.replace(
            known,
            grown=(*known.grown, one)[-KEPT:],
            pause=max(0, known.pause - complete),
        )


# -- what is promised ------------------------------------------------------------------------------


def follow(state: State, device: DeviceState, at_s: float) -> list[Note]:
    """Set aside for each attempt there what it needs. All are looked at every few seconds, those
    that come near to a smaller promise at once."""
    due = not 0 <= at_s - device.followed_at_s < LOOK_S
    if due:
        device.followed_at_s = at_s
    notes: list[Note] = []
    for life in tuple(device.lives.values()):
        if isinstance(life, Running) and (due or _is_near(life.lease)):
            notes += _follow(state, device, life, at_s)
    return notes


def _is_near(lease: Lease) -> bool:
    """Its peak has grown up to a smaller promise: a margin was in between."""
    now = lease.now_promised_bytes
    return now is not None and (lease.peak_bytes or 0) + SLACK_BYTES > now


def _follow(state: State, device: DeviceState, life: Running, at_s: float) -> list[Note]:
    lease, run = life.lease, state.runs[life.lease.attempt.trial.run]
    if _is_near(lease) and lease.growth is not None and not lease.growth.outgrew:
        growth = msgspec.structs.replace(lease.growth, outgrew=True)
        lease = msgspec.structs.replace(lease, growth=growth)
    now, first = lease.promise_bytes, lease.attempt.promise_bytes
    want = _wanted(state, run, lease, at_s)
    if want > now:
        want = min(want, _most(state, device, run, lease))
        is_worth_it = want == first or want - now >= LEAST_MORE_BYTES
    else:
        is_worth_it = now - want >= max(LEAST_RATIO * now, LEAST_BYTES)
    if is_worth_it and want != now:
        promised = None if want == first else want
        lease = msgspec.structs.replace(lease, now_promised_bytes=promised)
    if lease is not life.lease:
        state.keep(msgspec.structs.replace(life, lease=lease))
    if lease.promise_bytes >= now or run.followed.told:
        return []
    run.followed = msgspec.structs.replace(run.followed, told=True)
    return [_begins(state, device, lease, at_s)]


def _wanted(state: State, run: RunState, lease: Lease, at_s: float) -> int:
    """What *lease* is to be promised: what it was started with, or less.

    Not less than before while it grows: it was still for a tenth of its age. So one that ramps up
    more slowly than any before is let do so.
    """
    first, growth, peak = lease.attempt.promise_bytes, lease.growth, lease.peak_bytes
    if growth is None or peak is None or lease.held_bytes is None or not growth.levels:
        return first
    if growth.outgrew or _is_odd(lease.attempt) or run.run.keeps_promise or run.followed.pause:
        return first
    of, age = outlook(state, run), age_s(lease, at_s)
    ratio = of.may_grow_by(age, lease.reports)
    if ratio is None:
        return first
    want = min(first, int(peak * ratio * (1 + of.margin)) + SLACK_BYTES)
    return want if is_still(growth, age, STILL_RATIO) else max(want, lease.promise_bytes)


def _is_odd(attempt: Attempt) -> bool:
    """It has all that there is, or its trial needed more before than it was given: then it will
    again."""
    trial = attempt.trial
    return attempt.alone or trial.outgrew or trial.overruns > 0 or trial.contentions > 0


def outlook(state: State, run: RunState) -> Outlook:
    """By the attempts of *run* that ended; worked out anew when there is one more."""
    known = state.outlooks.get(run.run.id)
    of, share = run.followed.grown, run.run.overrun_share
    if known is None or known.of is not of or known.overrun_share != share:
        known = state.outlooks[run.run.id] = Outlook(of, share)
    return known


def _most(state: State, device: DeviceState, run: RunState, lease: Lease) -> int:
    """The most that it can be promised again: what has been given away meanwhile is not there.

    The story this prevents: 1. one of three attempts gets back the 3 GiB that a fourth was started
    on, 2. more is promised than there is, as if strangers had grown, 3. after 30 s one has to go,
    though all that grew was a promise.
    """
    headroom = state.room(device).account.headroom_bytes(reserve_bytes(run.run, device.budget))
    counted = max(lease.promise_bytes, lease.held_bytes or 0)
    return max(lease.promise_bytes, counted + (headroom or 0))


def _begins(state: State, device: DeviceState, lease: Lease, at_s: float) -> Note:
    run = state.runs[lease.attempt.trial.run]
    of = outlook(state, run)
    more = (of.may_grow_by(age_s(lease, at_s), lease.reports) or 1.0) - 1
    return state.note(
        Change(
            at_s=at_s,
            what="promise",
            run=run.run.id,
            trial=None,
            device=device.key,
            before=FULL,
            after=FOLLOWS,
            because="its attempts are seen to have reached their peaks by now",
            evidence=(
                f"{len(of.of)} grew by {more:.0%} at most after that; trial"
                f" {lease.attempt.trial.number}: {size(lease.attempt.promise_bytes)} promised,"
                f" {size(lease.peak_bytes)} held, {size(lease.promise_bytes)} set aside from now on"
            ),
        )
    )


# -- where it was wrong ----------------------------------------------------------------------------


def misjudged(state: State, device: DeviceState, ended: Lease) -> set[str]:
    """The runs whose promises were made too small, if *ended* ran out of memory for it.

    That is so where the promises that all there were started with do not fit together. The runs
    are those of attempts that outgrew theirs; where none was seen to, of all that were promised
    less: what an attempt asks for in one piece is refused before it is ever held.
    """
    leases = [life.lease for life in device.lives.values()]
    less = [one for one in leases if one.now_promised_bytes is not None]
    if not less or not _is_overcommitted(state, device, leases):
        return set()
    grew = [one for one in less if is_outgrown(one) or one.attempt.id == ended.attempt.id]
    return {one.attempt.trial.run for one in grew or less}


def _is_overcommitted(state: State, device: DeviceState, leases: Iterable[Lease]) -> bool:
    claims = [Claim(one.attempt.promise_bytes, one.held_bytes) for one in leases]
    account = balance(device.reading, claims, baseline_bytes=device.baseline_bytes)
    headroom = account.headroom_bytes(state.watch_reserve_bytes(device))
    return headroom is None or headroom < 0


def outgrown_bytes(device: DeviceState) -> int:
    """What attempts hold there beyond smaller promises, in all.

    It is no reason to stop anybody before the memory is used: see ``_most``.
    """
    leases = [life.lease for life in device.lives.values()]
    return sum(
        max(0, (one.held_bytes or 0) - one.promise_bytes)
        for one in leases
        if one.now_promised_bytes is not None
    )


def outgrown(lives: Iterable[Life]) -> set[str]:
    """The runs of attempts that hold more than was set aside for them."""
    return {life.lease.attempt.trial.run for life in lives if is_outgrown(life.lease)}


def roll_back(state: State, runs: Iterable[str], device: DeviceState, because: str) -> list[Note]:
    """Promise the attempts of *runs* in full, as far as there is room, until there are as many new
    records; twice as many the next time."""
    notes = []
    for run in (state.runs[name] for name in sorted(runs)):
        known = run.followed
        if known.pause:
            continue  # its attempts have not all got back what they were promised
        pause = known.next_pause
        run.followed = msgspec.structs.replace(
            known, pause=pause, next_pause=min(PAUSE_MOST, 2 * pause), told=False
        )
        notes.append(_rolled_back(state, run, device, because))
    for other in state.devices.values():
        other.followed_at_s = 0.0
    return notes


def _rolled_back(state: State, run: RunState, device: DeviceState, because: str) -> Note:
    own = [life.lease for life in device.lives.values()]
    less = [
        one
        for one in own
        if one.attempt.trial.run == run.run.id and one.now_promised_bytes is not None
    ]
    worst = max(less, key=lambda one: (one.peak_bytes or 0) - one.promise_bytes, default=None)
    return state.note(
        Change(
            at_s=state.now_s,
            what="promise",
            run=run.run.id,
            trial=None,
            device=device.key,
            before=FOLLOWS,
            after=f"{FULL}, until {run.followed.pause} more have finished",
            because=because,
            evidence=_evidence(worst, len(less)),
        )
    )


def _evidence(worst: Lease | None, count: int) -> str:
    if worst is None:
        return ""
    attempt = worst.attempt
    return (
        f"{count} promises were smaller; trial {attempt.trial.number} of"
        f" {size(attempt.promise_bytes)} had {size(worst.promise_bytes)} left,"
        f" and held up to {size(worst.peak_bytes)}"
    )
