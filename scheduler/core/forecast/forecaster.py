"""Bytes that a trial will hold at its peak, from what the run's trials have held so far. Pure."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping
from statistics import fmean, median

import msgspec

from scheduler.core.forecast import conformal, quantile
from scheduler.core.forecast.drift import Watch
from scheduler.core.forecast.history import KEPT, History
from scheduler.core.forecast.model import Guess, Model, fit
from scheduler.core.forecast.observation import (
    Belief,
    Driver,
    Forecast,
    Level,
    Observation,
    Value,
)

LEAST = 8  #: peaks, with which there is a model
FOLLOWED = 10  #: peaks, with which broken promises widen its margin, for a long time
WATCHED = 20  #: peaks, with which its errors tell of a drift
BETTER = 0.95  #: of the quantile's promises: so small the model's have to be to be used
REFIT = 12  #: a model is fitted anew when this part of its trials is new
NEAR = 0.9  #: of its promise: what ran out there has broken it
RARELY = 0.5  #: of the share: so often both bounds of a promise may differ in what they break
WIDE = 1.5  #: times what is expected: such a promise is doubtful
MOST_BYTES = 1 << 60  #: no device has so much
TOLD = 5  #: drifts that people are told of


class Judged(msgspec.Struct, frozen=True):
    """A forecast whose trial has ended. ``ratio``: promise / peak; None: that is not known."""

    broken: bool
    ratio: float | None


class Reach(msgspec.Struct, frozen=True):
    """How far beyond what is expected a promise goes: in spreads, and in times what is expected."""

    spreads: float = 0.0
    log_times: float = math.inf

    def promise(self, guess: Guess, factor: float = 1.0) -> float:
        """The smaller of both, unless nothing like it was seen.

        The story this prevents: 1. one trial of 25 needs twice what its parameters say, and is 30
        spreads off, 2. another's spread is ten times as wide, 3. thousands of GiB are promised.
        """
        wanted = guess.at(self.spreads * factor)
        if guess.strange:
            return wanted
        return min(wanted, guess.at(0.0) * max(WIDE, math.exp(min(60.0, self.log_times))))


def reach_of(model: Model, share: float) -> Reach:
    pairs = zip(model.left_out, model.peaks, strict=True)
    off = [math.log(peak / guess.at(0.0)) for guess, peak in pairs]
    return Reach(conformal.reach(model.errors, share), conformal.reach(off, share * RARELY))


class Forecaster:
    """Learns from each observation; the same ones in the same order give the same forecasts.

    ``promise_bytes``: what is promised where nothing is known; None: not known here.
    ``overrun_share``: of attempts, that may exceed what they were promised. ``version``: of the
    user's code now; None: that of the last observation.
    """

    def __init__(
        self,
        *,
        promise_bytes: int | None,
        overrun_share: float = 0.02,
        version: str | None = None,
    ) -> None:
        self._promise_bytes = promise_bytes
        self._share = min(0.5, max(1e-4, overrun_share))
        self._history = History(version)
        self._model: Model | None = None
        self._uses_model = False
        self._reach = self._followed_reach = Reach()  #: for this share, and for what is followed
        self._unknown = 0  #: observations that the model was not fitted to
        self._log_factor = 0.0
        self._calm_factor = 0.0  #: the same, when the watch last saw nothing
        self._watch = Watch()
        self._judged: deque[Judged] = deque(maxlen=KEPT)
        self._off: deque[float] = deque(maxlen=KEPT)  #: peak / what was expected
        self._drifts: deque[str] = deque(maxlen=TOLD)

    @property
    def needs_params(self) -> bool:
        """A model is in use: candidates should be asked before they are offered."""
        return self._uses_model

    def forecast(self, params: Mapping[str, Value] | None) -> Forecast | None:
        """None: nothing is known, the default promise holds. *params* None: not known yet."""
        if not len(self._history):
            return None
        guess = self._guess(params)
        said = self._by_quantile() if guess is None else self._by_model(guess)
        floor = 0 if params is None else self._history.floor(params)
        return msgspec.structs.replace(said, bytes=max(said.bytes, floor))

    def add(self, observation: Observation) -> None:
        needs = max(1, min(observation.bytes, MOST_BYTES))
        observation = msgspec.structs.replace(observation, bytes=needs)
        promised = self.forecast(observation.params)
        drifted = 0
        if promised is not None:
            self._judge(observation, promised)
            drifted = self._follow(observation)
        if self._history.is_new(observation.version):
            self._drifts.append("another version of the script: what was seen before counts less")
        self._history.add(observation, None if promised is None else promised.bytes)
        if drifted:
            self._turn(observation.version, drifted)
        self._unknown += 1
        if self._is_due(bool(drifted)):
            self._fit()

    def belief(self) -> Belief:
        judged, model = self._judged, self._model
        ratios = [one.ratio for one in judged if one.ratio is not None]
        quantile_error = None
        if model is not None:
            middle = median(model.peaks)
            quantile_error = median(abs(middle / peak - 1) for peak in model.peaks)
        return Belief(
            level=self._level(),
            count=len(self._history),
            ran_out=self._history.ran_out,
            judged=len(judged),
            coverage=1 - fmean(one.broken for one in judged) if judged else None,
            over_promise=median(ratios) - 1 if ratios else None,
            model_error=None if model is None else _error(model),
            quantile_error=quantile_error,
            drivers=()
            if model is None
            else tuple(Driver(name=name, share=share) for name, share in model.shares()),
            drifts=tuple(self._drifts),
        )

    def _level(self) -> Level:
        if self._uses_model:
            return "model"
        said = self.forecast(None)
        return "promise" if said is None else said.level

    def _guess(self, params: Mapping[str, Value] | None) -> Guess | None:
        """None: by the quantile."""
        if params is None or self._model is None or not self._uses_model:
            return None
        return self._model.guess(params, self._history.era)

    def _by_quantile(self) -> Forecast:
        wanted, expected = self._history.quantile(self._share)
        level: Level = "quantile"
        known, needed = self._history.peaks(), self._history.most_needed()
        # So few tell nothing of what is beyond the largest: else one of 6 GiB asks for 9, and of
        # two that fit in 14 one waits.
        if known < LEAST:
            wanted = min(wanted, needed)
            if self._promise_bytes is not None:
                least = self._promise_bytes * (1 - known / LEAST / 2)
                level = "promise" if least > wanted else level
                wanted = max(wanted, least)
        return Forecast(
            bytes=int(wanted),
            expected_bytes=int(min(wanted, expected)),
            level=level,
            doubtful=known < LEAST or wanted > self._history.largest(),
            needed_bytes=int(needed),
        )

    def _by_model(self, guess: Guess) -> Forecast:
        wanted = self._reach.promise(guess, self._factor)
        if guess.strange:
            wanted = max(wanted, self._history.quantile(self._share)[0])
        expected = guess.at(0.0)
        return Forecast(
            bytes=int(wanted),
            expected_bytes=int(min(wanted, expected)),
            level="model",
            doubtful=guess.strange or wanted > WIDE * expected,
        )

    @property
    def _factor(self) -> float:
        return conformal.factor(self._log_factor)

    def _judge(self, it: Observation, promised: Forecast) -> None:
        if not it.ran_out:
            broken = it.bytes > promised.bytes
            self._judged.append(Judged(broken, promised.bytes / it.bytes))
        elif it.bytes >= NEAR * promised.bytes:
            self._judged.append(Judged(True, None))

    def _follow(self, it: Observation) -> int:
        """Widens or narrows the margin. Says how many of the last trials are of another kind."""
        if self._model is None or len(self._model.peaks) < FOLLOWED:
            return 0
        guess = self._model.guess(it.params, self._history.era_of(it.version))
        promise = self._followed_reach.promise(guess, self._factor)
        error = guess.error(it.bytes)
        broken = it.bytes > promise * (NEAR if it.ran_out else 1.0)
        if it.ran_out and not broken:
            return 0
        self._log_factor = conformal.followed(self._log_factor, broken=broken)
        self._off.append(it.bytes / guess.at(0.0))
        known = not self._history.is_new(it.version)
        if known and not guess.strange and len(self._model.peaks) >= WATCHED:
            self._watch = self._watch.seen(error)
        if not self._watch.above:
            self._calm_factor = self._log_factor
        return self._watch.trials

    def _turn(self, version: str, trials: int) -> None:
        """To a new era that the last *trials* of this version were of."""
        self._history.begin_era(version, trials)
        self._watch, self._log_factor = Watch(), self._calm_factor
        off = median(list(self._off)[-trials:])
        self._drifts.append(
            f"the last {trials} trials needed {off:.2f} times what was expected: what was seen"
            " before counts less"
        )

    def _is_due(self, now: bool) -> bool:
        known = self._history.peaks()
        return known >= LEAST and (now or self._unknown > min(known, 240) // REFIT)

    def _fit(self) -> None:
        self._unknown = 0
        self._model = fit(self._history.seen(), self._model)
        if self._model is None:
            self._uses_model = False
            return
        self._reach = reach_of(self._model, self._share)
        self._followed_reach = reach_of(self._model, conformal.FOLLOWED_SHARE)
        self._uses_model = self._is_better(self._model)

    def _is_better(self, model: Model) -> bool:
        """Its promises would have been smaller, each made without having seen the trial.

        At the same share as is followed, so that the share of a run does not decide it.
        """
        share = conformal.FOLLOWED_SHARE
        flat = quantile.upper(model.peaks, share)
        reach = self._followed_reach
        promises = [min(reach.promise(guess), 2 * flat) for guess in model.left_out]
        return fmean(promises) < flat * (1.0 if self._uses_model else BETTER)


def _error(model: Model) -> float:
    pairs = zip(model.left_out, model.peaks, strict=True)
    return median(abs(guess.at(0.0) / peak - 1) for guess, peak in pairs)
