"""An attempt's end taken in: judged, settled, and what is learned of it.

Writes the core's state. What follows from which end is decided in ``retry``. A trial that comes
back is offered again by its host, which alone knows what it still wants to run.
"""

from __future__ import annotations

import msgspec

from scheduler.core import company, concurrency, faults, following, reasons
from scheduler.core.actions import Action, Halt, Note, Settle
from scheduler.core.events import Exited, Vanished
from scheduler.core.faults import Fault, Outage
from scheduler.core.growth import is_still
from scheduler.core.life import Lease, Releasing, is_active, is_outgrown
from scheduler.core.model import Attempt, Evidence, Verdict
from scheduler.core.reasons import at_once
from scheduler.core.records import DeviceState
from scheduler.core.retry import Ending, Sequel, changes, follow
from scheduler.core.state import State
from scheduler.core.verdict import Circumstances, crashed, judge
from scheduler.core.watch import have_grown

_KILL = 9
#: Of its age. The story this prevents: 1. half of the trials are pruned while they still load, 2.
#: their peaks are taken for what their parameters need, 3. those that go on need twice as much.
GROWING_RATIO = 0.2


def exited(state: State, event: Exited) -> list[Action]:
    """Settle the attempt, or wait for what may explain its end.

    A host that did not hear the answer (its connection broke, we were started again) asks again
    and hears the same. One that was never heard of here is the host's affair.
    """
    life = state.find(event.attempt)
    if life is None:
        return []
    if not isinstance(life, Releasing):
        life = state.end(life, event.at_s)
    if life.settle is not None:
        return _told(state, life.settle)
    if life.lease.attempt.id not in state.past:
        if _may_be_kernels(state, life, event.evidence):
            state.keep(msgspec.structs.replace(life, evidence=event.evidence))
            return []
        verdict = _may_be_a_faults(state, life, event.evidence)
        if verdict is not None:
            device = state.devices[life.lease.attempt.device]
            device.rest(event.at_s + faults.WINDOW_S, reasons.crashed(device.key))
            state.keep(msgspec.structs.replace(life, evidence=event.evidence, verdict=verdict))
            return []
    return settle(state, life, event.evidence)


def has_waited(state: State, life: Releasing, at_s: float) -> bool:
    """Whether what may explain its end is there, or will not come any more."""
    if life.evidence is None or at_s <= life.since_s:
        return False
    if life.verdict is None or at_s - life.since_s >= faults.WINDOW_S:
        return True
    return _fault_behind(state, life, life.verdict) is not None


def vanished(state: State, event: Vanished) -> None:
    life = state.find(event.attempt)
    if life is not None and is_active(life):
        state.end(life, event.at_s)


def settle(state: State, life: Releasing, evidence: Evidence) -> list[Action]:
    """Judge the end, and tell it and all that changes by it.

    The changes come first: told how its last trial is to be taken, a host leaves.
    """
    lease, device = life.lease, state.devices[life.lease.attempt.device]
    account = device.account()
    verdict, taken_along = _explained(state, life, evidence)
    run, guessed = state.runs[lease.attempt.trial.run], following.misjudged(state, device, lease)
    ending = Ending(
        attempt=lease.attempt,
        verdict=verdict,
        peak_bytes=lease.peak_bytes,
        company=life.company,
        strangers_grew=have_grown(lease.strangers_bytes, account),
        stopped=life.stopped.cause if life.stopped else None,
        was_killed=evidence.signal == _KILL,
        taken_along=taken_along,
        follows_catch=evidence.proven and bool(evidence.exception),
        most_bytes=state.most_bytes(run.run),
        keeps_promise=run.run.keeps_promise,
        misjudged=bool(guessed),
        outgrew=is_outgrown(lease) or _was_refused(life, bool(guessed)),
    )
    sequel = follow(ending)
    told = Settle(
        attempt=lease.attempt,
        verdict=verdict,
        settlement=sequel.settlement,
        again=sequel.again,
        peak_bytes=lease.peak_bytes,
        was_growing=was_growing(lease, life.since_s),
    )
    state.keep(msgspec.structs.replace(life, settle=told, evidence=None))
    if life.stopped is not None and sequel.again is not None:
        run.made_way.add(lease.attempt.trial.number)
    complete = verdict.kind == "finished" and evidence.outcome == "complete"
    following.learn(run, lease, ended_at_s=life.since_s, complete=complete)
    notes = [state.note(change) for change in changes(ending, sequel, at_s=state.now_s)]
    if verdict.kind == "gpu_fault" and not taken_along and device.budget.device.kind != "host":
        fault = Fault(at_s=life.since_s, attempt=lease.attempt, because=verdict.because)
        notes += _take_fault(state, device, fault)
    if sequel.rung == "misjudged":
        because = reasons.misjudged(verdict.because)
        notes += following.roll_back(state, guessed, device, because)
    return [*notes, *_learn(state, device, ending, sequel), *_told(state, told)]


