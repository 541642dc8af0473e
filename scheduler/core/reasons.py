"""Decisions in words that people understand. Pure."""

from __future__ import annotations

from scheduler.core.faults import INCIDENTS, Fault
from scheduler.core.ledger import Account
from scheduler.core.model import Rule, Run, Trial
from scheduler.core.places import Place, Refusal, Room
from scheduler.core.watch import SHORT_S, Victim

GIB = 1 << 30
MIB = 1 << 20
SERVED = "it is to be used again"
REBOOTED = "the machine was started anew"


def size(size_bytes: int | None) -> str:
    """In GiB, below one in MiB; "unknown" for None."""
    if size_bytes is None:
        return "unknown"
    if abs(size_bytes) < GIB:
        return f"{size_bytes / MIB:.0f} MiB"
    return f"{size_bytes / GIB:.1f} GiB"


def at_once(limit: int | None) -> str:
    return "no limit" if limit is None else f"{limit} at once"


def started(place: Place) -> str:
    left = f"{place.room.key} has {size(place.headroom_bytes)} left"
    if place.alone:
        return f"{left} and nobody else is there"
    return f"{left} of {size(place.room.account.total_bytes)}, it needs {size(place.promise_bytes)}"


def held(refusal: Refusal, trial: Trial) -> str:
    """Why *trial* waits."""
    run, room = refusal.run, refusal.room
    if refusal.why == "own_limit":
        return f"waits for its run's other trials: at most {run.max_attempts} at once"
    if refusal.why == "ruled" and refusal.rule is not None:
        return _ruled(refusal, refusal.rule)
    if room is None:
        return f"no device {run.device} here" if run.device else "no device here"
    match refusal.why:
        case "memory":
            return _short_of(refusal, room)
        case "neighbours":
            return f"waits for {room.key} to be empty: it needs all of it"
        case "alone":
            return f"{room.key} is given whole to a trial that ran out of memory in company"
        case "drained" if room.drained_for is not None:
            of_run, number = room.drained_for
            return f"{room.key} is kept for trial {number} of {of_run}, overtaken too often"
        case "limit":
            running = f"{room.attempts} run, at most {room.limit(run)} at once"
            tested = " for a while, to see whether one more pays" if room.is_tested else ""
            return f"waits for a place on {room.key}: {running}{tested}"
        case "resting" if room.rests_because is not None:
            return room.rests_because
        case "resting":
            return f"{room.key} was short of memory just now; it is watched for a while first"
        case "too_big":
            needs, most = size(refusal.need_bytes), size(room.ceiling_bytes(run))
            return (
                f"trial {trial.number} needs {needs}, {room.key} can give {most} at most;"
                f" ask for less memory per trial or choose another device"
            )
        case "out_of_service":
            return f"{room.key} is out of service: {room.out_because}"
        case _:
            return f"{room.key} does not say how much memory is used ({_problem(room)})"


def refused(want_bytes: int, most_bytes: int, run: Run) -> str:
    """Why a new trial of *run* is not tried."""
    where = run.device or "any device"
    return (
        f"by its forecast it needs {size(want_bytes)},"
        f" {size(most_bytes)} is the most that {where} could give lately"
    )


def _ruled(refusal: Refusal, rule: Rule) -> str:
    room, most = refusal.room, f"at most {rule.max_attempts} at once"
    if room is None and not rule.max_attempts:
        return rule.because
    if room is None:
        return f"waits for its run's other trials: {most}, {rule.because}"
    if refusal.need_bytes is not None:
        needs, kept = size(refusal.need_bytes), size(rule.reserve_bytes)
        return f"wants {needs}, and {kept} are kept free on {room.key}: {rule.because}"
    if not rule.max_attempts:
        return f"nothing new starts on {room.key}: {rule.because}"
    return f"waits for a place on {room.key}: {room.attempts} run, {most}, {rule.because}"


def _short_of(refusal: Refusal, room: Room) -> str:
    account, reserve = room.account, room.reserve_bytes(refusal.run)
    left = max(0, account.headroom_bytes(reserve) or 0)
    strangers = size(account.strangers_bytes)
    if room.strangers_now_bytes not in (None, account.strangers_bytes):
        strangers = f"{size(room.strangers_now_bytes)}, lately {strangers}"
    return (
        f"waits for memory: wants {size(refusal.need_bytes)}, {room.key} has {size(left)} left"
        f" of {size(account.total_bytes)} (reserve {size(reserve)}, strangers {strangers},"
        f" promised {size(account.promised_bytes)})"
    )


def _problem(room: Room) -> str:
    return room.problem or "it has not been read yet"


def taken_along(fault: Fault, of: Trial, because: str) -> str:
    """Why the attempt of trial *of* ended, which by itself ended as *because* says."""
    culprit = fault.attempt.trial
    whose = "" if culprit.run == of.run else f" of {culprit.run}"
    return f"taken along by a GPU fault of trial {culprit.number}{whose}: {because}"


def crashed(key: str) -> str:
    return f"an attempt crashed on {key} just now; it is watched for a GPU fault first"


def misjudged(because: str) -> str:
    """Why promises are made smaller no more: an attempt ended as *because* says."""
    return f"an attempt ran out of memory beside promises that had been made smaller: {because}"


def cooling(fault: Fault) -> str:
    culprit = fault.attempt.trial
    return (
        f"{fault.attempt.device} had a GPU fault (trial {culprit.number} of {culprit.run});"
        f" it is left alone for a minute"
    )


def pressed(key: str, share: float) -> str:
    return f"processes on {key} waited for memory for {share:.0%} of the last 10 s"


def out_of_service(last: Fault) -> str:
    return f"{INCIDENTS} GPU faults within an hour; last: {last.because}"


def stopped(
    victim: Victim, is_over: bool, account: Account, reserve_bytes: int, rule: Rule | None = None
) -> str:
    """Why an attempt has to go. *is_over*: too much is used, as opposed to promised. *rule*: that
    keeps so much free."""
    lease, reserve = victim.lease, size(reserve_bytes)
    key = lease.attempt.device
    if is_over:
        used, total = size(account.used_bytes), size(account.total_bytes)
        tight = f"{key} holds {used} of {total}, of which {reserve} are to be kept free"
    else:
        tight = f"{key} has promised more than it has since others grew, for {SHORT_S:.0f} s"
    if rule is not None:
        return f"{tight}: {rule.because}"
    if victim.cause == "overrun":
        promise = size(lease.attempt.promise_bytes)
        return f"{tight}; it holds {size(lease.held_bytes)} of {promise} promised"
    if victim.cause == "strangers":
        return f"{tight}; strangers hold {size(account.strangers_bytes)}, of ours it loses least"
    if victim.cause == "guess":
        return f"{tight}; one grew after its promise had been made smaller, this loses least"
    return f"{tight}; of ours it loses least"
