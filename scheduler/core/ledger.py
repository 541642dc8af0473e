"""Who was promised what on a device, and what is left. Pure.

Covers the arithmetic for one device at one moment; the words are those of ``docs/design.md``. Does
not cover who gets what is left, which is the policy's.

None is unknown, and admits nothing. It never becomes 0.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from probes.reading import Reading

#: What an ended attempt has not given back by then is somebody else's: it counts as a stranger's.
GIVE_BACK_S = 10.0


class Claim(msgspec.Struct, frozen=True):
    """What one attempt takes of its device. ``held_bytes`` None: it could not be told."""

    promise_bytes: int
    held_bytes: int | None


class Account(msgspec.Struct, frozen=True, kw_only=True):
    """One device's memory, before anybody's reserve is taken off.

    ``left_bytes`` may still be promised; below 0 where promises were broken or strangers have
    grown into them. ``open_bytes`` is what would be left if no attempt of ours were there.
    """

    total_bytes: int | None
    used_bytes: int | None
    strangers_bytes: int | None  #: None as well where the device cannot tell processes apart
    promised_bytes: int
    left_bytes: int | None
    open_bytes: int | None

    def headroom_bytes(self, reserve_bytes: int) -> int | None:
        return None if self.left_bytes is None else self.left_bytes - reserve_bytes


def balance(
    reading: Reading | None, claims: Iterable[Claim], *, baseline_bytes: int | None
) -> Account:
    """The account of a device by its last *reading* and all *claims* on it.

    *baseline_bytes* is what was used before our first attempt; only asked for where processes
    cannot be told apart. Unknown, all that is used counts as the strangers'.
    """
    claims = tuple(claims)
    promised = sum(claim.promise_bytes for claim in claims)
    total = reading.total_bytes if reading else None
    used = reading.used_bytes if reading else None
    strangers = left = is_open = None
    if reading is not None and total is not None and used is not None:
        ours = _held(reading, claims)
        if ours is None:
            is_open = total - (used if baseline_bytes is None else baseline_bytes)
            left = min(is_open - promised, total - used)
        else:
            strangers = max(0, used - ours)
            is_open = total - strangers
            left = is_open - sum(
                max(claim.promise_bytes, claim.held_bytes or 0) for claim in claims
            )
    return Account(
        total_bytes=total,
        used_bytes=used,
        strangers_bytes=strangers,
        promised_bytes=promised,
        left_bytes=left,
        open_bytes=is_open,
    )


def _held(reading: Reading, claims: tuple[Claim, ...]) -> int | None:
    """Bytes held by all *claims*; None where one of them could not be told."""
    if claims and reading.held is None:
        return None
    ours = 0
    for claim in claims:
        if claim.held_bytes is None:
            return None
        ours += claim.held_bytes
    return ours


def held_bytes(reading: Reading, pid: int | None) -> int | None:
    """What the process tree of *pid* holds; None where that could not be told.

    A tree that was not asked about (its process is younger than the question) holds 0 here: what
    it does hold counts as a stranger's until the next reading, so never too little is counted.
    """
    if reading.held is None:
        return None
    for held in reading.held:
        if held.pid == pid:
            return held.held_bytes
    return 0


def is_given_back(
    reading: Reading | None,
    *,
    pid: int | None,
    promise_bytes: int,
    used_at_end_bytes: int | None,
    waited_s: float,
) -> bool:
    """Whether the device shows, in a reading after its end, that an attempt's memory is free.

    Drivers free memory after the process is gone. A promise given away at the exit is used twice:
    1. an attempt of 6 GiB exits, 2. its neighbour-to-be starts on the strength of that, 3. the
    driver has freed 1 GiB by the time the newcomer allocates 6, and it runs out of memory.
    """
    if waited_s >= GIVE_BACK_S:
        return True
    if reading is None or reading.used_bytes is None:
        return False
    held = held_bytes(reading, pid)
    if held is not None:
        return held == 0
    if used_at_end_bytes is None:
        return False
    return reading.used_bytes <= used_at_end_bytes - promise_bytes // 2
