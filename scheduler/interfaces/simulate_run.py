"""A run as something to simulate: its own trials again, with what was seen of them.

What nobody has seen is assumed, and each assumption is said.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Sequence
from random import Random
from statistics import median
from typing import TYPE_CHECKING, Any

import msgspec

from scheduler.core.model import Run
from scheduler.interfaces.errors import BadInput, Failed
from scheduler.interfaces.known import begun_run
from scheduler.interfaces.simulate_input import PAIRS, Subject
from scheduler.machine import peaks
from scheduler.machine.budgets import budget_for, look_here
from scheduler.machine.chronicle.timeline import Moment, read_moments
from scheduler.machine.cores import usable_cores
from scheduler.machine.runs import FINAL, RunSpec, RunStatus
from scheduler.machine.sizes import format_size
from scheduler.machine.state import StateFolder
from scheduler.simulate.contention import fitted
from scheduler.simulate.workload import CardSpec, Job, unpruned

if TYPE_CHECKING:
    from scheduler.study.reading.trials import TrialRow

RECENT = 500  #: trials that are drawn from: samplers change what a trial takes
BEYOND = 1.25  #: what ran out of memory is taken to need so much more
RAMP_SHARE, RAMP_S = 0.1, 60.0
_OUTCOMES = {"complete": "complete", "pruned": "pruned", "failed": "failed", "too big": "complete"}


def read_run(state: StateFolder, name: str, use: float) -> Subject:
    """*use*: of the device's computing, by each trial. Raises BadInput, Failed."""
    folder, spec, status = begun_run(state, name)
    rows = _rows(folder, spec, status)
    ended_s = status.updated_at_s if status.state in FINAL else time.time()
    moments = list(read_moments(state.path, spec.created_at_s, ended_s))
    with_peaks: list[peaks.Peak] = []
    with contextlib.suppress(OSError):
        with_peaks = peaks.read(folder)
    jobs, said = jobs_of(rows, with_peaks, _held(moments, name), use)
    if not jobs:
        raise BadInput(f"run {name} has no finished trial to go by yet")
    cards, of_cards = cards_of(moments, spec.run)
    return Subject(
        name=f"run {name}",
        cards=cards,
        run=msgspec.structs.replace(spec.run, device=None),
        n_trials=_count(status, len(rows)),
        draw=_Drawn(jobs),
        known=tuple(with_peaks[-RECENT:]),
        assumed=(*said, *of_cards, PAIRS),
    )


def _rows(folder: Any, spec: RunSpec, status: RunStatus) -> list[TrialRow]:
    from scheduler.study.reading.trials import Unreachable, read_trials  # Optuna: most of a second

    try:
        rows = read_trials(folder, spec, status)
    except Unreachable as error:
        raise Failed(f"run {spec.run.id}: {error}") from None
    return [row for row in rows if row.state in _OUTCOMES and (row.duration_s or 0) > 0][-RECENT:]


def _count(status: RunStatus, over: int) -> int:
    """The trials that it has left, or all of it again where it is over."""
    done = status.complete + status.pruned + status.failed + status.capacity
    is_over = status.state in FINAL and status.state != "interrupted"
    if is_over or status.n_trials is None or status.n_trials <= done:
        return max(1, done or over)
    return status.n_trials - done


class _Drawn:
    """Trials drawn from those there were, each as likely."""

    def __init__(self, jobs: Sequence[Job]) -> None:
        self.jobs = jobs

    def __call__(self, count: int, seed: int, pruning: bool) -> Sequence[Job]:
        jobs = self.jobs if pruning else unpruned(self.jobs, seed)
        return Random(seed).choices(jobs, k=count)


# -- trials --------------------------------------------------------------------------------------


def jobs_of(
    rows: Sequence[TrialRow], seen: Sequence[peaks.Peak], held: Sequence[int], use: float
) -> tuple[list[Job], list[str]]:
    """The trials, and what is assumed of them. *held*: peaks of attempts that nobody can match to
    a trial, for those of which nothing better is known."""
    by_params = {_params(peak.params): peak for peak in seen}
    known = [peak.bytes for peak in seen if not peak.ran_out] or list(held)
    if not known:
        return [], []
    typical_s = median([row.duration_s or 0.0 for row in rows if row.state == "complete"] or [0.0])
    jobs, matched = [], 0
    for number, row in enumerate(rows):
        peak = by_params.get(_params(row.params))
        matched += peak is not None
        size = known[number % len(known)] if peak is None else _needed(peak)
        took_s = _alone_s(row, rows, use)
        duration_s = max(took_s, typical_s) if row.state == "too big" else took_s
        jobs.append(
            Job(
                peak_bytes=size,
                duration_s=duration_s,
                params={} if peak is None else peak.params,
                ramp_s=min(RAMP_S, RAMP_SHARE * duration_s),
                use=use,
                outcome=_OUTCOMES[row.state],  # type: ignore[arg-type]
            )
        )
    return jobs, list(_said(matched, len(jobs), use))


