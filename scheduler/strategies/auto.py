"""The ``auto`` pruner: nobody who ended among the best was ever this low here."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from scheduler.strategies.curves import Curve, Direction, better, level


class Setting(msgspec.Struct, frozen=True, kw_only=True):
    """How strict ``auto`` is. The defaults are its start; ``audit.LADDERS`` has the others."""

    direction: Direction
    startup: int = 10  #: trials known to their end before the first verdict
    good_share: float = 0.1  #: the best part of the finished trials that counts as good
    good_least: int = 3  #: but never fewer than so many trials
    margin: float = 0.5  #: below the lowest good one by this part of the good ones' spread


class Keep(msgspec.Struct, frozen=True, kw_only=True):
    """Go on."""

    because: str


class Prune(msgspec.Struct, frozen=True, kw_only=True):
    """Stop here."""

    because: str  #: a sentence for people
    level: float  #: where the trial stands, in the user's direction
    threshold: float  #: what was wanted, in the user's direction


Verdict = Keep | Prune


class Auto:
    """What the finished trials say, worked out once; made anew when a trial finishes."""

    def __init__(self, history: Sequence[Curve], setting: Setting) -> None:
        self.setting = setting
        known = [one for one in history if one.is_known_to_the_end]
        self.enough = len(known) >= setting.startup
        ended = sorted(
            known,
            key=lambda one: -better(one.final if one.final is not None else 0, setting.direction),
        )
        finished = sum(one.state != "failed" and one.state != "running" for one in history)
        self.good = ended[: max(setting.good_least, round(setting.good_share * finished))]

    def threshold(self, step: int) -> float | None:
        """Larger is better. None: the good ones say nothing of this step."""
        levels = [level(one, step, self.setting.direction) for one in self.good]
        seen = sorted(value for value in levels if value is not None)
        if not self.enough or len(seen) < len(self.good):
            return None
        spread = seen[len(seen) // 2] - seen[0]
        return seen[0] - self.setting.margin * spread

    def verdict(self, curve: Curve, step: int) -> Verdict:
        here = level(curve, step, self.setting.direction)
        wanted = self.threshold(step)
        if here is None or wanted is None:
            return Keep(because="too few trials are known to their end")
        if here >= wanted:
            return Keep(because="some that ended well were no better here")
        turn = 1 if self.setting.direction == "maximize" else -1
        return Prune(
            because=f"at step {step} none of the {len(self.good)} best was ever this low",
            level=turn * here,
            threshold=turn * wanted,
        )


def verdict(curve: Curve, step: int, history: Sequence[Curve], setting: Setting) -> Verdict:
    """``Auto(history, setting).verdict(curve, step)`` for who asks once."""
    return Auto(history, setting).verdict(curve, step)
