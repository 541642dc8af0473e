"""The attempts of one call, from the supervisor's Start until their end is settled.

What is heard of an attempt's process and what it wrote is put together here, and told to the
supervisor and to the study. Not here: who may start, and the conversation with the supervisor
(``serve``).
"""

from __future__ import annotations

import signal
from collections.abc import Callable
from pathlib import Path

import msgspec
import optuna

from scheduler import wire
from scheduler.core.actions import Settle
from scheduler.core.events import Exited, Running, Started
from scheduler.core.model import Attempt, Budget, Evidence, Trial
from scheduler.machine import groups, processes
from scheduler.machine.runs import LiveTrial
from scheduler.study.board import Board
from scheduler.study.forecasting.foreseen import Foreseen
from scheduler.study.forecasting.history import Shown
from scheduler.study.keeping.outcome import read as read_outcome
from scheduler.study.keeping.record import Record
from scheduler.study.keeping.resume import once_more
from scheduler.study.serving.asking import Asking
from scheduler.study.serving.desk import Call, Desk
from scheduler.study.serving.finish import Finisher
from scheduler.study.serving.live import Live, evidence_of
from scheduler.study.serving.reactor import Reactor
from scheduler.study.serving.saves import LOOK_EVERY_S, Saves
from scheduler.study.serving.signalling import Signalling
from scheduler.study.serving.strides import Strides
from scheduler.study.starting.launch import Ended, Forked, Launcher, LauncherGone, tail

MAX_SPARE_DEATHS = 3
PAST_KEPT = 100

Send = Callable[[wire.FromHost], None]


