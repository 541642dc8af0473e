"""Memory from parameters: a base that is always there, plus what grows with them.

``log(peak - base)`` is a Gaussian process over the parameters: what a training adds is a product of
batch size, width and depth, so a sum there. Without the base the error was a quarter larger, and
twice as large beyond the sizes seen. Which of a few bases it is, the likelihood says.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from statistics import NormalDist

import msgspec
import numpy as np

from scheduler.core.forecast import process
from scheduler.core.forecast.features import BETWEEN, Array, Encoding, encoding
from scheduler.core.forecast.observation import Value
from scheduler.core.forecast.process import Data, Process
from scheduler.core.forecast.threads import one_thread

BASES = (0.0, 0.4, 0.7, 0.85, 0.95)  #: shares of the smallest peak
MOST_GAIN = 20.0  #: times that noise of a peak is seen in what is above the base
LEARN_ROWS = 80  #: trials that the weights are learned from; all are looked at with them
FIRST_STEPS = 40
NEXT_STEPS = 10
SETTLED = 40  #: peaks, with which a model is a start for the next one
OUTLIER = 4.0  #: spreads; from there on a trial has the noise to be that far off
NEW_SPREAD = 0.10  #: of another version's peaks beside these, as long as it has shown none
NORMAL = NormalDist()


class Seen(msgspec.Struct, frozen=True, kw_only=True):
    params: Mapping[str, Value]
    bytes: int
    era: int  #: between two of them memory has changed for another reason than parameters
    ran_out: bool = False  #: ``bytes`` is less than it needs


class Guess(msgspec.Struct, frozen=True, kw_only=True):
    """On the scale of ``log(peak - base)``."""

    base_bytes: float
    middle: float
    spread: float
    strange: bool

    def at(self, spreads: float) -> float:
        """Bytes, so many spreads above the expected ones."""
        return self.base_bytes + math.exp(min(60.0, self.middle + spreads * self.spread))

    def error(self, peak_bytes: float) -> float:
        """In spreads; positive: it needed more."""
        above = max(peak_bytes - self.base_bytes, peak_bytes / MOST_GAIN)
        return (math.log(above) - self.middle) / self.spread


class Model(msgspec.Struct, frozen=True, kw_only=True):
    place: int  #: of its base among ``BASES``
    base_bytes: float
    mean: float
    scale: float
    encoding: Encoding
    eras: tuple[int, ...]
    process: Process
    left_out: tuple[Guess, ...]  #: of each peak, had it not been there
    peaks: tuple[int, ...]
    errors: tuple[float, ...]  #: of the former

    def guess(self, params: Mapping[str, Value], era: int) -> Guess:
        with one_thread():
            mean, variance = self.process.predict(_rows([params], [era], self.encoding, self.eras))
        new = era not in self.eras
        strange = self.encoding.is_strange(params)
        return self._guess(mean[0], variance[0], strange=strange, new=new)

    def _guess(
        self, mean: float, variance: float, *, strange: bool = False, new: bool = False
    ) -> Guess:
        middle = self.mean + self.scale * float(mean)
        gain = min(MOST_GAIN, 1 + self.base_bytes / math.exp(min(60.0, middle)))
        spread = self.scale**2 * (float(variance) + self.process.noise * gain**2)
        spread += (NEW_SPREAD * gain) ** 2 * new
        return Guess(
            base_bytes=self.base_bytes, middle=middle, spread=math.sqrt(spread), strange=strange
        )

    def shares(self) -> tuple[tuple[str, float], ...]:
        """Of what varies in memory, how much is due to each parameter alone or with others: half of
        the mean squared change where it alone is another trial's (Jansen 1999), over the variance.
        Shares of parameters that act together add up to more than 1 and are scaled to it."""
        with one_thread():
            at, _ = self.process.predict(self.process.data.rows)
            whole = max(1e-6, float(np.var(at)), float(np.var(self.process.data.target)))
            groups = range(len(self.encoding.groups))
            shares = [_effect(self.process, at, group) / whole for group in groups]
        over = max(1.0, sum(shares))
        pairs = zip(self.encoding.names, (one / over for one in shares), strict=True)
        return tuple(sorted(pairs, key=lambda pair: -pair[1]))


class _Found(msgspec.Struct, frozen=True, kw_only=True):
    """A base, and what was learned above it. ``cost``: minus the logarithm of how likely it is."""

    place: int
    base_bytes: float
    data: Data
    mean: float
    scale: float
    learned: Array
    cost: float


def fit(seen: Sequence[Seen], earlier: Model | None = None) -> Model | None:
    """From at least two peaks. None: it could not be computed. *earlier*: where to look first."""
    peaks = [one for one in seen if not one.ran_out]
    bounds = [one for one in seen if one.ran_out]
    try:
        with one_thread():
            model = _fit(peaks, earlier)
            return _with_bounds(model, bounds) if bounds else model
    except np.linalg.LinAlgError:
        return None


def _fit(peaks: Sequence[Seen], earlier: Model | None) -> Model:
    sizes = np.array([max(1.0, float(one.bytes)) for one in peaks])
    how = encoding([one.params for one in peaks], np.log(sizes))
    eras = tuple(sorted({one.era for one in peaks}))
    rows = _rows([one.params for one in peaks], [one.era for one in peaks], how, eras)
    best = min(_tried(sizes, rows, _start(how, earlier)), key=lambda one: one.cost)
    done = _steady(process.condition(best.data, best.learned))
    return _of(done, best, how, eras, sizes)


def _start(how: Encoding, earlier: Model | None) -> Model | None:
    """None: from nothing, since the last one was of few trials or of other parameters."""
    if earlier is None or len(earlier.peaks) < SETTLED or earlier.encoding.names != how.names:
        return None
    return earlier


def _tried(sizes: Array, rows: list[Array], earlier: Model | None) -> Iterator[_Found]:
    """All bases, each from where the one before has ended; or those around an earlier one."""
    learned = process.first_guess(len(rows)) if earlier is None else earlier.process.learned
    places, steps = range(len(BASES)), FIRST_STEPS
    if earlier is not None:
        places = range(max(0, earlier.place - 1), min(len(BASES), earlier.place + 2))
        steps = NEXT_STEPS
    for place in places:
        base = BASES[place] * float(sizes.min())
        data, mean, scale, cost = _above(base, sizes, rows)
        few = data.of(slice(None, None, -(-len(sizes) // LEARN_ROWS)))
        learned, steps = process.learn(few, learned, steps), NEXT_STEPS
        cost = cost * len(few.target) / len(sizes) + process.condition(few, learned).cost
        yield _Found(
            place=place, base_bytes=base, data=data, mean=mean, scale=scale,
            learned=learned, cost=cost,
        )  # fmt: skip


def _of(done: Process, best: _Found, how: Encoding, eras: tuple[int, ...], sizes: Array) -> Model:
    model = Model(
        place=best.place, base_bytes=best.base_bytes, mean=best.mean, scale=best.scale,
        encoding=how, eras=eras, process=done,
        left_out=(), peaks=tuple(int(one) for one in sizes), errors=(),
    )  # fmt: skip
    off, variance = done.left_out()
    own = done.noise * done.data.noise
    guesses = tuple(
        model._guess(target - error, max(1e-9, whole - noise))
        for target, error, whole, noise in zip(done.data.target, off, variance, own, strict=True)
    )
    errors = tuple(guess.error(peak) for guess, peak in zip(guesses, model.peaks, strict=True))
    return msgspec.structs.replace(model, left_out=guesses, errors=errors)


def _above(base: float, sizes: Array, rows: list[Array]) -> tuple[Data, float, float, float]:
    """Data on the scale of log(peak - base), its mean and spread, and what the change of scale
    costs in likelihood."""
    gain = np.minimum(sizes / (sizes - base), MOST_GAIN)
    target = np.log(sizes / gain)
    mean, scale = float(target.mean()), max(float(target.std()), 1e-3)
    data = Data(rows=rows, target=(target - mean) / scale, noise=gain**2)
    return data, mean, scale, len(sizes) * math.log(scale) - float(np.log(gain).sum())


def _steady(done: Process) -> Process:
    """Outliers are given the noise that explains them, so that they do not bend the rest."""
    off, variance = done.left_out()
    far = np.abs(off) / np.sqrt(variance)
    if far.max() <= OUTLIER:
        return done
    noise = np.where(far > OUTLIER, done.data.noise + off**2 / done.noise, done.data.noise)
    data = Data(rows=done.data.rows, target=done.data.target, noise=noise)
    return process.condition(data, done.learned)


def _with_bounds(model: Model, bounds: Sequence[Seen]) -> Model:
    """Told of trials that need more than they had (Tobit's case): each is taken for a peak in the
    middle of what is left above its bound, as uncertain as that is."""
    data, rows, targets, noises = model.process.data, [], [], []
    for one in bounds:
        if one.bytes <= model.base_bytes * 1.001:
            continue
        guess = model.guess(one.params, one.era)
        bound = guess.error(one.bytes)
        if bound < -1:  # it was expected anyway
            continue
        beyond = _hazard(bound)
        middle = min(guess.middle + beyond * guess.spread, math.log(2 * one.bytes))
        spread = guess.spread * math.sqrt(max(0.05, 1 - beyond * (beyond - bound))) / model.scale
        rows.append(_rows([one.params], [one.era], model.encoding, model.eras))
        targets.append((middle - model.mean) / model.scale)
        noises.append(max(4.0, spread**2 / model.process.noise))
    if not rows:
        return model
    more = Data(
        rows=[np.concatenate(parts) for parts in zip(data.rows, *rows, strict=True)],
        target=np.concatenate([data.target, targets]),
        noise=np.concatenate([data.noise, noises]),
    )
    return msgspec.structs.replace(model, process=process.condition(more, model.process.learned))


def _hazard(bound: float) -> float:
    """Mean of a standard normal that is known to be above *bound*."""
    left = 1 - NORMAL.cdf(bound)
    return NORMAL.pdf(bound) / left if left > 1e-12 else bound + 1 / max(bound, 1.0)


def _rows(
    params: Sequence[Mapping[str, Value]],
    eras: Sequence[int],
    how: Encoding,
    known: Sequence[int],
) -> list[Array]:
    """The parameters' groups, and one of which era it was. An unknown era is the newest."""
    times = [one if one in known else max(known) for one in eras]
    era = np.array([[BETWEEN / math.sqrt(2) * (one == time) for one in known] for time in times])
    return [*how.rows(params), era]


def _effect(done: Process, at: Array, group: int) -> float:
    rows = done.data.rows
    changes = []
    for part in (3, 2):
        other = np.roll(rows[group], max(1, len(at) // part), axis=0)
        moved, _ = done.predict([*rows[:group], other, *rows[group + 1 :]])
        changes.append(float(np.mean((moved - at) ** 2)) / 2)
    return sum(changes) / len(changes)
