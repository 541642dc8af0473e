"""Where a host hears its attempts: each request gets its answer, at once or from the asking thread.

What the requests mean for the study is in ``requests``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import optuna

from scheduler.core.model import Attempt, Budget, Run
from scheduler.study import inside
from scheduler.study.channel import Answer, Go, Raised, Request, answer
from scheduler.study.forecasting.ahead import Ahead
from scheduler.study.keeping.in_turn import as_read_lately
from scheduler.study.offered.checkpoints import path_of
from scheduler.study.serving import requests
from scheduler.study.serving.asking import Asking
from scheduler.study.serving.live import Live
from scheduler.study.serving.reactor import Reactor
from scheduler.study.starting.launch import Peer
from scheduler.study.strategies.strategies import Strategies


@dataclass(frozen=True, kw_only=True)
class Call:
    """One ``optimize`` call to be served."""

    run: Run
    line: int
    objective: str
    study_index: int  #: in *studies*
    studies: list[optuna.Study]
    folder: Path
    threads: Callable[[Budget], int]
    stop_grace_s: float  #: see RunSpec, as the next two
    nice: int
    io: Literal["best-effort", "idle", "none"]
    protected: frozenset[str]  #: files that a script that is run again must not delete
    strategies: Strategies
    ahead: Ahead

    @property
    def study(self) -> optuna.Study:
        return self.studies[self.study_index]

    def outcome_path(self, number: int) -> Path:
        """Where the attempt with Optuna's *number* writes its outcome down."""
        return self.folder / "outcomes" / f"{self.line}-{number}.json"

    def go(self, attempt: Attempt, asked: optuna.Trial, budget: Budget, log: str) -> Go:
        """What *attempt* is told to begin with."""
        studies = enumerate(self.studies)
        return Go(
            attempt=attempt,
            study=self.study_index,
            studies=tuple(requests.handle_of(index, study) for index, study in studies),
            trial=inside.live_record(asked),
            search_space=asked.relative_search_space or {},
            relative_params=asked.relative_params,
            environment=dict(budget.device.environment),
            on_host=budget.device.kind == "host",
            total_bytes=budget.device.total_bytes,
            threads=self.threads(budget),
            nice=self.nice,
            io=self.io,
            log=log,
            outcome=str(self.outcome_path(asked.number)),
            checkpoints=str(path_of(self.folder, self.line, attempt.trial.number)),
        )


class Desk:
    """Hears peers. *finish* is called with an attempt's outcome, *mismatch* with what is wrong
    with a script that differs when it is run again, *reported* after each report."""

    def __init__(
        self,
        call: Call,
        lives: dict[str, Live],
        asking: Asking,
        reactor: Reactor,
        finish: Callable[[Live], None],
        mismatch: Callable[[str], None],
        reported: Callable[[Live], None],
    ) -> None:
        self._call = call
        self._lives = lives
        self._asking = asking
        self._reactor = reactor
        self._finish = finish
        self._mismatch = mismatch
        self._reported = reported
        self.lines_reached = 0  #: how many processes have come to the line

    def attend(self, peer: Peer) -> None:
        self._reactor.watch(peer.fileno(), lambda: self._hear(peer))

    def drain(self, peer: Peer) -> None:
        """Hear what a process said before it ended."""
        while not peer.connection.closed and peer.connection.poll():
            self._hear(peer)

    def dismiss(self, peer: Peer) -> None:
        if not peer.connection.closed:
            self._reactor.forget(peer.fileno())
            peer.connection.close()

    def _hear(self, peer: Peer) -> None:
        try:
            request = peer.connection.recv()
        except (EOFError, OSError):
            self.dismiss(peer)
            return
        try:
            self._respond(peer, self._lives.get(peer.attempt or ""), request)
        except Exception as error:
            answer(peer.connection, Raised(error))

    def _respond(self, peer: Peer, live: Live | None, request: Request) -> None:
        asked = live.asked if live is not None else None
        match request.what, request.arguments:
            case "ready", (line, objective):
                self._ready(peer, line, objective)
            case "sample", (name, distribution) if live is not None and asked is not None:
                drawn = live.foreseen.drawn_for(name, distribution)
                if drawn is not None:
                    answer(peer.connection, Answer(drawn[0]))
                    return
                self._asking.later(
                    requests.sampling(self._call.study, asked, name, distribution),
                    lambda drawn: answer(peer.connection, Answer(drawn)),
                    lambda error: answer(peer.connection, Raised(error)),
                )
            case "finish", (outcome, error) if live is not None:
                live.outcome, live.error = outcome, error
                self._finish(live)
                answer(peer.connection, Answer(None))
            case what, arguments:
                answer(peer.connection, Answer(self._value(asked, what, arguments)))
                if live is not None and what == "storage":
                    self._notice(live, arguments)

    def _value(self, asked: optuna.Trial | None, what: str, arguments: tuple[Any, ...]) -> Any:
        studies = self._call.studies
        match what, arguments:
            case "storage", _:
                return requests.on_storage(studies, asked, arguments)
            case "trials", (index, known, unfinished):
                return requests.trials_since(studies[index], known, unfinished)
            case "study", (index,):
                return requests.handle_of(index, studies[index])
            case "protected", ():
                return self._call.protected
            case "prune", () if asked is not None:
                with as_read_lately(inside.storage_of(self._call.study)):
                    return self._call.strategies.should_prune(asked)
            case "setting", (name, distribution) if asked is not None:
                return self._call.strategies.setting(asked, name, distribution)
            case "stop", ():
                inside.set_stop_flag(self._call.study, True)
                return None
        raise ValueError(f"an attempt asked {what!r}, which its host does not know")

    def _ready(self, peer: Peer, line: int, objective: str) -> None:
        """Answered with the word to go, when there is one."""
        self.lines_reached += 1
        call = self._call
        if (line, objective) == (call.line, call.objective):
            peer.is_ready()
        else:
            self._mismatch(
                f"the script, run again, calls optimize with {objective} where it was "
                f"{call.objective} (call {line}); an attempt cannot tell what to run"
            )

    def _notice(self, live: Live, arguments: tuple[Any, ...]) -> None:
        """Keep what an attempt has said of its own trial."""
        _, method, values = arguments
        if live.asked is None or not values or values[0] != inside.trial_id_of(live.asked):
            return
        if method == "set_trial_intermediate_value":
            _, step, value = values
            live.reported(step, value)
            self._reported(live)
        elif method == "set_trial_param":
            _, name, internal, distribution = values
            external = distribution.to_external_repr(internal)
            self._call.strategies.suggested(live.asked, name, external, distribution)
