"""When an attempt must end so that others have their memory, and which. Pure.

Covers devices that are over what they may hold. Its two questions are asked at each reading; it
looks again before it stops anything, and stops one at a time: the memory of the one must be back
before another is asked for.

What is over: more is used than total - reserve, in two readings or more over most of a second; or
what was promised and what strangers took together eat more than half of the reserve, for 30 s.
(Half, because a promise is not yet memory: the desktop opens a window of 50 MiB on a device that is
promised to its last byte, and an attempt of hours would go for it.)
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from scheduler.core.ledger import Account
from scheduler.core.life import Cause, Lease, is_outgrown

READINGS = 2
OVER_S = 0.75  #: less is one moment seen twice: readings may come 20 ms apart
SHORT_S = 30.0
BROKEN_RATIO = 1.05  #: contexts and fragments are not the attempt's fault
GREW_RATIO = 0.02  #: of the device; less is the desktop breathing


class Strain(msgspec.Struct, frozen=True, kw_only=True):
    """How long a device has been over."""

    over: int = 0  #: readings in a row with more used than may be
    over_since_s: float | None = None
    short_since_s: float | None = None

    def is_over(self, now_s: float) -> bool:
        """More is used than may be, and has been for long enough to be believed."""
        since_s = self.over_since_s
        return self.over >= READINGS and since_s is not None and now_s - since_s >= OVER_S

    def is_confirmed(self, now_s: float) -> bool:
        if self.is_over(now_s):
            return True
        return self.short_since_s is not None and now_s - self.short_since_s >= SHORT_S


class Victim(msgspec.Struct, frozen=True, kw_only=True):
    lease: Lease
    cause: Cause


def look(
    strain: Strain, account: Account, *, reserve_bytes: int, alone: bool, now_s: float
) -> Strain:
    """The strain after one more reading. An unknown one confirms nothing: begin anew.

    The promise of an attempt that is *alone* is what was left, not what it needs: only what is
    really used counts against it.
    """
    if account.total_bytes is None or account.used_bytes is None or account.left_bytes is None:
        return Strain()
    over = account.used_bytes > account.total_bytes - reserve_bytes
    short = not alone and account.left_bytes < reserve_bytes // 2
    over_since_s = now_s if strain.over_since_s is None else strain.over_since_s
    short_since_s = now_s if strain.short_since_s is None else strain.short_since_s
    return Strain(
        over=strain.over + 1 if over else 0,
        over_since_s=over_since_s if over else None,
        short_since_s=short_since_s if short else None,
    )


def has_broken_promise(held_bytes: int | None, promise_bytes: int) -> bool:
    return held_bytes is not None and held_bytes > BROKEN_RATIO * promise_bytes


def have_grown(before_bytes: int | None, account: Account) -> bool:
    """Whether strangers hold more than *before*. False where that is not known."""
    now, total = account.strangers_bytes, account.total_bytes
    if before_bytes is None or now is None or total is None:
        return False
    return now > before_bytes + GREW_RATIO * total


def loses_least(lease: Lease) -> tuple[float, str]:
    """The larger, the less is lost with it: what it has done since its start or last checkpoint."""
    attempt = lease.attempt
    return max(attempt.started_at_s, lease.saved_at_s or attempt.started_at_s), attempt.id


def victim(
    strain: Strain, leases: Sequence[Lease], account: Account, *, by_rule: bool = False
) -> Victim | None:
    """Which of *leases*, all that run on the device, has to go; None: none.

    1. One that broke its promise, the furthest first: its neighbours had no part in it.
    2. One that is the only one, kept its promise, and strangers did not grow: none. It was given
       all there is; a context's worth into the reserve is what the reserve is for, and stopped it
       would come back to the same.
    3. The one that loses least. Strangers are let have their memory even where it is the last of
       ours that goes: it comes back when they have left.

    *by_rule*: it is tight only since a rule keeps more free than was kept when they started. That
    is no fault of theirs and no gift to the last one: the third holds.
    """
    broken = [one for one in leases if has_broken_promise(one.held_bytes, _promise(one))]
    if broken and not by_rule:
        worst = max(broken, key=lambda one: ((one.held_bytes or 0) - _promise(one), one.attempt.id))
        return Victim(lease=worst, cause="overrun")
    can_tell = account.strangers_bytes is not None
    if (
        len(leases) == 1
        and can_tell
        and not by_rule
        and not have_grown(leases[0].strangers_bytes, account)
    ):
        return None
    holding = [one for one in leases if one.held_bytes != 0] if strain.over else []
    least = max(holding or leases, key=loses_least, default=None)
    if least is None:
        return None
    guessed = any(is_outgrown(one) for one in leases)
    guessed = guessed and not have_grown(least.strangers_bytes, account)
    return Victim(lease=least, cause=_cause(by_rule=by_rule, can_tell=can_tell, guessed=guessed))


def _cause(*, by_rule: bool, can_tell: bool, guessed: bool) -> Cause:
    if by_rule:
        return "asked"
    if guessed:
        return "guess"
    return "strangers" if can_tell else "unclear"


def is_by_rule(account: Account, *, is_over: bool, usual_reserve_bytes: int) -> bool:
    """Whether the device would not be tight with what is usually kept free there."""
    total, used, left = account.total_bytes, account.used_bytes, account.left_bytes
    if total is None or used is None or left is None:
        return False
    if is_over:
        return used <= total - usual_reserve_bytes
    return left >= usual_reserve_bytes // 2


def _promise(lease: Lease) -> int:
    return lease.attempt.promise_bytes
