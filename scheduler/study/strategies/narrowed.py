"""The script's own sampler, drawing from less than the script asks for.

What a sampler makes of values outside of the range that it is to draw from differs: TPE puts them
where no density is, CMA-ES and the genetic ones turn all values into coordinates of the range, one
of them draws again until it is inside, which may be never. And each keeps state that belongs to a
range: in itself, in attributes of trials and of the study.

So the sampler is shown a study in which the script had asked for the narrowed ranges all along:
trials outside are not there, the others have the narrowed distributions, and what samplers have
written down under other ranges is hidden. The trial stores the script's own distribution.

Trials on the full ranges are drawn by a twin that sees the study as it is.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Container, Sequence
from dataclasses import dataclass, field
from typing import Any

import optuna
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler
from optuna.trial import FrozenTrial, TrialState

from scheduler.strategies.ranges import Limits, holds, narrowed
from scheduler.study import inside
from scheduler.study.keeping.record import FIXED
from scheduler.study.strategies.plain import distribution_of, range_of

#: Of a trial: under which ranges it was drawn, from 1; below 0: full ones, after narrowed ones.
VERSION = "scheduler:ranges"
FULL = "scheduler:full_range"  #: of a trial: drawn from the full ranges all the same


@dataclass(frozen=True, kw_only=True)
class World:
    """The ranges that hold. ``version`` 0: nothing was narrowed so far."""

    version: int
    limits: dict[str, Limits]
    inner: BaseSampler
    twin: BaseSampler
    #: The script's own by name and narrowed one, as the sampler answers with the narrowed one.
    own: dict[tuple[str, BaseDistribution], BaseDistribution] = field(default_factory=dict)
    known: dict[int, FrozenTrial | None] = field(default_factory=dict)  #: finished, as shown

    @property
    def mark(self) -> int:
        return self.version if self.limits else -self.version

    def narrow(self, name: str, distribution: BaseDistribution) -> BaseDistribution:
        """The same where the parameter is not narrowed, or nothing of it would be left."""
        limits = self.limits.get(name)
        found = None if limits is None else narrowed(range_of(distribution), limits)
        if found is None:
            return distribution
        less = distribution_of(found)
        self.own[name, less] = distribution
        return less

    def shown(self, trial: FrozenTrial) -> FrozenTrial | None:
        """*trial* as the sampler is to see it; None: it lies outside."""
        if not trial.state.is_finished():
            return self._narrowed(trial)
        if trial.number not in self.known:
            self.known[trial.number] = self._narrowed(trial)
        return self.known[trial.number]

    def _narrowed(self, trial: FrozenTrial) -> FrozenTrial | None:
        distributions = {name: self.narrow(name, it) for name, it in trial.distributions.items()}
        for name, less in distributions.items():
            if less is trial.distributions[name]:
                continue
            if not holds(range_of(less), trial.params[name]):
                return None
        attrs = trial.system_attrs
        shown = copy.copy(trial)
        shown.distributions = distributions
        if attrs.get(VERSION) != self.mark or attrs.get(FULL):
            shown.system_attrs = {k: v for k, v in attrs.items() if not inside.is_samplers(k)}
        return shown


class ShownStudy(optuna.Study):
    """*study* as the sampler is to see it. Everything else is the study's own."""

    def __init__(self, study: optuna.Study, world: World) -> None:
        inside.be_like(self, study, inside.OwnAttributes(inside.storage_of(study), world.version))
        self.sampler = world.inner
        self._behind = study
        self._world = world

    def get_trials(
        self, deepcopy: bool = True, states: Container[TrialState] | None = None
    ) -> list[FrozenTrial]:
        found = self._shown(self._behind.get_trials(deepcopy=False, states=states))
        return copy.deepcopy(found) if deepcopy else found

    def _get_trials(
        self,
        deepcopy: bool = True,
        states: Container[TrialState] | None = None,
        use_cache: bool = False,
    ) -> list[FrozenTrial]:
        found = self._shown(inside.trials_of(self._behind, states, use_cache=use_cache))
        return copy.deepcopy(found) if deepcopy else found

    def _shown(self, trials: list[FrozenTrial]) -> list[FrozenTrial]:
        return [it for trial in trials if (it := self._world.shown(trial)) is not None]

    def stop(self) -> None:
        self._behind.stop()