def _said(matched: int, count: int, use: float) -> Iterator[str]:
    yield f"trials are drawn from the last {count} that are over, each as likely"
    if matched < count:
        yield f"the peak of {count - matched} of them is not known: each has that of some other"
    yield f"each is at its peak after a tenth of its time, {RAMP_S:.0f} s at most"
    yield (
        f"alone, each would use {use:.0%} of the device's computing (--use), so those that had "
        "company would have been faster alone"
    )


def _needed(peak: peaks.Peak) -> int:
    return int(peak.bytes * BEYOND) if peak.ran_out else peak.bytes


def _params(params: dict[str, Any]) -> tuple[tuple[str, str], ...]:
    plain = (bool, int, float, str, type(None))
    return tuple(sorted((k, repr(v)) for k, v in params.items() if isinstance(v, plain)))


def _alone_s(row: TrialRow, rows: Sequence[TrialRow], use: float) -> float:
    """What it would have taken without its company, by the formula for pairs."""
    took_s = row.duration_s or 0.0
    if row.started_at_s is None:
        return took_s
    company = 1.0 + sum(_overlap_s(row, other) for other in rows if other is not row) / took_s
    below = int(company)
    share = company - below
    speed = (1 - share) * _speed(below, use) + share * _speed(below + 1, use)
    return took_s * speed


def _speed(count: int, use: float) -> float:
    return fitted(count, count * use) / count


def _overlap_s(one: TrialRow, other: TrialRow) -> float:
    if one.started_at_s is None or other.started_at_s is None:
        return 0.0
    end_s = min(
        one.started_at_s + (one.duration_s or 0.0), other.started_at_s + (other.duration_s or 0.0)
    )
    return max(0.0, end_s - max(one.started_at_s, other.started_at_s))


# -- devices -------------------------------------------------------------------------------------


def _held(moments: Sequence[Moment], run: str) -> list[int]:
    """The most that each attempt of the run was seen to hold, of those that held anything."""
    most: dict[str, int] = {}
    for moment in moments:
        for part in moment.attempts:
            if part.attempt.startswith(f"{run}/") and part.held_bytes:
                most[part.attempt] = max(most.get(part.attempt, 0), part.held_bytes)
    return list(most.values())


def cards_of(moments: Sequence[Moment], run: Run) -> tuple[tuple[CardSpec, ...], list[str]]:
    """The devices that the run was seen on, or else this machine's, and what is assumed of them."""
    by_key: dict[str, list[Moment]] = {}
    for moment in moments:
        if moment.total_bytes and any(
            part.attempt.startswith(f"{run.id}/") for part in moment.attempts
        ):
            by_key.setdefault(moment.device, []).append(moment)
    if not by_key:
        here = [one for one in look_here().budgets if one.is_for(run) and one.device.total_bytes]
        cards = tuple(_card(budget.device.key, budget.device.total_bytes or 0) for budget in here)
        if not cards:
            raise BadInput("no device is known that the run could use; name one: --card 16GiB")
        return cards, ["it runs on this machine's devices, with nobody else there"]
    said = []
    cards = tuple(_seen_card(key, seen) for key, seen in by_key.items())
    for card in cards:
        others = format_size(card.strangers[0][1])
        said.append(f"others hold {others} of {card.name} all the time, as they did in the middle")
    return cards, said


def _seen_card(key: str, seen: Sequence[Moment]) -> CardSpec:
    others = [one.strangers_bytes for one in seen if one.strangers_bytes is not None]
    strangers = int(median(others)) if others else 0
    card = _card(key, seen[-1].total_bytes or 0)
    reserve = seen[-1].reserve_bytes
    return msgspec.structs.replace(card, reserve_bytes=reserve, strangers=((0.0, strangers),))


def _card(key: str, total_bytes: int) -> CardSpec:
    """With this machine's defaults for it."""
    bare = CardSpec(name=key, kind="host" if key == "host" else "amd", total_bytes=total_bytes)
    budget = budget_for(bare.card(0).budget.device, usable_cores())
    return msgspec.structs.replace(
        bare,
        reserve_bytes=budget.reserve_bytes,
        promise_bytes=budget.promise_bytes,
        max_attempts=budget.max_attempts,
    )
