"""An attempt as its host sees it, from the supervisor's Start until its end is settled."""

from __future__ import annotations

import os
from dataclasses import dataclass

import optuna

from scheduler.core.model import Attempt, Evidence, Process, Trial
from scheduler.study.launch import Peer
from scheduler.study.outcome import Outcome


@dataclass(eq=False, kw_only=True)
class Live:
    """What is known so far."""

    attempt: Attempt
    log: str = ""
    peer: Peer | None = None
    process: Process | None = None
    asked: optuna.Trial | None = None
    outcome: Outcome | None = None
    error: bytes | None = None  #: the user's exception, pickled
    told: bool = False  #: the study knows the outcome
    evidence: Evidence | None = None  #: the process is gone; its end is not settled yet
    stopping: str | None = None  #: why it was told to end

    @property
    def trial(self) -> Trial:
        return self.attempt.trial

    @property
    def runs(self) -> bool:
        return self.evidence is None

    @property
    def number(self) -> int | None:
        """Optuna's number; None until the study has been asked."""
        return None if self.asked is None else self.asked.number


def evidence_of(outcome: Outcome | None, status: int, stderr_tail: str) -> Evidence:
    """*status* as of waitpid."""
    code = os.waitstatus_to_exitcode(status)
    return Evidence(
        outcome=outcome.state if outcome else None,
        exit_code=code if code >= 0 else None,
        signal=-code if code < 0 else None,
        exception=outcome.exception if outcome else (),
        message=outcome.message if outcome else "",
        stderr_tail=stderr_tail,
        caught=outcome.caught if outcome else False,
    )
