"""How many new trials are asked ahead, what trials are promised by their forecasts, and what
becomes of those that no device could hold. Pure.

The same rules for a study's host and for a simulated one. A candidate is a new trial that has been
asked of the sampler, with parameters that its memory is forecast from, and has not started.
"""

from __future__ import annotations

import msgspec

from scheduler.core.actions import Refuse
from scheduler.core.forecast.observation import Forecast
from scheduler.core.model import Trial

#: Candidates that wait at once. Each further one was asked when less was known, and gives the
#: supervisor one more size to choose from: with three it finished 0.88 of what one does who knows
#: all sizes, with six 0.91.
LOOKAHEAD = 6
#: Every so many refused ones one runs all the same: a forecast that is too high is refuted by
#: nothing else, as what is never started is never measured.
TRY_EVERY = 10
#: One whose forecast is not doubtful counts a quarter: like it, trials have run out of memory.
DOUBTFUL_COUNTS = 4
#: So many refused in a row, and parameters are drawn without what the study has taught: a
#: deterministic sampler asks the same point again (GPSampler did so 21 times).
DRAW_FREELY_AFTER = 10
STOP_AFTER = 50  #: so many in a row, and nothing of the space seems to fit


class Candidates:
    """What new trials of one ``optimize`` call are promised, and what has been refused of them, by
    their numbers. Promises are whole ones of *grain_bytes*."""

    def __init__(self, grain_bytes: int = 1) -> None:
        self._grain_bytes = grain_bytes
        self._most_bytes: int | None = None  #: that any device could give, when that was last told
        self._refused_at: dict[int, int] = {}  #: of those that wait all the same: the same, then
        self.refusals = 0  #: all of them
        self.in_a_row = 0  #: since a candidate fitted
        self._due = 0
        self._tried: int | None = None  #: refused, and waits or runs all the same
        self._because = ""

    def room(self, *, needs_params: bool) -> int:
        """How many new trials may wait at once, the one that is tried among them.

        *needs_params*: their memory depends on parameters. Where it does not, one is offered and
        asked for when it starts, so that the sampler knows as much as can be known.
        """
        if not needs_params:
            return 1
        if self.in_a_row >= STOP_AFTER:
            return 0  # what is tried may yet show that the forecast is wrong
        return LOOKAHEAD

    @property
    def draws_freely(self) -> bool:
        """The next candidate's parameters are drawn independently of what the study shows."""
        return self.in_a_row >= DRAW_FREELY_AFTER

    @property
    def stops(self) -> str | None:
        """Why the run is to stop; None: it is not."""
        if self.in_a_row < STOP_AFTER or self._tried is not None:
            return None
        return (
            f"{self.in_a_row} candidates in a row were refused, as none would fit a device; "
            f"the last: {self._because}"
        )

    def usual_bytes(self, forecast: Forecast | None) -> int | None:
        """What a trial is to be promised whose parameters are not known; None: the default.

        A promise that suits all but a few, and that no device could keep, suits none: with every
        second trial too big, all would wait to be alone.
        """
        if forecast is None:
            return None
        promise, most = forecast.promise_bytes, self._most_bytes
        return None if most is not None and promise > most else self._in_grains(promise)

    def want_bytes(self, number: int, forecast: Forecast) -> int:
        """What a candidate is to be promised by its *forecast*; one that was refused for its margin
        only is promised less of that for as long as it waits."""
        return self._wanted(forecast, self._refused_at.get(number))

    def returned(self, again: Trial, forecast: Forecast | None) -> Trial:
        """What *again*, which has come back, is to be offered as: with more, where its promise was
        too small and its *forecast* has come to know better.

        The story this prevents: 1. six trials of 6 GiB run out at 2 GiB, and come back with 2.75,
        2. one of them ends, alone at last, 3. the other five run out twice more each. (Of 30 such
        trials on 16 GiB, 11 attempts ran out of memory, and 5 do.)
        """
        want = again.want_bytes
        if forecast is None or want is None or again.alone or not again.overruns:
            return again
        if forecast.level == "model":
            foreseen = self._wanted(forecast, self._most_bytes)
        else:
            foreseen = self.usual_bytes(forecast) or 0
        return msgspec.structs.replace(again, want_bytes=max(want, foreseen))

    def _wanted(self, forecast: Forecast, most_bytes: int | None) -> int:
        """More than there is only where it is hopeless. *most_bytes* None: there is enough."""
        if most_bytes is None:
            return self._in_grains(forecast.promise_bytes)
        wanted = forecast.within(most_bytes)
        return wanted if wanted > most_bytes else min(self._in_grains(wanted), most_bytes)

    def _in_grains(self, size_bytes: int) -> int:
        return -(-size_bytes // self._grain_bytes) * self._grain_bytes

    def answer(self, trial: Trial, refuse: Refuse, forecast: Forecast | None) -> Trial | None:
        """What *trial* is to be offered as all the same; None: the sampler is told instead.

        One whose parameters are not known (*forecast* None) is not told of: nothing would be
        learned. Nor is one that would most likely fit, and that only the margin makes too big.
        """
        number = trial.number
        self._most_bytes = most = refuse.most_bytes
        if forecast is None:
            return msgspec.structs.replace(trial, want_bytes=None)
        if not forecast.is_hopeless(most):
            self._refused_at[number] = most
            return msgspec.structs.replace(trial, want_bytes=self.want_bytes(number, forecast))
        if self.refused(number, refuse.because, doubtful=forecast.doubtful):
            return msgspec.structs.replace(trial, alone=True, want_bytes=None)
        self._refused_at.pop(number, None)
        return None

    def refused(self, number: int, because: str = "", *, doubtful: bool = True) -> bool:
        """A candidate is too big for every device. True: it is to be tried all the same, alone.

        *doubtful* is the forecast's own word. One at a time is tried.
        """
        self.refusals += 1
        self.in_a_row += 1
        self._because = because
        self._due += DOUBTFUL_COUNTS if doubtful else 1
        if self._tried is not None or self._due < TRY_EVERY * DOUBTFUL_COUNTS:
            return False
        self._due = 0
        self._tried = number
        return True

    def started(self, number: int) -> None:
        """A candidate starts. One that is tried shows only at its end whether it fits."""
        self._refused_at.pop(number, None)
        if number != self._tried:
            self.in_a_row = 0

    def ended(self, number: int, *, fits: bool) -> None:
        """A trial is over, or waits no more. *fits*: it ran to its end."""
        if number != self._tried:
            return
        self._tried = None
        if fits:
            self.in_a_row = 0
