"""How often a run's hosts may die before it is given up. Pure."""

from __future__ import annotations

DEATHS = 3  #: in WITHIN_S, with no trial finished meanwhile; one more is too many
WITHIN_S = 600.0


class Deaths:
    """Those of one run's hosts, since a trial was last finished.

    Without looking at what they got done: 1. memory is short, and the kernel kills the host every
    two minutes, 2. each time twenty trials were finished, 3. the run is given up.
    """

    def __init__(self) -> None:
        self._at_s: list[float] = []
        self._finished_at_s = 0.0

    def add(self, now_s: float, finished_at_s: tuple[float, ...]) -> None:
        """*finished_at_s*: when trials of the run were finished, by another clock than *now_s*."""
        last_s = max(finished_at_s, default=0.0)
        if last_s > self._finished_at_s:
            self._finished_at_s, self._at_s = last_s, []
        self._at_s = [at_s for at_s in self._at_s if now_s - at_s < WITHIN_S]
        self._at_s.append(now_s)

    @property
    def too_many(self) -> str | None:
        """How many, for people; None while it may go on."""
        if len(self._at_s) <= DEATHS:
            return None
        return f"{len(self._at_s)} times in {WITHIN_S / 60:.0f} min"
