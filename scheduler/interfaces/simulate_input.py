"""What `scheduler simulate` is given: a workload file, or a run with what is known of it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from scheduler.core.forecast.observation import Observation
from scheduler.core.model import Run
from scheduler.interfaces.errors import BadInput
from scheduler.machine.sizes import parse_size
from scheduler.simulate.what_if import Draw
from scheduler.simulate.workload import CardSpec, Workload

PAIRS = (
    "two at once do 2.24 - 0.40 U of what one does, at most 2, where U is the sum of what each "
    "uses of the device alone (fitted on measured pairs of other cards); more than two were "
    "never measured"
)


class Subject(msgspec.Struct, frozen=True, kw_only=True):
    """What is simulated, as it is now. ``assumed``: a sentence for each thing nobody has said."""

    name: str
    cards: tuple[CardSpec, ...]
    run: Run
    n_trials: int
    draw: Draw
    contention: str = "fitted"
    known: tuple[Observation, ...] = ()
    assumed: tuple[str, ...] = ()


def read_file(path: Path) -> Subject:
    """A workload, as ``docs/simulate.md`` describes it. Raises BadInput."""
    try:
        told = msgspec.json.decode(path.read_bytes())
    except OSError as error:
        raise BadInput(f"{path} cannot be read: {error.strerror}") from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BadInput(f"{path} is no JSON: {error}") from None
    try:
        workload = msgspec.convert(sized(told), Workload)
    except (msgspec.ValidationError, ValueError) as error:
        raise BadInput(f"{path}: {error}; docs/simulate.md says what it may hold") from None
    problem = _problem(workload)
    if problem is not None:
        raise BadInput(f"{path}: {problem}")
    return Subject(
        name=path.name,
        cards=workload.cards,
        run=workload.run(),
        n_trials=workload.n_trials,
        draw=workload.jobs,
        contention=workload.contention,
        assumed=(PAIRS,) if workload.contention == "fitted" else (),
    )


def sized(told: Any, is_size: bool = False) -> Any:
    """*told* with numbers of bytes where fields that are called ``..._bytes`` hold "6GiB", and the
    second of each pair in ``strangers``. Raises ValueError."""
    if isinstance(told, dict):
        return {
            name: _strangers(value)
            if name == "strangers"
            else sized(value, name.endswith(("_bytes", "bytes_each")))
            for name, value in told.items()
        }
    if isinstance(told, list):
        return [sized(one, is_size) for one in told]
    return parse_size(told) if is_size and isinstance(told, str) else told


def _strangers(told: Any) -> Any:
    if not isinstance(told, list):
        return told
    return [
        [*one[:1], *sized(one[1:], is_size=True)] if isinstance(one, list) else one for one in told
    ]


def _problem(workload: Workload) -> str | None:
    """What no type says."""
    if not workload.cards:
        return "it has no cards"
    if (workload.drawn is None) == (not workload.trials):
        return "it needs either trials or drawn"
    if workload.n_trials < 1:
        return "it has no trials"
    names = [card.name for card in workload.cards if card.name]
    if len(set(names)) < len(names):
        return "two cards have the same name"
    return _wrong_numbers(workload)


def _wrong_numbers(workload: Workload) -> str | None:
    for card in workload.cards:
        times = [at_s for at_s, _ in card.strangers]
        if card.total_bytes <= 0 or times != sorted(times):
            return "a card needs a size, and its strangers in order of time"
    for job in workload.trials:
        shares = [share for share, _ in job.curve]
        if job.duration_s <= 0 or job.peak_bytes < 0 or shares != sorted(shares):
            return "a trial needs a duration, and its curve in order"
        if not _are_shares([job.use, *(part for _, part in job.curve)]):
            return "use and the curve's second numbers are shares, from 0 to 1"
    drawn = workload.drawn
    if drawn is not None and (min(drawn.duration_s) <= 0 or min(drawn.peak_bytes) < 0):
        return "drawn durations and peaks must be above 0"
    if drawn is not None and any(one.log and one.low <= 0 for one in drawn.params.values()):
        return "a parameter with log must be above 0"
    return None


def _are_shares(numbers: Sequence[float]) -> bool:
    return all(0 <= one <= 1 for one in numbers)
