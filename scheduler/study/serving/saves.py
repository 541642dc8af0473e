"""A host's care for the checkpoint folders of one ``optimize`` call: what was saved, what goes.

A folder goes when its trial has its final outcome, and stays while the trial may come back.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Collection
from pathlib import Path

from scheduler.core.events import Saved
from scheduler.core.model import Trial
from scheduler.study.offered.checkpoints import newest_change_s, path_of
from scheduler.study.serving.live import Live

LOOK_EVERY_S = 1.0
#: A script may save after each step. When it last did is wanted to know what a stop would cost,
#: minutes or hours, and each word of it is in the journal.
TELL_EVERY_S = 5.0


class Saves:
    """*send* takes what the supervisor must know."""

    def __init__(self, run_folder: Path, line: int, send: Callable[[Saved], None]) -> None:
        self._run_folder = run_folder
        self._line = line
        self._send = send

    def path(self, trial: Trial) -> Path:
        return path_of(self._run_folder, self._line, trial.number)

    def begin(self, live: Live) -> None:
        """An attempt is about to begin: what earlier ones have saved is not its own."""
        live.inherited_s = newest_change_s(self.path(live.trial)) or 0.0

    def look(self, lives: Collection[Live]) -> None:
        """Tell of those that have saved since the last look."""
        now_s = time.monotonic()
        for live in lives:
            if live.runs and live.asked is not None and now_s >= live.told_saved_s + TELL_EVERY_S:
                newest_s = newest_change_s(self.path(live.trial))
                if newest_s is not None and newest_s > (live.saved_at_s or live.inherited_s):
                    live.saved_at_s, live.told_saved_s = newest_s, now_s
                    self.tell(live)

    def tell(self, live: Live) -> None:
        """Say when *live* last saved, if it has."""
        if live.saved_at_s is not None:
            self._send(Saved(at_s=0.0, attempt=live.attempt.id, saved_at_s=live.saved_at_s))

    def remove(self, trial: Trial) -> None:
        """The trial is over."""
        shutil.rmtree(self.path(trial), ignore_errors=True)


def keep_only(run_folder: Path, line: int, trials: Collection[Trial]) -> None:
    """Remove what is of none of *trials*: a host was killed before it could."""
    kept = {path_of(run_folder, line, trial.number) for trial in trials}
    for path in (run_folder / "checkpoints").glob(f"{line}-*"):
        if path not in kept:
            shutil.rmtree(path, ignore_errors=True)
