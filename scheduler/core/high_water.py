"""How much strangers held at most lately: what admission counts them at. Pure.

The story this prevents: 1. a game breathes between 4 and 6 GiB, 2. a trial is admitted while it is
at 4, 3. it is at 6 again, and the trial has to go. Watching over what is used goes by what is so
now, not by this.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec

from probes.reading import Reading
from scheduler.core.ledger import GIVE_BACK_S, Account
from scheduler.core.life import Life, Releasing

HIGH_WATER_S = 30.0
#: Marks nearer than this are one, so that no more than some thirty are kept.
STEP_S = 1.0


class Mark(msgspec.Struct, frozen=True):
    """Strangers held that much then, and less ever since."""

    at_s: float
    strangers_bytes: int


class Fading(msgspec.Struct, frozen=True):
    """Memory of an attempt that is gone, which the driver may still be freeing."""

    until_s: float
    at_most_bytes: int


def marked(marks: Iterable[Mark], strangers_bytes: int | None, now_s: float) -> tuple[Mark, ...]:
    """The marks after one more reading, oldest and largest first. None: it did not tell."""
    recent = [mark for mark in marks if 0 <= now_s - mark.at_s < HIGH_WATER_S]
    if strangers_bytes is None:
        return tuple(recent)
    larger = [mark for mark in recent if mark.strangers_bytes > strangers_bytes]
    if larger and now_s - larger[-1].at_s < STEP_S:
        return tuple(larger)
    return (*larger, Mark(now_s, strangers_bytes))


def at_high_water(account: Account, marks: tuple[Mark, ...]) -> Account:
    """*account* with strangers at the most that they held lately."""
    now = account.strangers_bytes
    if now is None or account.left_bytes is None or account.open_bytes is None or not marks:
        return account
    more = max(0, marks[0].strangers_bytes - now)
    return msgspec.structs.replace(
        account,
        strangers_bytes=now + more,
        left_bytes=account.left_bytes - more,
        open_bytes=account.open_bytes - more,
    )


def fading(gone: Sequence[Releasing], rise_bytes: int) -> Fading | None:
    """What may still be ours of *gone*, whose processes hold nothing since this reading.

    No more than what strangers seem to hold more than in the reading before.
    """
    most = min(sum(_most(life) for life in gone), rise_bytes)
    if most <= 0:
        return None
    return Fading(max(life.since_s for life in gone) + GIVE_BACK_S, most)


def sure_bytes(strangers_bytes: int, doubtful_bytes: int, before_bytes: int | None) -> int:
    """What is theirs beyond doubt; what was so before, and may be now, is."""
    least = max(0, strangers_bytes - doubtful_bytes, before_bytes or 0)
    return min(strangers_bytes, least)


def doubtful_bytes(
    lives: Iterable[Life], fadings: Iterable[Fading], reading: Reading, now_s: float
) -> int:
    """How much of what *reading* lays on strangers may be our own attempts' memory.

    That of a process that was not asked about, since it is younger than the question; and that of
    one that has ended, whose memory the driver frees later. The story this prevents: 1. a trial of
    6 GiB ends, 2. one reading finds 6 GiB that nobody holds, 3. the next trial waits for half a
    minute.
    """
    asked = {held.pid for held in reading.held or ()}
    doubt = sum(one.at_most_bytes for one in fadings if now_s < one.until_s)
    for life in lives:
        if isinstance(life, Releasing):
            doubt += max(0, _most(life) - (life.lease.held_bytes or 0))
        elif life.process is None or life.process.pid not in asked:
            doubt += _most(life)
    return doubt


def _most(life: Life) -> int:
    return max(life.lease.attempt.promise_bytes, life.lease.peak_bytes or 0)
