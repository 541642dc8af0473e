"""What an attempt's end teaches of its trial's memory. Pure."""

from __future__ import annotations

from scheduler.core.actions import Settle


def taught(
    settle: Settle,
    *,
    own_peak_bytes: int | None = None,
    reported: bool = False,
    pruned: bool = False,
) -> tuple[int, bool] | None:
    """Bytes of the trial's peak, and whether it needs more than that. None: nothing.

    One that was stopped or killed had not come to its peak, nor may one have that was *pruned*
    while it grew; one that raised before it *reported*
    anything may have raised before it held anything; what no poll has seen is known by its own
    count only, which leaves too much out.
    """
    peak, attempt, verdict = settle.peak_bytes, settle.attempt, settle.verdict
    if peak is not None:
        peak = max(peak, own_peak_bytes or 0)
    again = settle.again
    is_overrun = again is not None and again.overruns > attempt.trial.overruns
    if verdict.kind in ("device_oom", "host_oom") or is_overrun or settle.settlement == "capacity":
        had = (attempt.cap_bytes or attempt.promise_bytes) if verdict.own_cap else 0
        least = max(peak or 0, had)
        return (least, True) if least > 0 else None
    if pruned and settle.was_growing:
        return None
    is_whole = verdict.kind == "finished" or (verdict.kind == "user_error" and reported)
    return (peak, False) if peak and is_whole else None
