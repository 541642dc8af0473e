"""Which rules hold for whom, and which of several says the most. Pure.

Covers reading the set in force. Where rules come from (a person, a window of the clock, a program
that wants the device for itself) is the supervisor's business.
"""

from __future__ import annotations

from collections.abc import Sequence

from scheduler.core.model import Rule

Rules = tuple[Rule, ...]


def of_device(rules: Sequence[Rule], key: str) -> Rules:
    return tuple(rule for rule in rules if rule.run is None and rule.device in (None, key))


def of_run(rules: Sequence[Rule], run: str) -> Rules:
    return tuple(rule for rule in rules if rule.run == run)


def strictest(rules: Sequence[Rule], *, stops: bool = False) -> Rule | None:
    """The one that lets the fewest run at once; None: none of them limits that.

    With *stops* only of those by which attempts are stopped.
    """
    limiting = (rule for rule in rules if rule.max_attempts is not None and rule.stops >= stops)
    return min(limiting, key=lambda rule: rule.max_attempts or 0, default=None)


def forbidding(rules: Sequence[Rule], active: int) -> Rule | None:
    """The one by which no more may start where *active* run; None: none does."""
    rule = strictest(rules) if rules else None
    if rule is None or rule.max_attempts is None or active < rule.max_attempts:
        return None
    return rule


def keeping(rules: Sequence[Rule], *, stops: bool = False) -> Rule | None:
    """The one that keeps the most memory free; None: none of them keeps any."""
    reserving = (rule for rule in rules if rule.reserve_bytes and rule.stops >= stops)
    return max(reserving, key=lambda rule: rule.reserve_bytes or 0, default=None)


def kept_bytes(rules: Sequence[Rule], *, stops: bool = False) -> int:
    """What the rules keep free; 0 where none does."""
    rule = keeping(rules, stops=stops) if rules else None
    return 0 if rule is None or rule.reserve_bytes is None else rule.reserve_bytes
