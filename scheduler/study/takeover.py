"""Optuna's functions, taken over while a user's script runs: what they do in which process.

A process that runs the script has one role. The **host** runs it for good: its ``optimize`` calls
are served. An **attempt** that was forked, or a process that runs the script **again**, uses the
same functions to reach the line and then to be an attempt. Inside an objective (and while the host
serves) all of them are Optuna's own, but for ``study.stop()``.

Studies are known by the order in which the script makes or loads them.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, Protocol

import optuna

from scheduler.study.offered import checkpoints


class Role(Protocol):
    """What a process makes of the script's calls up to its objective."""

    def create_study(self, original: Callable[..., optuna.Study], **kwargs: Any) -> optuna.Study:
        """``create_study`` and ``load_study``; *original* is the one that was called."""
        ...

    def delete_study(self, original: Callable[..., None], **kwargs: Any) -> None: ...
    def add_trial(self, original: Callable[..., None], study: optuna.Study, trial: Any) -> None: ...
    def optimize(self, study: optuna.Study, call: dict[str, Any]) -> None: ...
    def stop(self, original: Callable[..., None], study: optuna.Study) -> None: ...
    def may_remove(self, path: str) -> bool: ...


class Originals:
    """Optuna's own, as they were."""

    def __init__(self) -> None:
        self.create_study = optuna.create_study
        self.load_study = optuna.load_study
        self.delete_study = optuna.delete_study
        self.optimize = optuna.Study.optimize
        self.add_trial = optuna.Study.add_trial
        self.stop = optuna.Study.stop


class Takeover:
    """Sends the script's calls to *role* while ``inside`` is false, to Optuna otherwise."""

    def __init__(self, role: Role) -> None:
        self.role = role
        self.inside = False  #: the objective, or the host at work: not the script's own lines
        self.originals = Originals()

    def install(self) -> None:
        """Put ourselves in the place of Optuna's functions, for this process's life."""
        checkpoints.forbid_outside_of_objectives()
        for module in (optuna, optuna.study, optuna.study.study):
            module.create_study = self._create_study  # type: ignore[attr-defined]
            module.load_study = self._load_study  # type: ignore[attr-defined]
            module.delete_study = self._delete_study  # type: ignore[attr-defined]
        takeover = self

        def optimize(
            study: optuna.Study,
            func: Any,
            n_trials: int | None = None,
            timeout: float | None = None,
            n_jobs: int = 1,
            catch: Any = (),
            callbacks: Any = None,
            gc_after_trial: bool = False,
            show_progress_bar: bool = False,
        ) -> None:
            call = {
                "func": func,
                "n_trials": n_trials,
                "timeout": timeout,
                "n_jobs": n_jobs,
                "catch": catch,
                "callbacks": callbacks,
                "gc_after_trial": gc_after_trial,
                "show_progress_bar": show_progress_bar,
            }
            if takeover.inside:
                takeover.originals.optimize(study, **call)
            else:
                takeover.role.optimize(study, call)

        def add_trial(study: optuna.Study, trial: optuna.trial.FrozenTrial) -> None:
            if takeover.inside:
                takeover.originals.add_trial(study, trial)
            else:
                takeover.role.add_trial(takeover.originals.add_trial, study, trial)

        def stop(study: optuna.Study) -> None:
            takeover.role.stop(takeover.originals.stop, study)

        optuna.Study.optimize = optimize  # type: ignore[method-assign,assignment]
        optuna.Study.add_trial = add_trial  # type: ignore[method-assign,assignment]
        optuna.Study.stop = stop  # type: ignore[method-assign,assignment]
        self._guard_files()

    def _create_study(self, **kwargs: Any) -> optuna.Study:
        return self._make(self.originals.create_study, **kwargs)

    def _load_study(self, **kwargs: Any) -> optuna.Study:
        return self._make(self.originals.load_study, **kwargs)

    def _make(self, original: Callable[..., optuna.Study], **kwargs: Any) -> optuna.Study:
        if self.inside:
            return original(**kwargs)
        return self.role.create_study(original, **kwargs)

    def _delete_study(self, **kwargs: Any) -> None:
        if self.inside:
            self.originals.delete_study(**kwargs)
        else:
            self.role.delete_study(self.originals.delete_study, **kwargs)

    def _guard_files(self) -> None:
        """A script that deletes its old database first must not delete the one in use."""
        takeover = self

        def guarded(original: Callable[..., None]) -> Callable[..., None]:
            def remove(path: Any, *args: Any, **kwargs: Any) -> None:
                if takeover.inside or takeover.role.may_remove(os.path.realpath(os.fsdecode(path))):
                    original(path, *args, **kwargs)

            return remove

        os.remove = guarded(os.remove)
        os.unlink = guarded(os.unlink)


def name_of(objective: Any) -> str:
    """A name that is the same in each process that runs the same script."""
    named = getattr(objective, "func", objective)  # functools.partial
    kind = type(named)
    module = getattr(named, "__module__", None) or kind.__module__
    name = getattr(named, "__qualname__", None) or kind.__qualname__
    return f"{module}.{name}"


def catch_of(catch: Any) -> tuple[type[Exception], ...]:
    """As ``Study.optimize`` takes it: one class or several."""
    return (catch,) if isinstance(catch, type) else tuple(catch)