class NarrowedSampler(BaseSampler):
    """Takes the place of the script's sampler while a call is served.

    ``world`` and ``chooses`` may be changed at any time, from another thread too: a trial stays
    with those that it began with. ``chooses`` says of a trial's number whether it is to draw from
    the full ranges.
    """

    def __init__(self, own: BaseSampler) -> None:
        self.own = own
        self.world = World(version=0, limits={}, inner=own, twin=own)
        self.chooses: Callable[[int], bool] = lambda number: False
        self._pristine = _copied(own)
        self._begun: dict[int, tuple[World, bool]] = {}
        self._spaces: dict[int, dict[str, BaseDistribution]] = {}

    def narrow(self, version: int, limits: dict[str, Limits], *, keeps_own: bool = False) -> None:
        """From now on *limits* hold. *keeps_own*: the own sampler has drawn nothing yet, so it
        goes on as it was seeded."""
        inner = self.own if keeps_own else self._fresh()
        self.world = World(version=version, limits=limits, inner=inner, twin=twin_of(self._fresh()))

    def _fresh(self) -> BaseSampler:
        """The script's sampler as it was: what it knows of a range is of another range."""
        sampler = self.own if self._pristine is None else copy.deepcopy(self._pristine)
        if self._pristine is not None:
            sampler.reseed_rng()  # the same seed would draw the same once more
        return sampler

    def reseed_rng(self) -> None:
        self.world.inner.reseed_rng()
        self.world.twin.reseed_rng()

    def before_trial(self, study: optuna.Study, trial: FrozenTrial) -> None:
        """Settles, once for all its attempts, whether the trial draws from the full ranges."""
        world = self.world
        is_full = bool(trial.system_attrs.get(FULL)) and bool(world.limits)
        if world.version and VERSION not in trial.system_attrs and not is_set(trial):
            is_full = bool(world.limits) and self.chooses(trial.number)
            self._mark(study, trial, VERSION, world.mark)
            if is_full:
                self._mark(study, trial, FULL, True)
        self._begun[trial.number] = (world, is_full)
        sampler, seen = self._who(study, trial)
        sampler.before_trial(seen, trial)

    @staticmethod
    def _mark(study: optuna.Study, trial: FrozenTrial, key: str, value: Any) -> None:
        inside.storage_of(study).set_trial_system_attr(inside.trial_id_of(trial), key, value)
        trial.system_attrs[key] = value

    def _who(self, study: optuna.Study, trial: FrozenTrial) -> tuple[BaseSampler, optuna.Study]:
        """Who draws, and the study that it sees."""
        world, is_full = self._of(trial)
        if is_full:
            return world.twin, study
        return world.inner, ShownStudy(study, world) if world.version else study

    def _of(self, trial: FrozenTrial) -> tuple[World, bool]:
        default = (self.world, bool(trial.system_attrs.get(FULL)))
        return self._begun.get(trial.number, default)

    def infer_relative_search_space(
        self, study: optuna.Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        """With the script's own distributions, as Optuna holds them against what is suggested."""
        sampler, seen = self._who(study, trial)
        space = sampler.infer_relative_search_space(seen, trial)
        self._spaces[trial.number] = space
        own = self._of(trial)[0].own
        return {name: own.get((name, it), it) for name, it in space.items()}

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        sampler, seen = self._who(study, trial)
        known = self._spaces.pop(trial.number, {})
        space = {name: known.get(name, it) for name, it in search_space.items()}
        drawn = sampler.sample_relative(seen, trial, space)
        return {name: held(space[name], value) for name, value in drawn.items()}

    def sample_independent(
        self,
        study: optuna.Study,
        trial: FrozenTrial,
        param_name: str,
        param_distribution: BaseDistribution,
    ) -> Any:
        world, is_full = self._of(trial)
        sampler, seen = self._who(study, trial)
        if is_full:
            return sampler.sample_independent(seen, trial, param_name, param_distribution)
        less = world.narrow(param_name, param_distribution)
        if less.single():  # no sampler is ever asked for these
            return inside.only_value(less)
        return held(less, sampler.sample_independent(seen, trial, param_name, less))

    def after_trial(
        self,
        study: optuna.Study,
        trial: FrozenTrial,
        state: TrialState,
        values: Sequence[float] | None,
    ) -> None:
        """A twin of another kind knows nothing of the script's constraints."""
        sampler, seen = self._who(study, trial)
        world, _ = self._begun.pop(trial.number, self._of(trial))
        if type(sampler) is not type(world.inner):
            sampler, seen = world.inner, ShownStudy(study, world)
        sampler.after_trial(seen, trial, state, values)


def is_set(trial: FrozenTrial) -> bool:
    """Its parameters were chosen by somebody: they tell nothing of how it would be drawn."""
    return FIXED in trial.system_attrs


def held(less: BaseDistribution, value: Any) -> Any:
    """*value*, put at the nearer end where a sampler of the user's own went beyond it."""
    it = range_of(less)
    if it.low is None or it.high is None or it.low <= value <= it.high:
        return value
    return it.low if value < it.low else it.high


def twin_of(sampler: BaseSampler) -> BaseSampler:
    """Who draws from the full ranges: the script's own, unless its state is written into the study,
    where both would take the other's for theirs."""
    fixed = inside.fixed_by(sampler)
    if fixed is not None:
        return inside.fixing(fixed[0], twin_of(fixed[1]))
    if isinstance(sampler, inside.WRITES_STATE):
        return optuna.samplers.TPESampler()
    return sampler


def _copied(sampler: BaseSampler) -> BaseSampler | None:
    """None: a sampler of the user's own that cannot be copied is used as it is."""
    try:
        return copy.deepcopy(sampler)
    except Exception:
        return None