def _was_refused(life: Releasing, misjudged: bool) -> bool:
    """What it asked for was not there, perhaps since less was set aside for it."""
    return misjudged and life.stopped is None and life.lease.now_promised_bytes is not None


def was_growing(lease: Lease, ended_at_s: float) -> bool:
    """Whether it grew in the last part of its time; where that was not followed, it may have."""
    growth = lease.growth
    if growth is None or not growth.levels:
        return True
    return not is_still(growth, following.age_s(lease, ended_at_s), GROWING_RATIO)


def _told(state: State, settle: Settle) -> list[Action]:
    """*settle*; and, once, that its run is over where all its trials would end like this one."""
    run = state.runs[settle.attempt.trial.run]
    ends_all = settle.verdict.kind == "configuration" and settle.again is not None
    if not ends_all or run.halted is not None:
        return [settle]
    run.halted = settle.verdict.because
    state.clear_queue(run.run.id)
    return [settle, Halt(run=run.run.id, because=run.halted)]


def _explained(state: State, life: Releasing, evidence: Evidence) -> tuple[Verdict, bool]:
    """Why it ended, and whether a fault of another's took it along."""
    verdict = life.verdict or _judge(state, life, evidence)
    fault = _fault_behind(state, life, verdict)
    if fault is None:
        return verdict, False
    because = reasons.taken_along(fault, life.lease.attempt.trial, verdict.because)
    return Verdict(kind="gpu_fault", because=because), True


def _judge(state: State, life: Releasing, evidence: Evidence) -> Verdict:
    device = state.devices[life.lease.attempt.device]
    return judge(evidence, circumstances=_circumstances(state, life, device))


def _may_be_kernels(state: State, life: Releasing, evidence: Evidence) -> bool:
    """Whether the next reading may show that the kernel took it: the count comes after the kill."""
    killed = evidence.signal == _KILL or evidence.exit_code in (-_KILL, 128 + _KILL)
    return (
        killed
        and evidence.outcome is None
        and life.stopped is None
        and life.lease.oom_kills is not None
    )


def _may_be_a_faults(state: State, life: Releasing, evidence: Evidence) -> Verdict | None:
    """The verdict on a crash that nothing explains, if a neighbour may yet tell of a fault.

    The crash of a neighbour is often seen before that of the one whose kernel went wrong: its
    runtime writes down the state of the card first.
    """
    on_host = state.devices[life.lease.attempt.device].budget.device.kind == "host"
    if on_host or life.company < 2 or not crashed(evidence):
        return None
    verdict = _judge(state, life, evidence)
    if verdict.kind != "unknown_kill" or _fault_behind(state, life, verdict) is not None:
        return None
    return verdict


def _fault_behind(state: State, life: Releasing, verdict: Verdict) -> Fault | None:
    """The fault of another attempt's on its device that explains the end."""
    if not faults.may_be_its_doing(verdict):
        return None
    attempt = life.lease.attempt
    return faults.explaining(state.devices[attempt.device].faults, attempt, life.since_s)


