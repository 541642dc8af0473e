"""How many attempts at once a device bears, learned from what went wrong. Pure.

Multiplicative decrease, additive increase. Does not cover limits that the user set.
"""

from __future__ import annotations

import msgspec


class Limit(msgspec.Struct, frozen=True, kw_only=True):
    """What was learned of one device. ``at_most`` None: memory alone decides."""

    at_most: int | None = None
    most: int = 0  #: the most that ever ran at once
    clean: int = 0  #: attempts in company that finished since the last change or OOM
    lowered_at_s: float | None = None


def started(limit: Limit, running: int) -> Limit:
    """*running* attempts, the new one included."""
    if running <= limit.most:
        return limit
    return msgspec.structs.replace(limit, most=running)


def ran_out(limit: Limit, *, running: int, started_at_s: float, now_s: float) -> Limit:
    """An attempt ran out of memory in company, with *running* at once, itself included.

    Halved once for each incident. The story this prevents: 1. four attempts fill a card, 2. two of
    them run out of memory within a second, 3. four is halved to two for the first and to one for
    the second, though two fit. An attempt that started before the last decrease tells nothing
    about the company since then.
    """
    limit = msgspec.structs.replace(limit, clean=0)
    if running < 2 or (limit.lowered_at_s is not None and started_at_s <= limit.lowered_at_s):
        return limit
    at_most = running // 2 if limit.at_most is None else min(limit.at_most, running // 2)
    return msgspec.structs.replace(limit, at_most=at_most, lowered_at_s=now_s)


def finished(limit: Limit) -> Limit:
    """An attempt finished. One more is tried after as many clean ones as may run at once.

    Past the most that ever ran at once the limit says nothing more, and goes.
    """
    if limit.at_most is None:
        return limit
    if limit.clean + 1 < limit.at_most:
        return msgspec.structs.replace(limit, clean=limit.clean + 1)
    raised = limit.at_most + 1
    return msgspec.structs.replace(limit, at_most=None if raised > limit.most else raised, clean=0)
