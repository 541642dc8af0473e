"""Which trial the code that calls runs for, where nobody has handed it the trial.

Imports neither Optuna nor anything else that takes time: scripts under plain Python call it too.
"""

from __future__ import annotations

import sys
import threading
from types import FrameType
from typing import Any


def trial_on_the_stack() -> Any:
    """The ``optuna.Trial`` that the nearest caller holds; None where nobody does.

    One process runs many trials under plain Python, and one of them must not be taken for another.
    """
    return _nearest(sys._getframe(1), _class("Trial"))


def stored_trial_on_the_stack() -> Any:
    """The same for what stands in for a trial where an objective is called again: a ``FixedTrial``
    or a ``FrozenTrial``. These take reports and forget them."""
    return _nearest(sys._getframe(1), _class("BaseTrial"))


def trial_of_other_threads() -> Any:
    """The trial that other threads hold, where all that hold one hold the same; else None.

    For a thread that an objective has started: its own stack says nothing.
    """
    own, kind = threading.get_ident(), _class("Trial")
    stacks = [frame for thread, frame in sys._current_frames().items() if thread != own]
    found = {id(trial): trial for frame in stacks if (trial := _nearest(frame, kind)) is not None}
    return next(iter(found.values())) if len(found) == 1 else None


def last_step(trial: Any) -> int | None:
    """The largest step that *trial* has reported; None before its first.

    ``Trial`` says so by no public name but through its storage. ``inside`` has this one too, and
    takes 0.15 s to import, which a script under plain Python need not pay.
    """
    record = getattr(trial, "_cached_frozen_trial", trial)
    return max(getattr(record, "intermediate_values", ()), default=None)


def _class(name: str) -> type | None:
    """Of Optuna's trials; None where the process has none."""
    return getattr(sys.modules.get("optuna.trial"), name, None)


def _nearest(frame: FrameType | None, kind: type | None) -> Any:
    """By the class itself: asking strangers' values for theirs would wake lazy ones."""
    while kind is not None and frame is not None:
        for value in frame.f_locals.values():
            if kind in type(value).__mro__:
                return value
        frame = frame.f_back
    return None
