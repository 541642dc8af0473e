"""How often the devices are to be read: pure, from what the core shows before and after a reading.

The period is what passes unseen. Reading costs a fraction of a millisecond a card, so it is short
exactly while a second matters: an attempt that ramps up at 2 GiB a second is at the end of a
desktop's reserve in less than one period, and is seen in time at four readings a second. With
nothing to watch over, a reading only keeps the status fresh.
"""

from __future__ import annotations

from scheduler.core.view import DeviceView, View

USUAL_S = 1.0
FAST_S = 0.25
IDLE_S = 5.0

#: Free memory beyond the reserve below which a device is tight, as a share of it.
TIGHT_RATIO = 0.05
#: Growth of one attempt in a second that counts as ramping up, as a share of the device.
RAMP_RATIO = 0.01


def period_s(before: View | None, now: View) -> float:
    """Seconds from one reading to the next. *before* is what was so at the last one."""
    if not any(device.attempts for device in now.devices):
        return USUAL_S if any(run.waiting for run in now.runs) else IDLE_S
    held = _held(before) if before is not None else {}
    since_s = max(now.at_s - before.at_s, FAST_S) if before is not None else USUAL_S
    if any(_is_tight(device) or _is_ramping(device, held, since_s) for device in now.devices):
        return FAST_S
    return USUAL_S


def _held(view: View) -> dict[str, int | None]:
    return {one.attempt.id: one.held_bytes for device in view.devices for one in device.attempts}


def _is_tight(device: DeviceView) -> bool:
    total, used = device.total_bytes, device.used_bytes
    if not device.attempts or total is None or used is None:
        return False
    return total - used - device.budget.reserve_bytes < TIGHT_RATIO * total


def _is_ramping(device: DeviceView, held: dict[str, int | None], since_s: float) -> bool:
    """By what our attempts held *since_s* ago; one that is new here has grown from nothing."""
    total = device.total_bytes
    if total is None:
        return False
    grown = (
        (one.held_bytes or 0) - (held.get(one.attempt.id) or 0)
        for one in device.attempts
        if one.state == "running"
    )
    return any(growth > RAMP_RATIO * total * since_s for growth in grown)