def _take_fault(state: State, device: DeviceState, fault: Fault) -> list[Note]:
    """A new incident: the device is left alone for a while, after too many for good."""
    device.faults = (*faults.recent(device.faults, fault.at_s), fault)
    device.rest(state.now_s + faults.COOL_DOWN_S, reasons.cooling(fault))
    state.touch(device.key)
    if len(device.faults) < faults.INCIDENTS or device.outage is not None:
        return []
    because = reasons.out_of_service(fault)
    device.outage, device.drained_for = Outage(since_s=state.now_s, because=because), None
    state.touch_all()
    return _tell_of_service(state, device, ("in service", "out of service"), because)


def served(state: State, device: DeviceState, because: str = reasons.SERVED) -> list[Note]:
    """The device is used again at once, as if it had had no fault."""
    outage, device.outage, device.faults = device.outage, None, ()
    device.rests_until_s, device.rests_because = 0.0, None
    state.touch_all()
    if outage is None:
        return []
    return _tell_of_service(state, device, ("out of service", "in service"), because)


def _tell_of_service(
    state: State, device: DeviceState, before_after: tuple[str, str], because: str
) -> list[Note]:
    """To each run that may use the device; where there is none, to nobody by name."""
    concerned = [
        run.run.id for run in state.runs.values() if run.joined and device.budget.is_for(run.run)
    ]
    return [
        state.note_of_device(device, "service", before_after, because, run=run)
        for run in concerned or (None,)
    ]


def _circumstances(state: State, life: Releasing, device: DeviceState) -> Circumstances:
    lease = life.lease
    kills = oom_kills(state)
    known = kills is not None and lease.oom_kills is not None
    total = device.reading.total_bytes if device.reading else None
    return Circumstances(
        device_kind=device.budget.device.kind,
        company=life.company > 1,
        cap_bytes=lease.attempt.cap_bytes,
        peak_bytes=lease.peak_bytes,
        free_bytes=tuple(one.free_bytes for one in device.history),
        total_bytes=device.budget.device.total_bytes if total is None else total,
        oom_kills=max(0, (kills or 0) - (lease.oom_kills or 0)) if known else None,
        stopped=life.stopped.because if life.stopped else None,
    )


def oom_kills(state: State) -> int | None:
    """Kills by the kernel since boot, on whichever device's reading carries them."""
    for device in state.devices.values():
        if device.reading is not None and device.reading.oom_kills is not None:
            return device.reading.oom_kills
    return None


def _learn(state: State, device: DeviceState, ending: Ending, sequel: Sequel) -> list[Note]:
    """How many at once the device bears, after this."""
    attempt, before = ending.attempt, device.limit
    if ending.verdict.kind == "finished":
        company.finished(state, device, attempt.id)
    if ending.verdict.kind == "finished" and not attempt.alone:
        device.limit = concurrency.finished(before)
    elif sequel.rung == "contention" and not _keeps_concurrency(state, device, attempt):
        device.limit = concurrency.ran_out(
            before,
            running=ending.company,
            started_at_s=attempt.started_at_s,
            now_s=state.now_s,
        )
    if device.limit == before:
        return []
    state.touch(device.key)
    if device.limit.at_most == before.at_most:
        return []
    before_after = at_once(before.at_most), at_once(device.limit.at_most)
    because = _because_of(ending.verdict, before)
    return [state.note_of_device(device, "concurrency", before_after, because)]


def _keeps_concurrency(state: State, device: DeviceState, attempt: Attempt) -> bool:
    """Its run's user does not want fewer at once, and nobody else's attempts are there to pay."""
    run = state.runs[attempt.trial.run].run
    here = {life.lease.attempt.trial.run for life in device.lives.values()}
    return run.keeps_concurrency and here <= {run.id}


def _because_of(verdict: Verdict, before: concurrency.Limit) -> str:
    if verdict.kind == "finished":
        return f"{before.at_most} finished in a row without running out of memory"
    return f"an attempt ran out of memory in company: {verdict.because}"
