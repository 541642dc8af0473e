"""An attempt as its host sees it, from the supervisor's Start until its end is settled."""

from __future__ import annotations

import math
import os
import time
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import optuna

from scheduler.core.model import Attempt, Evidence, Process, Trial
from scheduler.machine.runs import LiveTrial
from scheduler.study import inside
from scheduler.study.forecasting.foreseen import Foreseen
from scheduler.study.forecasting.history import Shown
from scheduler.study.keeping.outcome import Outcome
from scheduler.study.starting.launch import Peer

PARAMS_SHOWN = 8
TEXT_SHOWN = 40


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
    foreseen: Foreseen = field(default_factory=Foreseen)  #: of the trial, before it began
    evidence: Evidence | None = None  #: the process is gone; its end is not settled yet
    stopping: str | None = None  #: why it was told to end
    goes_back: str | None = None  #: why its trial comes back when it has ended: its run stops
    is_final: bool = False  #: its trial has its final outcome
    step: int | None = None  #: of the last report, as the next two
    value: float | None = None
    reported_at_s: float | None = None
    reports: int = 0
    told_reports: int = 0  #: as many the supervisor knows of
    told_reports_s: float = -math.inf  #: since then, on the clock that only goes forward
    inherited_s: float = 0.0  #: when an earlier attempt last saved; 0: none has
    saved_at_s: float | None = None  #: when this one last saved, as the supervisor was told
    told_saved_s: float = -math.inf  #: when that was told, on the clock that only goes forward

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

    def has_shown(self) -> Shown:
        """Of how its trial uses memory."""
        return Shown(
            params={} if self.asked is None else inside.live_record(self.asked).params,
            reported=self.step is not None,
            pruned=self.outcome is not None and self.outcome.state == "pruned",
            peak_bytes=None if self.outcome is None else self.outcome.peak_bytes,
        )

    def reported(self, step: int, value: float) -> None:
        self.step, self.value, self.reported_at_s = int(step), float(value), time.time()
        self.reports += 1

    def shown(self) -> LiveTrial | None:
        """What a status says of it; None where it does not run or has no trial yet."""
        if self.asked is None or not self.runs:
            return None
        params = islice(inside.live_record(self.asked).params.items(), PARAMS_SHOWN)
        value = self.value
        return LiveTrial(
            number=self.asked.number,
            step=self.step,
            value=value if value is not None and math.isfinite(value) else None,
            reported_at_s=self.reported_at_s,
            params={name: short(param) for name, param in params},
        )


def short(param: Any) -> Any:
    """A parameter in terms of JSON and of one line; what is neither is shown as text."""
    if param is None or isinstance(param, bool):
        return param
    if isinstance(param, int) and param.bit_length() < 64:
        return int(param)
    if isinstance(param, float) and math.isfinite(param):
        return float(param)
    text = param if isinstance(param, str) else repr(param)
    return text if len(text) <= TEXT_SHOWN else text[: TEXT_SHOWN - 1] + "…"


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
