"""What a worker's framework does on a real card, on an emulated one: hold memory, or fail.

A worker, any process, says ``hold(bytes)`` and holds that much of the card until it says otherwise
or ends. The emulated machine is in the folder that EMULATED_CARD names; which card, the variables
say that ROCm reads. Standard library only, so that a worker starts in milliseconds.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from tests.emulated.kernel import Books, Kernel, started_ticks, used_bytes

FOLDER = "EMULATED_CARD"
CAP = "SCHEDULER_CAP_BYTES"


class OutOfMemoryError(RuntimeError):
    """Looks like torch's in a traceback, and to who asks for the class's full name."""


OutOfMemoryError.__module__ = "torch"


def hold(total_bytes: int) -> None:
    """Hold *total_bytes* in all from now on. Raises OutOfMemoryError and changes nothing if the
    card has not so much left, or if it is more than the cap in SCHEDULER_CAP_BYTES."""
    with _kernel().books() as books:
        card = _visible(books)[0]
        mine = _mine(books, card)
        wanted = total_bytes - mine["bytes"]
        cap = int(os.environ[CAP]) if os.environ.get(CAP) else None
        free = card["total_bytes"] - used_bytes(books, card)
        if wanted > free or (wanted > 0 and cap is not None and total_bytes > cap):
            raise OutOfMemoryError(_sentence(card, wanted, free, mine["bytes"], cap))
        books["holders"] = [other for other in books["holders"] if other != mine]
        if total_bytes > 0:
            books["holders"].append({**mine, "bytes": total_bytes})


def release() -> None:
    """Give everything back."""
    hold(0)


def held() -> int:
    """Bytes that this process holds."""
    with _kernel().books() as books:
        return int(_mine(books, _visible(books)[0])["bytes"])


def _kernel() -> Kernel:
    folder = os.environ.get(FOLDER)
    if not folder:
        raise RuntimeError(f"No HIP GPUs are available ({FOLDER} is not set)")
    return Kernel(Path(folder))


def _mine(books: Books, card: dict[str, Any]) -> dict[str, Any]:
    mine = {
        "pid": os.getpid(),
        "started_ticks": started_ticks(os.getpid()),
        "address": card["address"],
    }
    for holder in books["holders"]:
        if {**holder, **mine} == holder:
            return dict(holder)
    return {**mine, "bytes": 0}


def _visible(books: Books) -> list[dict[str, Any]]:
    """The cards in HIP's order: ROCr filters first, HIP counts what is left from 0 (ROCm docs)."""
    cards = _filter(books["cards"], "ROCR_VISIBLE_DEVICES")
    for name in ("HIP_VISIBLE_DEVICES", "CUDA_VISIBLE_DEVICES"):
        cards = _filter(cards, name)
    if not cards:
        raise RuntimeError("No HIP GPUs are available")
    return cards


def _filter(cards: list[dict[str, Any]], variable: str) -> list[dict[str, Any]]:
    """The list ends at the first name that is no card's; unset lets all through."""
    names = os.environ.get(variable)
    if names is None:
        return cards
    chosen: list[dict[str, Any]] = []
    for name in names.split(","):
        fits = [c for order, c in enumerate(cards) if name in (str(order), c["uuid"])]
        if not fits:
            break
        chosen += fits
    return chosen


def _sentence(card: dict[str, Any], wanted: int, free: int, mine: int, cap: int | None) -> str:
    """torch's words (c10, CUDACachingAllocator.cpp). "allowed" stands there whenever a cap is set,
    also when the card is what ran out."""
    allowed = f"{_size(cap)} allowed; " if cap is not None else ""
    return (
        f"HIP out of memory. Tried to allocate {_size(wanted)}. GPU 0 has a total capacity of "
        f"{_size(card['total_bytes'])} of which {_size(free)} is free. {allowed}"
        f"Of the allocated memory {_size(mine)} is allocated by PyTorch, and 0 bytes is reserved "
        "by PyTorch but unallocated. If reserved but unallocated memory is large try setting "
        "PYTORCH_ALLOC_CONF=expandable_segments:True to avoid fragmentation.  See documentation "
        "for Memory Management  "
        "(https://pytorch.org/docs/stable/notes/cuda.html#environment-variables)"
    )


def _size(size: int) -> str:
    for unit, name in ((1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")):
        if size >= unit:
            return f"{size / unit:.2f} {name}"
    return f"{size} bytes"
