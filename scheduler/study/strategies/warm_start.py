"""Settings that are tried first, and results that are known before the first trial.

What is to be tried is written into the study as a plan before anything else, so that a resume goes
on with the same even where the earlier study has grown:

    scheduler:warm_start:RUN  {settings: [...], tried: how many the study had tried already}

Each setting is an enqueued trial of Optuna's with a mark (``record.WARM``), behind what the script
itself has enqueued and before all that is drawn. Whether a setting suits the objective shows when
the objective suggests its names: the attempt asks here what to take (``setting``).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import optuna
from optuna.distributions import BaseDistribution
from optuna.trial import FrozenTrial, TrialState

from scheduler.strategies.fitting import Fit, Unfit, fit, unknown_names
from scheduler.strategies.ranges import Range
from scheduler.strategies.shown import WarmStartShown
from scheduler.strategies.warm_start import Setting
from scheduler.study import inside
from scheduler.study.board import best_of
from scheduler.study.keeping.record import CAPACITY, FIXED, KNOWN, PUT_BACK, WARM, WITHDRAWN
from scheduler.study.reading.trials import Unreachable
from scheduler.study.strategies import first_settings
from scheduler.study.strategies.first_settings import Plan, Source
from scheduler.study.strategies.known_results import KnownResults
from scheduler.study.strategies.plain import range_of
from scheduler.study.strategies.scene import Scene


class WarmStart:
    """``wrong``: what of the settings does not suit the objective; it ends the run."""

    def __init__(self, scene: Scene) -> None:
        self._scene = scene
        self._asked = scene.asked.warm_start
        self._plan: Plan | None = None  #: None: nothing is asked of this study
        self._source: Source | None = None
        self._known: KnownResults | None = None
        self._ranges: dict[str, Range] = {}  #: as suggested last, by name
        self._unjudged: dict[int, Setting] = {}  #: that ran, by number: are their names known?
        self._foretold: set[tuple[str, str]] = set()
        self._done = 0
        self.wrong: str | None = None

    # -- before the first trial --------------------------------------------------------------------

    def begin(self) -> None:
        """The call begins: what is to be tried first waits in the study, once and for all lives."""
        if not self._asked.params and self._asked.storage is None:
            return
        scene = self._scene
        self._plan = first_settings.planned(scene.study, scene.record.run)
        is_new = self._plan is None
        if is_new and scene.record.line > 0:
            return  # another study of the same script: what is known is not of that one
        try:
            self._source = Source.read(scene.study, self._asked)
            self._plan = self._plan or first_settings.plan(scene.study, self._asked, self._source)
        except (Unreachable, first_settings.Unlike) as error:
            self._unreadable(str(error))
        if self._plan is None:
            return
        if is_new:
            self._say_what_does_not_fit(self._plan)
            first_settings.write_plan(scene.study, scene.record.run, self._plan)
        trials = scene.study.get_trials(deepcopy=False)
        self._take_in(trials)
        self._check_kinds(self._ranges, foretells=False)  # the script may have changed since
        if self.wrong is None:
            first_settings.enqueue(scene.record, self._plan)
        if self._source is not None and self._asked.known_results:
            source = self._source
            self._known = KnownResults(scene.study, source.id, source.name, source.trials)
            for trial in trials:
                self._show_to_known(trial)
        self._show()

    def _unreadable(self, because: str) -> None:
        """Of a run that goes on, the settings are in its plan; only results may be missing."""
        if self._plan is None:
            self.wrong = because
        elif self._asked.known_results:
            self._scene.board.warn(f"known results: {because}")

    def _say_what_does_not_fit(self, plan: Plan) -> None:
        quota = self._scene.quota.n_trials
        if quota is not None and len(plan.settings) > quota:
            self._scene.board.warn(
                f"{len(plan.settings)} settings are to be tried first, and there are {quota} trials"
            )

    def _take_in(self, trials: Iterable[FrozenTrial]) -> None:
        """What the study's trials show: its space, and which settings are done."""
        space: dict[str, BaseDistribution] = {}
        for trial in trials:
            if KNOWN not in trial.system_attrs:
                space |= trial.distributions
            if self._nth(trial) is None:
                continue
            if WITHDRAWN in trial.system_attrs and not trial.state.is_finished():
                self._scene.record.end_withdrawn(trial)  # a kill came before that
            self._count(trial)
        self._ranges = {name: range_of(it) for name, it in space.items()}

    # -- while trials run --------------------------------------------------------------------------

    def suggested(
        self, asked: optuna.Trial, name: str, value: Any, distribution: BaseDistribution
    ) -> None:
        """An attempt has suggested *name*, from *distribution*, and got *value* (external)."""
        if self._plan is None:
            return
        found = range_of(distribution)
        if self._ranges.get(name) != found:
            self._ranges[name] = found
            self._check_kinds({name: found})

    def _check_kinds(self, ranges: dict[str, Range], *, foretells: bool = True) -> None:
        """What no range of a parameter would take is wrong as soon as one is known. A range itself
        may depend on the trial, so there each trial's own counts."""
        for setting in self._plan.settings if self._plan is not None else ():
            for name, full in ranges.items():
                if name not in setting.params or setting.is_loose:
                    continue
                found = fit(name, setting.params[name], full)
                if isinstance(found, Unfit) and found.is_kind:
                    self._refuse(setting, found.problem)
                elif isinstance(found, Unfit) and foretells:
                    self._foretell(setting, name, found.problem)

    def _foretell(self, setting: Setting, name: str, problem: str) -> None:
        if (setting.source, name) not in self._foretold:
            self._foretold.add((setting.source, name))
            when = "it ends the run when its turn comes, if the range is the same then"
            self._scene.board.say(f"scheduler: {setting.source}: {problem}; {when}")

    def setting(
        self, asked: optuna.Trial, name: str, distribution: BaseDistribution
    ) -> tuple[Any] | None:
        """What a trial with a setting is to take for *name*; None: what is drawn.

        Raises ValueError where the setting is wrong: the attempt ends with it.
        """
        trial = inside.live_record(asked)
        mark, value = trial.system_attrs[WARM], trial.system_attrs[FIXED][name]
        found = fit(name, value, range_of(distribution))
        if isinstance(found, Fit):
            return (found.value,)
        if mark["loose"]:
            return self._loosely(mark["source"], found)
        setting = Setting(params={}, source=mark["source"])
        self._refuse(setting, found.problem)
        self._scene.record.withdraw(inside.trial_id_of(asked), self.wrong or found.problem)
        raise ValueError(f"{setting.source}: {found.problem}")

    def _loosely(self, source: str, found: Unfit) -> tuple[Any] | None:
        instead = "is drawn" if found.nearest is None else f"{found.nearest} is taken"
        self._scene.board.warn(f"{source}: {found.problem}; {instead} instead")
        return None if found.nearest is None else (found.nearest,)

    def _refuse(self, setting: Setting, problem: str) -> None:
        self.wrong = self.wrong or f"{setting.source}: {problem}"

    # -- when trials end ---------------------------------------------------------------------------

    def finished(self, trial: FrozenTrial) -> None:
        """A trial has come to its final state."""
        if self._plan is None:
            return
        self._count(trial)
        if trial.state == TrialState.COMPLETE:
            self._judge_names()
        self._show_to_known(trial)
        self._say_what_is_unlike(trial)
        self._show()

    def _nth(self, trial: FrozenTrial) -> int | None:
        """Which setting of this run's plan it is."""
        mark = trial.system_attrs.get(WARM)
        is_ours = mark is not None and mark["run"] == self._scene.record.run
        return int(mark["nth"]) if mark is not None and is_ours else None

    def _count(self, trial: FrozenTrial) -> None:
        nth = self._nth(trial)
        if nth is None or self._plan is None or not trial.state.is_finished():
            return
        if PUT_BACK in trial.system_attrs or WITHDRAWN in trial.system_attrs:
            return
        self._done += 1
        if trial.state != TrialState.FAIL and CAPACITY not in trial.system_attrs:
            self._unjudged[trial.number] = self._plan.settings[nth]

    def _judge_names(self) -> None:
        """A trial has run to its end. One that was pruned may have ended before it suggested all;
        what another trial has suggested is known, as it may depend on the other parameters."""
        for setting in self._unjudged.values():
            said = unknown_names(setting.params, self._ranges)
            if said is None:
                continue
            if setting.is_loose or self._asked.allow_extra:
                self._scene.board.warn(f"{setting.source}: {said}")
            else:
                self._refuse(setting, f"{said}; --allow-extra leaves such names out")
        self._unjudged.clear()

    # -- known results -----------------------------------------------------------------------------

    @property
    def is_at_work(self) -> bool:
        """Known results are still to be added."""
        return self._known is not None and self._known.is_at_work

    def work(self) -> None:
        """Add known results for a moment."""
        if self._known is not None and self._known.is_at_work and self._known.work():
            self._scene.board.set(best=best_of(self._scene.study))
            self._show()

    def _show_to_known(self, trial: FrozenTrial) -> None:
        ended = trial.state in (TrialState.COMPLETE, TrialState.PRUNED)
        is_whole = KNOWN not in trial.system_attrs and CAPACITY not in trial.system_attrs
        if self._known is not None and ended and is_whole:
            self._known.show(trial.distributions)

    def _say_what_is_unlike(self, trial: FrozenTrial) -> None:
        """Once: after the first trial that ran to its end, where nothing of the study suits."""
        known, source = self._known, self._source
        if known is None or source is None or trial.state != TrialState.COMPLETE:
            return
        if known.waiting and not known.added and not known.is_at_work:
            theirs = ", ".join(source.trials[0].params)
            why = known.unlike or f"it has {theirs}; this one {', '.join(trial.params)}"
            self._scene.board.warn(f"known results: none of study {source.name} suits yet: {why}")

    # -- what is shown -----------------------------------------------------------------------------

    def _show(self) -> None:
        if self._plan is None:
            return
        shown = WarmStartShown(
            settings=len(self._plan.settings),
            done=self._done,
            tried_before=self._plan.tried,
            known=self._known.added if self._known is not None else 0,
            study=self._source.name if self._source is not None else None,
        )
        self._scene.board.set(warm_start=shown)

    def end(self) -> None:
        """The call ends: where it ends because of a setting, nothing of it is left to run."""
        if self.wrong is not None and self._plan is not None:
            self._scene.record.withdraw_waiting(self.wrong)
