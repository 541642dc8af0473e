"""What a run under fire has left behind, and whether it is as it should be. Pure; one reads.

Objectives and callbacks append a line each to one file: what happened, when, in which process. The
study says what became of the trials, the killer whom it has killed.
"""

from __future__ import annotations

import itertools
import statistics
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal, NamedTuple

from optuna.trial import FrozenTrial, TrialState

from scheduler.core.model import Process
from scheduler.study.keeping.record import HISTORY, MARK, PUT_BACK

Kind = Literal["daemon", "host", "attempt"]

#: An end is laid to a kill of the attempt or its host at most so long after its last line: the
#: steps of the objective are shorter, and a busy machine is slower.
KILLED_WITHIN_S = 3.0
TRIES_AFTER_KILLS = 5  #: documented: then a trial that is killed again has failed


class Kill(NamedTuple):
    at_s: float  #: unix time, as all here
    kind: Kind
    process: Process


class Recovery(NamedTuple):
    """A daemon's death, and when the next one could admit again."""

    killed_at_s: float
    ready_at_s: float
    alone: bool  #: no other daemon or host was killed meanwhile, and all was well before

    @property
    def lost_s(self) -> float:
        return self.ready_at_s - self.killed_at_s


class Note(NamedTuple):
    """A line of the file. *what*: began, report, finish, pruned; told, by the host's callback."""

    at_s: float
    what: str
    number: int  #: Optuna's
    process: Process
    value: float | None = None


class Law(NamedTuple):
    name: str
    value: float
    wanted: str
    holds: bool


def none_of(name: str, wrong: Sequence[object]) -> Law:
    """That there is nothing like *wrong*; what there is of it is in the name."""
    seen = f" ({', '.join(map(str, wrong[:5]))})" if wrong else ""
    return Law(name + seen, len(wrong), "0", not wrong)


def read_notes(path: Path) -> list[Note]:
    notes = []
    for line in path.read_text().splitlines():
        at_s, what, number, pid, ticks, *value = line.split()
        process = Process(pid=int(pid), started_ticks=int(ticks))
        notes.append(Note(float(at_s), what, int(number), process, *map(float, value)))
    return notes


# -- trials ----------------------------------------------------------------------------------------


def trials_of(study: Sequence[FrozenTrial]) -> dict[int, list[FrozenTrial]]:
    """The attempts of each trial of ours, by its number in the run."""
    found: dict[int, list[FrozenTrial]] = defaultdict(list)
    for frozen in study:
        found[frozen.system_attrs[MARK]["trial"]["number"]].append(frozen)
    return found


def outcome_laws(study: Sequence[FrozenTrial], asked: int, enqueued: Sequence[float]) -> list[Law]:
    """Every trial has one final state, none is lost, each that was enqueued ran once."""
    trials = trials_of(study)
    finals = {n: [t for t in all_ if PUT_BACK not in t.system_attrs] for n, all_ in trials.items()}
    once = [n for n, ends in finals.items() if len(ends) == 1 and ends[0].state.is_finished()]
    others = sorted({*range(asked), *finals} - set(once))
    failed = [t for ends in finals.values() for t in ends if t.state == TrialState.FAIL]
    silent = [t.number for t in failed if not _has_been_tried_enough(t)]
    drawn = Counter(ends[0].params.get("x") for ends in finals.values() if ends)
    return [
        Law("trials with one final state", len(once), f"{asked}", len(once) == asked),
        none_of("trials lost, or with several", others),
        none_of("attempts left unfinished", [t.number for t in study if not t.state.is_finished()]),
        none_of("put back without another attempt", _without_clone(study)),
        none_of("come back with other parameters", _changed(study)),
        none_of("failed before their fifth kill", silent),
        none_of("enqueued, and not run once", [x for x in enqueued if drawn[x] != 1]),
    ]


def _has_been_tried_enough(final: FrozenTrial) -> bool:
    return int(final.system_attrs[MARK]["trial"]["unexplained"]) >= TRIES_AFTER_KILLS


def _without_clone(study: Sequence[FrozenTrial]) -> list[int]:
    """Attempts that were put back and have not exactly one that names them as the last before."""
    followed = Counter(t.system_attrs[HISTORY][-1] for t in study if HISTORY in t.system_attrs)
    return [t.number for t in study if PUT_BACK in t.system_attrs and followed[t.number] != 1]


def _changed(study: Sequence[FrozenTrial]) -> list[int]:
    """Attempts that do not have what the one before had drawn when it was killed."""
    by_number = {trial.number: trial for trial in study}
    return [
        trial.number
        for trial in study
        if HISTORY in trial.system_attrs
        and by_number[trial.system_attrs[HISTORY][-1]].params.items() - trial.params.items()
    ]


