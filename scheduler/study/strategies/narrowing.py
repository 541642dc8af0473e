"""Ranges narrowed to where the best trials lie: the script's own sampler draws from less.

What holds is in the study, as ``scheduler:ranges:RUN:LINE``; how each trial was drawn is on the
trial (``narrowed``). So a resumed run goes on with both.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial

import msgspec
from optuna.trial import FrozenTrial, TrialState

from scheduler.strategies import wins
from scheduler.strategies.ranges import (
    TRIALS_LEAST,
    Limits,
    Range,
    Row,
    Side,
    limits_of,
    narrowed,
    table,
    widened,
)
from scheduler.strategies.shown import RangesShown
from scheduler.strategies.wins import Drawn
from scheduler.study import inside
from scheduler.study.keeping.kept import keep, kept
from scheduler.study.keeping.record import CAPACITY
from scheduler.study.reading.trials import Unreachable
from scheduler.study.strategies.narrowed import FULL, VERSION, NarrowedSampler
from scheduler.study.strategies.plain import range_of, seen, value_of
from scheduler.study.strategies.scene import Scene
from scheduler.study.strategies.tables import (
    Kept,
    SeveralObjectives,
    read_table,
    said,
    why_none,
)

OWN_TRIALS = 20  #: complete ones of this study, after which it narrows by itself
UNKNOWN_AFTER = 5  #: complete trials without a parameter, and it is said that there is none


class Narrowing:
    def __init__(self, scene: Scene) -> None:
        self._scene = scene
        self._asked = scene.asked.ranges
        self._key = f"scheduler:ranges:{scene.record.run}:{scene.record.line}"
        self._sampler: NarrowedSampler | None = None
        self._kept: Kept | None = None
        self._drawn: list[Drawn] = []
        self._ranges: dict[str, Range] = {}  #: the script's own, as last suggested
        self._complete = 0  #: of the study
        self._wait_for = OWN_TRIALS

    # -- the call ----------------------------------------------------------------------------------

    def begin(self) -> None:
        """The call begins: the study's sampler is wrapped where ranges are asked for."""
        self._kept = kept(self._scene.study, self._key, Kept)
        if self._kept is None and not self._asked.use:
            return
        if (why := self._why_not()) is not None:
            self._scene.board.warn(f"ranges are not narrowed: {why}")
            return
        self._start()
        if self._kept is None:
            self._narrow_by_what_is_known()

    def finished(self, trial: FrozenTrial) -> None:
        """A trial has come to its final state."""
        if self._sampler is None:
            return
        self._take(trial)
        if self._kept is None:
            if self._complete >= self._wait_for:
                self._wait_for = 2 * self._complete
                self._narrow_by_own()
        elif self._kept.is_on:
            self._say_what_is_wrong()
            if not self._scene.changes.is_fixed("ranges"):
                self._decide()
        self._show()

    def end(self) -> None:
        """The call ends: the script's own sampler is put back."""
        study = self._scene.study
        if self._sampler is not None and study.sampler is self._sampler:
            study.sampler = self._sampler.own

    def set(self, value: str) -> None:
        """``on``: as they were narrowed first; ``off``. Raises ValueError with a sentence."""
        if value not in ("on", "off"):
            raise ValueError("say on or off")
        if self._scene.changes.is_again and self._kept is not None:
            return  # what holds is in the study, and so is what came after
        if value == "off":
            if self._kept is not None and self._kept.is_on:
                self._undo("set by you", "", by_you=True)
            return
        if self._sampler is None:
            if (why := self._why_not()) is not None:
                raise ValueError(why)
            self._start()
        if self._kept is None:
            self._narrow_by_what_is_known()
            if self._kept is None:
                raise ValueError(f"that takes {self._wait_for} complete trials, and begins then")
        elif not self._kept.is_on or self._kept.limits != self._kept.first:
            before = "on" if self._kept.is_on else "off"
            self._drawn = []  # what spoke against it before, its user knows
            new = {"is_on": True, "limits": self._kept.first, "since": self._kept.version}
            self._hold(msgspec.structs.replace(self._kept, **new))
            self._scene.changes.record("ranges", before, "on", "", by="you")
        self._show()

    def _why_not(self) -> str | None:
        if not self._scene.is_single:
            return "the study has several objectives"
        sampler = self._scene.study.sampler
        if isinstance(sampler, inside.ENUMERATES):
            return f"{type(sampler).__name__} goes through a list of its own"
        return None

    def _start(self) -> None:
        """The sampler is wrapped, and what earlier lives have seen is taken up."""
        study = self._scene.study
        self._sampler = study.sampler = NarrowedSampler(study.sampler)
        for trial in study.get_trials(deepcopy=False):
            self._learn(trial)
        self._drawn = [
            one for trial, _ in self._scene.record.ours() if (one := self._as_drawn(trial))
        ]
        if self._kept is not None:
            self._apply(self._kept)
        self._show()

    # -- what to narrow to -------------------------------------------------------------------------

    def _narrow_by_what_is_known(self) -> None:
        """A file, else the study that the run starts from, else what this one has seen before."""
        warm = self._scene.asked.warm_start
        if self._asked.table:
            limits = msgspec.convert(self._asked.table, dict[str, Limits])
            self._narrow(limits, "as given", is_own=False)
        elif warm.storage is not None and warm.study_name is not None:
            self._narrow_by_study(warm.storage, warm.study_name)
        elif self._complete >= TRIALS_LEAST:
            self._narrow_by_own()

    def _narrow_by_study(self, url: str, name: str) -> None:
        try:
            count, rows = read_table(url, name)
        except Unreachable as error:
            self._scene.board.warn(f"ranges are not narrowed: {error}")
        except SeveralObjectives:
            self._scene.board.warn(f"ranges are not narrowed: {name} has several objectives")
        else:
            self._narrow_by_table(rows, count, f"study {name}", is_own=False)

    def _narrow_by_own(self) -> None:
        known = seen(self._scene.study.get_trials(deepcopy=False), self._scene.sign)
        self._narrow_by_table(table(known), len(known), "this study", is_own=True)

    def _narrow_by_table(self, rows: Sequence[Row], count: int, of: str, *, is_own: bool) -> None:
        limits = limits_of(rows)
        if limits:
            source = f"the best quarter of {count} trials of {of}"
            self._narrow(limits, source, is_own=is_own)
        elif not is_own:
            self._scene.board.warn(f"ranges are not narrowed by {of}: {why_none(rows)}")

    def _narrow(self, limits: Mapping[str, Limits], source: str, *, is_own: bool) -> None:
        assert self._sampler is not None
        fixed = inside.fixed_by(self._sampler.own)
        limits = {k: v for k, v in limits.items() if fixed is None or k not in fixed[0]}
        self._hold(
            Kept(version=0, is_on=True, source=source, is_own=is_own, first=limits, limits=limits),
            keeps_own=not self._scene.earlier and not self._complete,
        )
        self._scene.changes.record(
            "ranges", "off", "on", source, evidence="; ".join(map(said, limits, limits.values()))
        )

    # -- what holds --------------------------------------------------------------------------------

    def _hold(self, kept: Kept, *, keeps_own: bool = False) -> None:
        """From now on, and in later lives. Written first: a trial is never drawn by what is lost
        with a kill."""
        kept = msgspec.structs.replace(kept, version=kept.version + 1)
        keep(self._scene.study, self._key, kept)
        self._kept = kept
        self._apply(kept, keeps_own=keeps_own)

    def _apply(self, kept: Kept, *, keeps_own: bool = False) -> None:
        assert self._sampler is not None
        self._choose(kept)
        limits = kept.limits if kept.is_on else {}
        self._sampler.narrow(kept.version, limits, keeps_own=keeps_own)

    def _choose(self, kept: Kept) -> None:
        """How many of the next trials use the full ranges."""
        assert self._sampler is not None
        proven = kept.is_own or self._scene.changes.is_fixed("ranges")
        share = wins.share_now(self._drawn, self._asked.full_share, proven=proven)
        self._sampler.chooses = partial(self._is_full, share=share)

    def _is_full(self, number: int, share: float) -> bool:
        return wins.is_full(self._scene.record.run, number, share)

    def _decide(self) -> None:
        kept = self._kept
        assert kept is not None
        undo = wins.why_undo(self._drawn)
        if undo is not None:
            self._undo(*undo)
            return
        for name, limits in kept.limits.items():
            full = self._ranges.get(name)
            side = None if full is None else wins.edge(self._drawn, name, full, limits)
            if full is not None and side is not None:
                self._widen(name, full, limits, side)
                return
        self._choose(kept)

    def _undo(self, because: str, evidence: str, *, by_you: bool = False) -> None:
        assert self._kept is not None
        self._hold(msgspec.structs.replace(self._kept, is_on=False))
        self._scene.changes.record(
            "ranges", "on", "off", because, evidence=evidence, by="you" if by_you else "scheduler"
        )

    def _widen(self, name: str, full: Range, limits: Limits, side: Side) -> None:
        assert self._kept is not None
        wider = widened(full, limits, side)
        others = {k: v for k, v in self._kept.limits.items() if k != name}
        new = others if wider is None else {**others, name: wider}
        self._hold(msgspec.structs.replace(self._kept, limits=new))
        after = f"on, {name} full again" if wider is None else f"on, {said(name, wider)}"
        because = f"the best trials are at the {side} end of {name}"
        self._scene.changes.record("ranges", "on", after, because, evidence=said(name, limits))

    # -- what the trials say -----------------------------------------------------------------------

    def _learn(self, trial: FrozenTrial) -> None:
        self._complete += trial.state == TrialState.COMPLETE
        self._ranges |= {name: range_of(it) for name, it in trial.distributions.items()}

    def _take(self, trial: FrozenTrial) -> None:
        self._learn(trial)
        one = self._as_drawn(trial)
        if one is not None:
            self._drawn.append(one)

    def _as_drawn(self, trial: FrozenTrial) -> Drawn | None:
        """None: it says nothing, as what did not fit the device does not."""
        attrs = trial.system_attrs
        if trial.state not in (TrialState.COMPLETE, TrialState.PRUNED):
            return None
        since = 0 if self._kept is None else self._kept.since
        if attrs.get(VERSION, 0) <= since or CAPACITY in attrs:
            return None
        value = value_of(trial, self._scene.sign)
        return Drawn(is_full=bool(attrs.get(FULL)), value=value, params=dict(trial.params))

    def _say_what_is_wrong(self) -> None:
        """Of ranges that somebody wrote, or that are another script's."""
        assert self._kept is not None
        for name, limits in self._kept.limits.items():
            full = self._ranges.get(name)
            if full is None:
                if self._complete >= UNKNOWN_AFTER:
                    self._scene.board.warn(f"ranges: no trial has had a parameter {name!r}")
            elif narrowed(full, limits) is None:
                what = f"{said(name, limits)}: nothing of that is in the script's own range"
                self._scene.board.warn(f"ranges: {what}, which is used as it is")

    def _show(self) -> None:
        kept = self._kept
        limits = {} if kept is None or not kept.is_on else kept.limits
        self._scene.board.set(
            ranges=RangesShown(
                state="waiting" if kept is None else "on" if kept.is_on else "off",
                source=None if kept is None else kept.source,
                narrowed=sum(name in self._ranges for name in limits)
                if self._ranges
                else len(limits),
                parameters=len(self._ranges) or len(limits),
                full=sum(one.is_full for one in self._drawn),
                trials=len(self._drawn),
            )
        )