class Attempts:
    """All that have started and are not settled. *send* takes what the supervisor must know."""

    def __init__(
        self,
        call: Call,
        record: Record,
        finisher: Finisher,
        board: Board,
        launcher: Launcher,
        reactor: Reactor,
        send: Send,
    ) -> None:
        self._call = call
        self._record = record
        self._finisher = finisher
        self._board = board
        self._launcher = launcher
        self._reactor = reactor
        self._send = send
        self._asking = Asking()
        self._lives: dict[str, Live] = {}
        self._past: dict[str, Live] = {}  #: told and gone; how they held memory is still to come
        self._strides = Strides(send)
        self._desk = Desk(
            call,
            self._lives,
            self._asking,
            reactor,
            self._tell_finished,
            self._end_with,
            self._strides.reported,
        )
        self._spares_lost_at: list[int] = []
        self._signalling = Signalling(reactor, call.stop_grace_s)
        self._saves = Saves(call.folder, call.line, send)
        self._all_go_back: str | None = None  #: why
        self._homes = groups.find()
        self.budgets: dict[str, Budget] = {}  #: the devices that attempts may be given
        self.numbers: dict[int, int] = {}  #: Optuna's number of a trial's last attempt
        reactor.watch(self._asking.bell.fileno(), self._asking.finished)

    @property
    def bell(self) -> int:
        """A descriptor that wakes the reactor when it is written to."""
        return self._asking.ring.fileno()

    @property
    def asking(self) -> Asking:
        """The thread in which the sampler works."""
        return self._asking

    @property
    def any(self) -> bool:
        return bool(self._lives)

    def running(self) -> dict[str, int]:
        """Optuna's trial number by attempt id, of those whose process runs."""
        return {
            live.attempt.id: live.number
            for live in self._lives.values()
            if live.runs and live.number is not None
        }

    def live(self) -> dict[str, LiveTrial]:
        """What those that run have reported, by attempt id."""
        return {
            live.attempt.id: shown
            for live in self._lives.values()
            if (shown := live.shown()) is not None
        }

    def look_after_them(self) -> None:
        """Tell of checkpoints and reports, now and again after a while."""
        self._saves.look(self._lives.values())
        self._strides.look(self._lives.values())
        self._reactor.after(LOOK_EVERY_S, self.look_after_them)

    def unsettled(self) -> tuple[Running, ...]:
        """What a supervisor must know when it is joined."""
        return tuple(
            Running(attempt=live.attempt, process=live.process)
            for live in self._lives.values()
            if not live.told or live.runs
        )

    def report_again(self) -> None:
        """Say again which of the unsettled have ended, and what those that run have saved and
        reported."""
        for live in list(self._lives.values()):
            self._saves.tell(live)
            self._strides.tell(live)
            if live.evidence is not None:
                self._report_exit(live)

    def attend_launcher(self) -> None:
        """Listen to whatever the launcher has new to listen to."""
        for peer in self._launcher.peers():
            self._desk.attend(peer)
        for descriptor in self._launcher.descriptors():
            self._reactor.watch(descriptor, lambda fd=descriptor: self._news(fd))  # type: ignore[misc]

    def close(self) -> None:
        """End what is left."""
        self._asking.close()
        self._launcher.close()
        self._signalling.close()
        groups.sweep(self._homes)
        for live in self._lives.values():
            if live.peer is not None:
                self._desk.dismiss(live.peer)

    def _end_with(self, text: str) -> None:
        self._finisher.end_with(RuntimeError(text))

    # -- from its start to its end -------------------------------------------------------------

    def start(self, attempt: Attempt, ask: Callable[[], optuna.Trial], foreseen: Foreseen) -> None:
        """Start a process for a trial, and *ask* the study for it, at the same time."""
        live = self._lives[attempt.id] = Live(attempt=attempt, foreseen=foreseen)
        self._board.started()
        self._asking.later(
            ask,
            lambda asked: self._asked(live, asked),
            lambda error: self._not_asked(live, error),
        )
        try:
            live.peer, pid = self._launcher.launch(attempt, self.budgets[attempt.device])
        except OSError as error:
            because = f"the attempt did not start: {error}"
            self._exited(live, Evidence(signal=signal.SIGKILL, message=because))
            return
        self._desk.attend(live.peer)
        if pid is not None:
            self._forked(Forked(attempt.id, pid))

    def _not_asked(self, live: Live, error: BaseException) -> None:
        """The sampler or the storage raised: in ``optimize`` this ends the run."""
        self._finisher.end_with(error)
        self._let_go(live)
        self._signalling.kill(live)

    def _asked(self, live: Live, asked: optuna.Trial) -> None:
        live.asked = asked
        self.numbers[live.trial.number] = asked.number
        live.log = str(self._call.folder / "logs" / f"{asked.number}.log")
        if self._all_go_back is not None:
            self._put_back_stopped(live, self._all_go_back)
        elif live.evidence is not None:  # it died while the sampler was at work
            self._report_exit(live)
        elif live.peer is not None:
            self._saves.begin(live)
            budget = self.budgets[live.attempt.device]
            live.peer.go(self._call.go(live.attempt, asked, budget, live.log))

    def _news(self, descriptor: int) -> None:
        try:
            news = self._launcher.news(descriptor)
        except LauncherGone:
            self._replace_launcher(descriptor)
            return
        for event in news:
            if isinstance(event, Forked):
                self._forked(event)
            else:
                self._ended(event)
        if descriptor not in self._launcher.descriptors():
            self._reactor.forget(descriptor)

    def _replace_launcher(self, descriptor: int) -> None:
        """What the old one had started died with it, by a kill."""
        self._reactor.forget(descriptor)
        self._launcher = self._launcher.replacement()
        self._board.set(way=self._launcher.way)
        self._board.warn(f"attempts start by {self._launcher.way} from now on")
        for live in list(self._lives.values()):
            if live.runs:
                self._ended(Ended(live.attempt.id, signal.SIGKILL))

    def _forked(self, event: Forked) -> None:
        live = self._lives[event.attempt]
        live.process = processes.identify(event.pid)
        if live.process is not None:
            self._send(Started(at_s=0.0, attempt=event.attempt, process=live.process))
        if live.stopping or live.told:
            self._signalling.kill(live)

    def _ended(self, event: Ended) -> None:
        if event.attempt is None:
            self._spare_died()
            return
        live = self._lives[event.attempt]
        if live.peer is not None:
            self._desk.drain(live.peer)
            self._desk.dismiss(live.peer)
        if live.outcome is None and live.number is not None:
            live.outcome = read_outcome(self._call.outcome_path(live.number))
            self._tell_finished(live)
        self._signalling.end_children(live)
        log = Path(live.log) if live.log else self._call.folder / "logs" / "re-run.log"
        evidence = evidence_of(live.outcome, event.status, tail(log))
        if live.process is not None and live.attempt.cap_bytes is not None:
            process = live.process
            hit = groups.leave(process.pid, process.started_ticks, self._homes)
            evidence = msgspec.structs.replace(evidence, hit_own_limit=hit)
        self._exited(live, evidence)

    def _exited(self, live: Live, evidence: Evidence) -> None:
        live.evidence = evidence
        if live.goes_back is not None:
            self._put_back(live, live.goes_back)
        elif live.asked is not None or live.told:
            self._report_exit(live)

    def _report_exit(self, live: Live) -> None:
        assert live.evidence is not None
        proven = self._finisher.has_finished_well
        evidence = msgspec.structs.replace(live.evidence, proven=proven)
        self._strides.tell_last(live)
        self._send(Exited(at_s=0.0, attempt=live.attempt.id, evidence=evidence))
        if live.told:
            del self._lives[live.attempt.id]
            self._past[live.attempt.id] = live
            if len(self._past) > PAST_KEPT:
                del self._past[next(iter(self._past))]
            if live.is_final:
                self._saves.remove(live.trial)

    def _let_go(self, live: Live) -> None:
        """Nothing more is to be told of it; it is forgotten when its process is gone."""
        live.told = True
        if live.evidence is not None:
            self._report_exit(live)

    def shown(self, attempt: Attempt) -> Shown:
        """What an *attempt* that has ended has shown of itself."""
        live = self._lives.get(attempt.id) or self._past.pop(attempt.id, None)
        return Shown() if live is None else live.has_shown()

    def settle(self, settle: Settle) -> Trial | None:
        """Take an end as the supervisor says; returns the trial that comes back, if it does.

        What the study knows already stays as it is.
        """
        live = self._lives.get(settle.attempt.id)
        if live is None or live.told or live.evidence is None or live.number is None:
            return None
        del self._lives[settle.attempt.id]
        because = settle.verdict.because
        match settle.settlement:
            case "again" if settle.again is not None:
                self._finisher.put_back(live.number, settle.again, live.stopping or because)
                if settle.verdict.kind == "configuration":
                    self._finisher.misconfigured(live.outcome, live.error)
            case "capacity":
                self._finisher.capacity(live.number, because)
            case "done" if live.outcome is not None:
                self._finisher.user_error(live.outcome, live.error)
            case settlement:
                self._finisher.failed(live.number, because, fatal=settlement == "done")
        self._call.outcome_path(live.number).unlink(missing_ok=True)
        if settle.settlement == "again":
            return settle.again
        self._saves.remove(live.trial)
        return None

    def _tell_finished(self, live: Live) -> None:
        """A finished outcome is told as soon as it is known; a failed one waits for its verdict."""
        if live.outcome is None or live.outcome.state == "failed" or live.told:
            return
        live.told = True
        try:
            self._finisher.finished(live.outcome)
        except Exception as error:  # the storage, the sampler: `optimize` would end with it
            self._finisher.end_with(error)
            return
        live.is_final = True
        self._call.outcome_path(live.outcome.number).unlink(missing_ok=True)
        self._signalling.linger(live)

    def _spare_died(self) -> None:
        """The script, run again, ended before the line: a reason to end when it does so always."""
        self._spares_lost_at.append(self._desk.lines_reached)
        if self._spares_lost_at.count(self._desk.lines_reached) >= MAX_SPARE_DEATHS:
            log = self._call.folder / "logs" / "re-run.log"
            self._end_with(
                "the script, run again for an attempt, ended before its optimize call; "
                f"{log} ends with:\n{tail(log, 1000)}"
            )

    # -- stopping ------------------------------------------------------------------------------

    def stop(self, attempt: Attempt, because: str) -> None:
        """End it; its trial comes back."""
        if (live := self._lives.get(attempt.id)) is not None:
            self._signalling.stop(live, because)

    def put_all_back(self, because: str) -> None:
        """The run is stopped: all come back as they were when it is resumed."""
        self._all_go_back = because
        for live in list(self._lives.values()):
            self._put_back_stopped(live, because)

    def kill_all(self) -> None:
        """The grace time is over."""
        for live in list(self._lives.values()):
            self._signalling.kill(live)

    def _put_back_stopped(self, live: Live, because: str) -> None:
        """When it has ended: until then it may report, and may yet finish."""
        if live.told or live.number is None:
            return
        if not live.runs:
            self._put_back(live, because)
            return
        live.goes_back = because
        self._signalling.stop(live, because)

    def _put_back(self, live: Live, because: str) -> None:
        """Without a word from the supervisor, which may not know why it ended."""
        if live.number is not None and not live.told:
            self._finisher.put_back(live.number, once_more(live.trial), because)
        self._let_go(live)
