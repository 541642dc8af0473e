"""Which settings are to be tried first: chosen once, written down in the study, enqueued there."""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass
from typing import Any

import msgspec
import optuna
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from scheduler.strategies.asked import WarmStartAsked
from scheduler.strategies.warm_start import Setting, distinct, same
from scheduler.study import inside
from scheduler.study.keeping.kept import keep, kept
from scheduler.study.keeping.record import FIXED, KNOWN, PUT_BACK, WARM, WITHDRAWN, Record
from scheduler.study.reading.earlier import read_study


class Unlike(Exception):
    """The earlier study wants something else. Takes a sentence."""


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """``tried``: how many more were asked for that the study had tried before."""

    settings: tuple[Setting, ...]
    tried: int = 0


@dataclass(frozen=True)
class Source:
    """The earlier study. ``id`` tells it from others of its name, without its address."""

    name: str
    id: str
    trials: list[FrozenTrial]
    directions: tuple[StudyDirection, ...]

    @classmethod
    def read(cls, study: optuna.Study, asked: WarmStartAsked) -> Source | None:
        """None: none is asked for. Raises Unreachable; Unlike, as the best of a study that
        minimizes are the worst of one that maximizes."""
        if asked.storage is None or asked.study_name is None:
            return None
        name = asked.study_name
        trials, directions = read_study(asked.storage, name)
        if directions != tuple(study.directions):
            there, here = _directions(directions), _directions(study.directions)
            raise Unlike(f"study {name} is to {there}, this one to {here}: its best are not ours")
        address = hashlib.sha256(f"{asked.storage}\n{name}".encode()).hexdigest()[:12]
        return cls(name, address, trials, directions)

    def best(self, count: int) -> list[Setting]:
        """The best *count* that differ, those that ran to their end."""
        ended = [t for t in self.trials if t.state == TrialState.COMPLETE and _is_ranked(t)]
        ranked = (ended[index] for index in inside.best_first(ended, self.directions))
        found: list[Setting] = []
        for trial in ranked:
            if len(found) == count:
                break
            source = f"trial {trial.number} of study {self.name}"
            one = Setting(params=trial.params, source=source, is_loose=True)
            found = distinct([*found, one])
        return found


def _is_ranked(trial: FrozenTrial) -> bool:
    return bool(trial.params) and all(map(math.isfinite, trial.values))


def _directions(directions: Any) -> str:
    return " and ".join(one.name.lower() for one in directions)


# -- the plan --------------------------------------------------------------------------------------


def planned(study: optuna.Study, run: str) -> Plan | None:
    """What an earlier life, or an earlier call, has decided on."""
    return kept(study, f"{WARM}:{run}", Plan)


def plan(study: optuna.Study, asked: WarmStartAsked, source: Source | None) -> Plan:
    """What is asked for, without what the study has tried, tries or has waiting."""
    sources = asked.sources or ("",) * len(asked.params)
    named = [
        Setting(params=params, source=where or f"setting {number}")
        for number, (params, where) in enumerate(zip(asked.params, sources, strict=True), 1)
    ]
    all_of_them = distinct([*named, *(source.best(asked.top) if source is not None else ())])
    here = [tried for trial in study.get_trials(deepcopy=False) for tried in _tried(trial)]
    new = [one for one in all_of_them if not any(same(one.params, tried) for tried in here)]
    return Plan(settings=tuple(new), tried=len(all_of_them) - len(new))


def _tried(trial: FrozenTrial) -> list[dict[str, Any]]:
    """What *trial* was to try and what it tried. A failure is no result, nor is another study's."""
    attrs = trial.system_attrs
    if trial.state == TrialState.FAIL or KNOWN in attrs or WITHDRAWN in attrs:
        return []
    return [attrs[FIXED], trial.params] if FIXED in attrs else [trial.params]


def write_plan(study: optuna.Study, run: str, decided: Plan) -> None:
    keep(study, f"{WARM}:{run}", decided)


def enqueue(record: Record, decided: Plan) -> None:
    """Those that are not in the study yet: a kill may have come between any two of them."""
    study = record.study
    marks = [
        trial.system_attrs[WARM]
        for trial in study.get_trials(deepcopy=False)
        # One that was put back has a clone, and it is the clone that may be withdrawn.
        if WARM in trial.system_attrs and not {WITHDRAWN, PUT_BACK} & trial.system_attrs.keys()
    ]
    there = {mark["nth"] for mark in marks if mark["run"] == record.run}
    for nth, one in enumerate(decided.settings):
        if nth in there:
            continue
        mark = {"run": record.run, "nth": nth, "source": one.source, "loose": one.is_loose}
        waiting = optuna.trial.create_trial(
            state=TrialState.WAITING, system_attrs={FIXED: one.params, WARM: mark}
        )
        inside.storage_of(study).create_new_trial(inside.study_id_of(study), waiting)