def telling_laws(study: Sequence[FrozenTrial], notes: Sequence[Note], host_kills: int) -> list[Law]:
    """No callback twice; values are those that the objective returned.

    A host that is killed between telling its study and the callback does not come to the latter,
    as with plain Optuna.
    """
    told = Counter(note.number for note in notes if note.what == "told")
    returned = {note.number: note.value for note in notes if note.what == "finish"}
    complete = [t for t in study if t.state == TrialState.COMPLETE]
    final = [t for t in study if PUT_BACK not in t.system_attrs]
    unheard = [t.number for t in final if not told[t.number]]
    back = [t.number for t in study if PUT_BACK in t.system_attrs and told[t.number]]
    return [
        none_of("told twice", [number for number, times in told.items() if times > 1]),
        none_of("told, and put back all the same", back),
        none_of("complete with another value", [
            t.number for t in complete if returned.get(t.number) != t.value
        ]),
        Law(
            "callbacks that a killed host did not come to",
            len(unheard),
            f"at most {host_kills}",
            len(unheard) <= host_kills,
        ),
    ]  # fmt: skip


# -- processes -------------------------------------------------------------------------------------


class Life(NamedTuple):
    """An attempt's lines in their order."""

    number: int
    process: Process
    notes: tuple[Note, ...]

    @property
    def began_s(self) -> float:
        return self.notes[0].at_s

    @property
    def last_s(self) -> float:
        return self.notes[-1].at_s

    @property
    def came_to_its_end(self) -> bool:
        return self.notes[-1].what in ("finish", "pruned")

    def gap_around(self, at_s: float) -> float | None:
        """Seconds without a line around *at_s*; None: it did not run then, as far as is known."""
        after = next((n for n, note in enumerate(self.notes) if note.at_s > at_s), 0)
        return self.notes[after].at_s - self.notes[after - 1].at_s if after else None

    def gaps(self) -> Iterator[tuple[float, float]]:
        """When each began, and how long it was."""
        for before, after in itertools.pairwise(self.notes):
            yield before.at_s, after.at_s - before.at_s


def lives_of(notes: Sequence[Note]) -> list[Life]:
    of: dict[tuple[int, Process], list[Note]] = defaultdict(list)
    for note in notes:
        if note.what != "told":
            of[note.number, note.process].append(note)
    return [Life(number, process, tuple(said)) for (number, process), said in of.items()]


def life_laws(
    study: Sequence[FrozenTrial], lives: Sequence[Life], kills: Sequence[Kill]
) -> list[Law]:
    """No attempt ends but by its own doing or by a kill that was for it or its host, and no trial
    has two at once."""
    unkilled = [life.number for life in lives if not _is_explained(life, kills)]
    by_number = {life.number: life for life in lives}
    twice = [life.number for life in lives if by_number[life.number] is not life]
    at_once = [
        life.number
        for attempts in trials_of(study).values()
        for former, life in itertools.pairwise(
            by_number[t.number] for t in attempts if t.number in by_number
        )
        if life.began_s < former.last_s
    ]
    return [
        none_of("attempts that ended without a kill of theirs", unkilled),
        none_of("attempts in two processes", twice),
        none_of("trials with two attempts at once", at_once),
    ]


def _is_explained(life: Life, kills: Sequence[Kill]) -> bool:
    return life.came_to_its_end or any(
        -KILLED_WITHIN_S < kill.at_s - life.last_s < KILLED_WITHIN_S
        for kill in kills
        if kill.kind == "host" or kill.process == life.process
    )


class Training(NamedTuple):
    """Seconds between two lines of one attempt."""

    usual_s: list[float]  #: while nobody was killed
    across_s: list[float]  #: around a daemon's death


def training_of(lives: Sequence[Life], kills: Sequence[Kill]) -> Training:
    daemons = [kill.at_s for kill in kills if kill.kind == "daemon"]
    across = [gap for at_s in daemons for one in lives if (gap := one.gap_around(at_s)) is not None]
    quiet = [
        gap_s
        for life in lives
        for at_s, gap_s in life.gaps()
        if not any(at_s - KILLED_WITHIN_S < kill.at_s < at_s + gap_s for kill in kills)
    ]
    return Training(quiet, across)


def training_laws(training: Training) -> list[Law]:
    """None where nobody trained while a daemon died, as in a short run."""
    if not training.across_s:
        return []
    usual_s = statistics.median(training.usual_s)
    middle_s = statistics.median(training.across_s)
    most_s, usual_most_s = max(training.across_s), max(training.usual_s)
    return [
        Law(
            "report to report across a daemon's death, median, as parts of the usual",
            middle_s / usual_s,
            "at most 1.5",
            middle_s <= 1.5 * usual_s,
        ),
        Law(
            "the longest of them, s",
            most_s,
            f"at most twice the longest of the usual, {usual_most_s:.2g}",
            most_s <= 2 * usual_most_s,
        ),
    ]


def admission_laws(recoveries: Sequence[Recovery]) -> list[Law]:
    """None where each daemon died together with something else, as may be in a short run."""
    lost = [one.lost_s for one in recoveries if one.alone]
    if not lost:
        return []
    name = f"admissions held by a daemon's death (of {len(lost)})"
    middle_s, most_s = statistics.median(lost), max(lost)
    return [
        Law(f"{name}, median, s", middle_s, "under 2", middle_s < 2),
        Law(f"{name}, longest, s", most_s, "under 2", most_s < 2),
    ]
