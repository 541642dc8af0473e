"""What a run's status says of each of its study strategies. Pure.

Frozen values for people and programs; how they come about is in the strategies' own modules.
"""

from __future__ import annotations

from typing import Literal

import msgspec


class PruningShown(msgspec.Struct, frozen=True, kw_only=True):
    """What pruning has done, and what the controls say of it.

    A control is a trial that was to be pruned and ran to its end all the same.
    """

    strategy: str  #: who decides now, for people
    notch: int  #: how much milder (above 0) or stricter (below 0) than at the start
    pruned: int  #: trials, by the pruner's verdict
    controls: int  #: that have ended
    false: int  #: of these, would have been among the best
    most_false_share: float | None  #: of verdicts, upper bound; None: no control has ended
    confidence: float  #: of that bound
    saved_share: float | None  #: of what all would have cost; None: not known
    saved_of: Literal["time", "steps"]  #: what that cost is counted in
    sentence: str | None  #: all of it, for people; None: nothing was to be pruned yet


class BudgetShown(msgspec.Struct, frozen=True, kw_only=True):
    """When a run ends early, and when it goes on beyond its number of trials."""

    target: float | None  #: None: none, as for the next two
    floor: float | None
    patience: int | None
    goes_on_to: int | None  #: trials, while nothing reaches the floor; None: it does not
    went_on: bool  #: it did, which it does once
    since_best: int | None  #: trials after the last improvement; None: no trial is complete
    ends: str | None  #: why no more trials start; None: it is not by this
    sentence: str  #: all of it, for people


class RangesShown(msgspec.Struct, frozen=True, kw_only=True):
    """How many parameters are drawn from less than the script asks for.

    Counts of trials are of finished ones that were drawn since the ranges were first narrowed.
    """

    state: Literal["waiting", "on", "off"]  #: waiting: for enough trials; off: taken back
    source: str | None  #: what they were narrowed by, for people; None: not narrowed yet
    narrowed: int  #: parameters
    parameters: int  #: that are known so far, the narrowed ones among them
    full: int  #: trials that were drawn from the full ranges
    trials: int  #: all of them


class WarmStartShown(msgspec.Struct, frozen=True, kw_only=True):
    """What a run began with: settings to try first, results of an earlier study."""

    settings: int  #: to try first
    done: int  #: of these, have ended
    tried_before: int  #: beside these: the study had tried them already
    known: int  #: results that were added
    study: str | None  #: where from; None: no study was asked for
