"""Where trials keep their checkpoints, as an objective and as a host see it.

    RUN/checkpoints/LINE-TRIAL/   LINE: the ``optimize`` call from 0; TRIAL: the core's number,
                                  which is the same for all attempts of a trial

Imports neither Optuna nor anything else that takes time: scripts under plain Python call it too.
Not here: telling the supervisor what was saved, and removing (``saves``).
"""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
from itertools import islice
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

from scheduler.study.offered.current import trial_on_the_stack

#: In an attempt's environment, so that what it starts (data loaders, ranks) finds the same folder.
VARIABLE = "SCHEDULER_CHECKPOINTS"
MOST_FILES = 1000  #: looked at in one folder

_is_scheduled = False  #: this process runs its script for the scheduler
#: Under plain Python, by study and trial. Names of studies are not theirs alone.
_temporary: WeakKeyDictionary[Any, dict[int, Path]] = WeakKeyDictionary()


def path_of(run_folder: Path, line: int, trial: int) -> Path:
    """Where the checkpoints of a trial are, if there are any."""
    return run_folder / "checkpoints" / f"{line}-{trial}"


def forbid_outside_of_objectives() -> None:
    """This process runs the script's own lines: there is no trial until one is begun here."""
    global _is_scheduled
    _is_scheduled = True
    os.environ.pop(VARIABLE, None)  # of an attempt that has started a run of its own


def folder() -> Path:
    """See ``scheduler.checkpoint_dir``."""
    place = os.environ.get(VARIABLE)
    if place:
        path = Path(place)
        path.parent.mkdir(mode=0o700, exist_ok=True)
        path.mkdir(mode=0o700, exist_ok=True)
        return path
    if _is_scheduled:
        raise RuntimeError(
            "scheduler.checkpoint_dir() was called where there is no trial; call it inside the "
            "objective, which `scheduler run` runs in a process of its own for each attempt"
        )
    return _temporary_folder()


def _temporary_folder() -> Path:
    trial = trial_on_the_stack()
    if trial is None:
        return _new_temporary()
    folders = _temporary.setdefault(trial.study, {})
    if trial.number not in folders:
        folders[trial.number] = _new_temporary()
    return folders[trial.number]


def _new_temporary() -> Path:
    """Removed with the process, but not by a fork of it that ends earlier."""
    path, owner = Path(tempfile.mkdtemp(prefix="checkpoints-")), os.getpid()

    def remove() -> None:
        if os.getpid() == owner:
            shutil.rmtree(path, ignore_errors=True)

    atexit.register(remove)
    return path


def newest_change_s(path: Path) -> float | None:
    """When a file below *path* last changed, in seconds since the epoch; None: there is none.

    By ctime: a file that was renamed or copied into place keeps the mtime that it had before. Of
    a folder with more than ``MOST_FILES`` files some are looked at.
    """
    files = (
        os.path.join(where, name)
        for where, _, names in os.walk(path)  # nothing, where there is no folder
        for name in names
    )
    return max(filter(None, map(_changed_s, islice(files, MOST_FILES))), default=None)


def _changed_s(path: str) -> float | None:
    try:
        return os.lstat(path).st_ctime
    except OSError:  # it was there a moment ago
        return None
