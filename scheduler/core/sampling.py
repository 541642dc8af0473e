"""A poll of the devices taken in: what is held, what is back, how tight it is.

Writes the core's state.
"""

from __future__ import annotations

import msgspec

from probes.reading import Reading
from scheduler.core import following, reasons, watch
from scheduler.core.actions import Action
from scheduler.core.ending import has_waited, settle
from scheduler.core.events import Sampled
from scheduler.core.high_water import at_high_water, doubtful_bytes, fading, marked, sure_bytes
from scheduler.core.ledger import Account, held_bytes, is_given_back
from scheduler.core.life import Freed, Lease, Releasing, Starting, step
from scheduler.core.records import DeviceState, Free
from scheduler.core.state import State

HISTORY_S = 10.0  #: of free memory, kept for judging an end by what went before it
#: Nothing starts on a machine where processes wait for memory for this share of the time. The story
#: this prevents: 1. data files fill the page cache, 2. MemAvailable counts it as free, as it can be
#: dropped, 3. one more trial starts, and all of them read the same files again and again.
PRESSED_SHARE = 0.2
PRESSED_S = 3.0  #: longer than one reading takes to come, so that it holds as long as it lasts
#: A device on which strangers have settled for good must in time count as that small: until it
#: does, what ran out of memory there alone waits for them to leave.
HALF_LIFE_S = 3600.0
#: What was so that long ago, unseen since, was not so for that long: the machine was suspended, or
#: its clock set.
UNSEEN_S = 20.0


def sampled(state: State, event: Sampled) -> list[Action]:
    """A device that the poll says nothing of is unknown from here on."""
    readings = {reading.device: reading for reading in event.readings}
    for device in state.devices.values():
        if event.at_s - device.sampled_at_s > UNSEEN_S:
            following.overlook(device, device.sampled_at_s, event.at_s)
        problem = device.reading.problem if device.reading else None
        _take(device, readings.get(device.key), event.at_s)
        state.reread(device, problem)
    actions: list[Action] = []
    for device in state.devices.values():
        actions += _settle_kills(state, device, event.at_s)
        gone = _release(state, device, event.at_s)
        _mark(state, device, gone, event.at_s)
        actions += following.follow(state, device, event.at_s)
        _remember(state, device, event.at_s)
    state.polled()
    return actions


def _take(device: DeviceState, reading: Reading | None, at_s: float) -> None:
    device.reading = reading
    total = reading.total_bytes if reading else None
    used = reading.used_bytes if reading else None
    free = None if total is None or used is None else total - used
    recent = (one for one in device.history if 0 <= at_s - one.at_s < HISTORY_S)
    device.history = (*recent, Free(at_s=at_s, free_bytes=free))
    if reading is None or used is None:
        return
    if reading.waiting_share is not None and reading.waiting_share >= PRESSED_SHARE:
        device.rest(at_s + PRESSED_S, reasons.pressed(device.key, reading.waiting_share))
    for attempt, life in device.lives.items():
        pid = life.process.pid if life.process else None
        held = held_bytes(reading, pid)
        if held != life.lease.held_bytes:
            lease = _with_held(life.lease, held, at_s)
            device.lives[attempt] = msgspec.structs.replace(life, lease=lease)


def _with_held(lease: Lease, held: int | None, at_s: float) -> Lease:
    if held is not None and held > (lease.peak_bytes or 0):
        lease = following.with_peak(lease, held, at_s)
    elif lease.peak_bytes is None:
        lease = msgspec.structs.replace(lease, peak_bytes=held)
    return msgspec.structs.replace(lease, held_bytes=held)


def _settle_kills(state: State, device: DeviceState, at_s: float) -> list[Action]:
    """Ends that waited for this reading's count of the kernel's kills, or for a neighbour's."""
    actions: list[Action] = []
    for life in tuple(device.lives.values()):
        if isinstance(life, Releasing) and life.evidence and has_waited(state, life, at_s):
            actions += settle(state, life, life.evidence)
    return actions


def _release(state: State, device: DeviceState, at_s: float) -> list[Releasing]:
    """Let those go whose memory is back."""
    gone: list[Releasing] = []
    for life in tuple(device.lives.values()):
        if not isinstance(life, Releasing) or life.evidence is not None:
            continue
        waited_s = at_s - life.since_s
        if waited_s > 0 and _is_back(life, device.reading, waited_s):
            assert step(life, Freed()) is None
            state.release(life)
            gone.append(life)
    return gone


def _is_back(life: Releasing, reading: Reading | None, waited_s: float) -> bool:
    return is_given_back(
        reading,
        pid=life.process.pid if life.process else None,
        promise_bytes=life.lease.attempt.promise_bytes,
        used_at_end_bytes=life.used_bytes,
        waited_s=waited_s,
    )


def _remember(state: State, device: DeviceState, at_s: float) -> None:
    """What is usual here, and how long it has been tight."""
    account = state.account(device)
    if not device.lives and account.used_bytes not in (None, device.baseline_bytes):
        device.baseline_bytes = account.used_bytes
        state.touch(device.key)
    if at_s - device.sampled_at_s > UNSEEN_S:
        device.strain = watch.Strain()
    is_open = at_high_water(state.account(device), device.marks).open_bytes
    if is_open is not None:
        usual = is_open if device.usual_open_bytes is None else device.usual_open_bytes
        share = 0.5 ** (max(0.0, at_s - device.sampled_at_s) / HALF_LIFE_S)
        device.usual_open_bytes = is_open + int(max(0, usual - is_open) * share)
    device.sampled_at_s = at_s
    active = [life for life in device.active() if not isinstance(life, Starting)]
    device.strain = watch.look(
        device.strain,
        _as_promised(account, following.outgrown_bytes(device)),
        reserve_bytes=state.ruled_reserve_bytes(device),
        alone=any(life.lease.attempt.alone for life in active),
        now_s=at_s,
    )


def _as_promised(account: Account, outgrown_bytes: int) -> Account:
    """*account* as if nobody held more than what is set aside, but for what is used."""
    if account.left_bytes is None or not outgrown_bytes:
        return account
    return msgspec.structs.replace(account, left_bytes=account.left_bytes + outgrown_bytes)


def _mark(state: State, device: DeviceState, gone: list[Releasing], at_s: float) -> None:
    """What strangers hold now, as far as it is theirs beyond doubt. *gone*: since this reading."""
    strangers, sure = state.account(device).strangers_bytes, None
    if strangers is not None and device.reading is not None:
        rise = strangers - (device.sure_bytes or 0)
        more = fading(gone, rise)
        fadings = device.fadings if more is None else (*device.fadings, more)
        device.fadings = tuple(one for one in fadings if at_s < one.until_s)
        doubt = doubtful_bytes(device.lives.values(), device.fadings, device.reading, at_s)
        sure = sure_bytes(strangers, doubt, device.sure_bytes)
    before, device.marks = device.marks[:1], marked(device.marks, sure, at_s)
    device.sure_bytes = sure
    if [mark.strangers_bytes for mark in before] != [
        mark.strangers_bytes for mark in device.marks[:1]
    ]:
        state.touch(device.key)
