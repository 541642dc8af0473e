"""Whether memory has changed although the parameters have not: more data, another library.

Page's CUSUM on the normalised errors of forecasts, one sum for each side. One error counts three
spreads at most. The story this prevents: 1. one trial of a heavy tail, 2. all that was learned is
doubted. Three such in a row are a drift; on noise alone it takes thousands of trials.
"""

from __future__ import annotations

import msgspec

MOST = 3.0  #: what one error counts at most
ALLOWED = 1.0  #: what each takes off
ALARM = 6.0


class Watch(msgspec.Struct, frozen=True):
    """Sums of errors above and below, and for how many trials each has not been 0."""

    above: float = 0.0
    below: float = 0.0
    above_for: int = 0
    below_for: int = 0

    def seen(self, error: float) -> Watch:
        error = min(MOST, max(-MOST, error))
        above, below = self.above + error - ALLOWED, self.below - error - ALLOWED
        return Watch(
            max(0.0, above),
            max(0.0, below),
            self.above_for + 1 if above > 0 else 0,
            self.below_for + 1 if below > 0 else 0,
        )

    @property
    def trials(self) -> int:
        """How many of the last ones are of another kind than before; 0: none."""
        if self.above >= ALARM:
            return self.above_for
        return self.below_for if self.below >= ALARM else 0
