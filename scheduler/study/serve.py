"""The host's loop: between the supervisor, the attempts and the study.

One thread does all of it but the sampler's work (``asking``). The supervisor says start, stop and
how an end is to be taken; attempts ask (``desk``); the study is told (``finish``). Not here: how
processes start (``launch``) and what is written in the study (``record``).
"""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from pathlib import Path

import msgspec
import optuna

from scheduler import wire
from scheduler.core.actions import Hold, Note, Settle, Start, Stop
from scheduler.core.events import Exited, Left, Offered, Running, Started, Withdrawn
from scheduler.core.model import Attempt, Budget, Change, Evidence, Process
from scheduler.machine import processes
from scheduler.study import inside, requests
from scheduler.study.asking import Asking
from scheduler.study.board import Board
from scheduler.study.channel import Go
from scheduler.study.desk import Call, Desk
from scheduler.study.finish import Finisher
from scheduler.study.launch import Ended, Forked, Launcher, LauncherGone, tail
from scheduler.study.link import Link
from scheduler.study.live import Live, evidence_of
from scheduler.study.outcome import read as read_outcome
from scheduler.study.queue import Queue
from scheduler.study.reactor import Reactor, ending_signals
from scheduler.study.record import Record
from scheduler.study.resume import once_more

STOP_GRACE_S = 5.0  #: between SIGTERM and SIGKILL
LINGER_S = 30.0  #: how long the exit handlers of a finished attempt may take
REJOIN_EVERY_S = 0.5
MAX_SPARE_DEATHS = 3
PATIENCE_S = 1.0

Join = Callable[[tuple[Running, ...]], tuple[Link, wire.Welcome, list[wire.ToHost]]]


class Server:
    """Serves one call until its budget is done or something ends it."""

    def __init__(
        self,
        call: Call,
        record: Record,
        queue: Queue,
        finisher: Finisher,
        board: Board,
        launcher: Launcher,
        join: Join,
    ) -> None:
        self._call = call
        self._record = record
        self._queue = queue
        self._finisher = finisher
        self._board = board
        self._launcher = launcher
        self._join = join
        self._link: Link | None = None
        self._budgets: dict[str, Budget] = {}
        self._lives: dict[str, Live] = {}
        self._numbers: dict[int, int] = {}  # Optuna's number of a trial's last attempt
        self._reactor = Reactor()
        self._asking = Asking()
        self._desk = Desk(
            call, self._lives, self._asking, self._reactor, self._tell_finished, self._end_with
        )
        self._spares_lost_at: list[int] = []
        self._left: list[Process] = []  # attempts that are gone, and had children that were not
        self.interrupts = 0

    # -- the loop ------------------------------------------------------------------------------

    def run(self) -> None:
        """Serve. What ends the call early is left in ``interrupts`` and in the finisher's error."""
        with ending_signals(self._asking.ring.fileno(), self._on_signal):
            try:
                self._reactor.watch(self._asking.bell.fileno(), self._asking.finished)
                self._rejoin()
                while not self._is_over():
                    self._offer()
                    self._show()
                    self._attend_launcher()
                    self._reactor.turn(self._queue.patience_s(time.monotonic(), PATIENCE_S))
            finally:
                self._close()

    def _show(self) -> None:
        running = {
            live.attempt.id: live.number
            for live in self._lives.values()
            if live.runs and live.number is not None
        }
        self._board.set(running=running)
        self._board.refresh()

    def _is_over(self) -> bool:
        if self._lives:
            return False
        return self._is_ending() or self._queue.is_done(time.monotonic())

    def _is_ending(self) -> bool:
        return bool(self.interrupts) or self._finisher.error is not None

    def _attend_launcher(self) -> None:
        for peer in self._launcher.peers():
            self._desk.attend(peer)
        for descriptor in self._launcher.descriptors():
            self._reactor.watch(descriptor, lambda fd=descriptor: self._news(fd))  # type: ignore[misc]

    def _close(self) -> None:
        self._asking.close()
        self._launcher.close()
        for leader in self._left:
            self._signal_session(leader, signal.SIGKILL)
        self._send(Left(at_s=0.0, run=self._call.run.id))
        if self._link is not None:
            self._link.close()
        for live in self._lives.values():
            if live.peer is not None:
                self._desk.dismiss(live.peer)
        self._reactor.close()

    def _end_with(self, text: str) -> None:
        self._finisher.end_with(RuntimeError(text))

    # -- the supervisor ------------------------------------------------------------------------

    def _rejoin(self) -> None:
        """Join with all whose end is not settled; then offer what waits."""
        lives = [live for live in self._lives.values() if not live.told or live.runs]
        running = tuple(Running(attempt=live.attempt, process=live.process) for live in lives)
        try:
            self._link, welcome, messages = self._join(running)
        except OSError as error:
            self._board.set(hold=f"waits for the supervisor: {error}")
            self._reactor.after(REJOIN_EVERY_S, self._rejoin)
            return
        self._board.set(hold=None)
        self._budgets = {budget.device.key: budget for budget in welcome.budgets}
        self._reactor.watch(self._link.fileno(), self._hear_supervisor)
        for trial in self._queue.offered():
            self._send(Offered(at_s=0.0, trial=trial))
        for live in lives:
            if live.evidence is not None:
                self._send(Exited(at_s=0.0, attempt=live.attempt.id, evidence=live.evidence))
        for message in messages:
            self._obey(message)

    def _send(self, message: wire.FromHost) -> None:
        if self._link is not None:
            self._link.send(message)

    def _hear_supervisor(self) -> None:
        assert self._link is not None
        messages = self._link.receive()
        if messages is None:
            self._reactor.forget(self._link.fileno())
            self._link.close()
            self._link = None
            self._rejoin()
            return
        for message in messages:
            self._obey(message)

    def _obey(self, message: wire.ToHost) -> None:
        match message:
            case Start(attempt=attempt):
                self._start(attempt)
            case Stop(attempt=attempt, because=because):
                if (live := self._lives.get(attempt.id)) is not None:
                    self._stop(live, because)
            case Settle():
                self._settle(message)
            case Hold(because=because):
                self._board.set(hold=because)
            case Note(change=change):
                self._note(change)

    def _note(self, change: Change) -> None:
        """With the number that the user knows the trial by: Optuna's, of its last attempt."""
        number = self._numbers.get(change.trial) if change.trial is not None else None
        self._board.note(msgspec.structs.replace(change, trial=number))

    def _offer(self) -> None:
        if inside.stop_flag(self._call.study):
            self._queue.quota.stop("study.stop() was called")
        offer, withdraw = self._queue.turn(time.monotonic(), ending=self._is_ending())
        for trial in offer:
            self._send(Offered(at_s=0.0, trial=trial))
        for number in withdraw:
            self._send(Withdrawn(at_s=0.0, run=self._call.run.id, trial=number))

    # -- an attempt's life ---------------------------------------------------------------------

    def _start(self, attempt: Attempt) -> None:
        taken = None
        if not self._is_ending():
            taken = self._queue.take(attempt.trial.number, time.monotonic())
        if taken is None:  # it is withdrawn; the supervisor's word was on its way
            gone = Withdrawn(at_s=0.0, run=self._call.run.id, trial=attempt.trial.number)
            self._send(gone)
            return
        trial, returned = taken
        live = self._lives[attempt.id] = Live(attempt=attempt)
        self._board.started()
        self._asking.later(
            lambda: self._record.ask(trial, returned=returned),
            lambda asked: self._asked(live, asked),
            lambda error: self._not_asked(live, error),
        )
        try:
            live.peer, pid = self._launcher.launch(attempt, self._budgets[attempt.device])
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
        self._kill(live, signal.SIGKILL)

    def _asked(self, live: Live, asked: optuna.Trial) -> None:
        live.asked = asked
        self._numbers[live.trial.number] = asked.number
        live.log = str(self._call.folder / "logs" / f"{asked.number}.log")
        if self.interrupts > 1:
            self._put_back_stopped(live)
        elif live.evidence is not None:  # it died while the sampler was at work
            self._report_exit(live)
        elif live.peer is not None:
            live.peer.go(self._go(live, asked))

    def _go(self, live: Live, asked: optuna.Trial) -> Go:
        budget = self._budgets[live.attempt.device]
        studies = enumerate(self._call.studies)
        return Go(
            attempt=live.attempt,
            study=self._call.study_index,
            studies=tuple(requests.handle_of(index, study) for index, study in studies),
            trial=inside.live_record(asked),
            search_space=asked.relative_search_space or {},
            relative_params=asked.relative_params,
            environment=dict(budget.device.environment),
            on_host=budget.device.kind == "host",
            total_bytes=budget.device.total_bytes,
            threads=self._call.threads(budget),
            log=live.log,
            outcome=str(self._outcome_path(asked.number)),
        )

    def _outcome_path(self, number: int) -> Path:
        return self._call.folder / "outcomes" / f"{self._call.line}-{number}.json"

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
            self._kill(live, signal.SIGKILL)

    def _ended(self, event: Ended) -> None:
        if event.attempt is None:
            self._spare_died()
            return
        live = self._lives[event.attempt]
        if live.peer is not None:
            self._desk.drain(live.peer)
            self._desk.dismiss(live.peer)
        if live.outcome is None and live.number is not None:
            live.outcome = read_outcome(self._outcome_path(live.number))
            self._tell_finished(live)
        self._end_children(live)
        log = Path(live.log) if live.log else self._call.folder / "logs" / "re-run.log"
        self._exited(live, evidence_of(live.outcome, event.status, tail(log)))

    def _exited(self, live: Live, evidence: Evidence) -> None:
        live.evidence = evidence
        if live.asked is not None or live.told:
            self._report_exit(live)

    def _report_exit(self, live: Live) -> None:
        assert live.evidence is not None
        self._send(Exited(at_s=0.0, attempt=live.attempt.id, evidence=live.evidence))
        if live.told:
            del self._lives[live.attempt.id]

    def _let_go(self, live: Live) -> None:
        """Nothing more is to be told of it; it is forgotten when its process is gone."""
        live.told = True
        if live.evidence is not None:
            self._report_exit(live)

    def _settle(self, settle: Settle) -> None:
        """Take an end as the supervisor says. What the study knows already stays as it is."""
        live = self._lives.get(settle.attempt.id)
        if live is None or live.told or live.evidence is None or live.number is None:
            return
        del self._lives[settle.attempt.id]
        because = settle.verdict.because
        match settle.settlement:
            case "again" if settle.again is not None:
                self._finisher.put_back(live.number, settle.again, live.stopping or because)
                self._queue.put_back(settle.again)
                self._send(Offered(at_s=0.0, trial=settle.again))
            case "capacity":
                self._finisher.capacity(live.number, because)
            case "done" if live.outcome is not None:
                self._finisher.user_error(live.outcome, live.error)
            case settlement:
                self._finisher.failed(live.number, because, fatal=settlement == "done")
        self._outcome_path(live.number).unlink(missing_ok=True)

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
        self._outcome_path(live.outcome.number).unlink(missing_ok=True)
        self._reactor.after(LINGER_S, lambda: self._kill(live, signal.SIGKILL))

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

    def _stop(self, live: Live, because: str) -> None:
        live.stopping = because
        self._kill(live, signal.SIGTERM)
        self._reactor.after(STOP_GRACE_S, lambda: self._kill(live, signal.SIGKILL))

    def _kill(self, live: Live, number: int) -> None:
        """Signal an attempt's own process; what it started is ended after it."""
        if live.process is not None and live.evidence is None:
            processes.send(live.process, number)

    def _on_signal(self, number: int) -> None:
        """Once: what runs may finish. Twice, or SIGTERM: what runs is stopped and put back."""
        self.interrupts += 2 if number == signal.SIGTERM else 1
        if self.interrupts == 1:
            running = sum(live.runs for live in self._lives.values())
            self._board.say(
                f"scheduler: no new attempts; {running} running may finish "
                "(Ctrl-C again stops them and puts them back)"
            )
            self._board.set(state="finishing")
        else:
            self._reactor.after(0.0, self._put_all_back)

    def _end_children(self, live: Live) -> None:
        """What an attempt has left in its session (data loaders) holds memory, so it is ended."""
        leader = live.process
        if leader is not None and processes.members(leader):
            self._left.append(leader)
            self._signal_session(leader, signal.SIGTERM)
            kill = signal.SIGKILL
            self._reactor.after(STOP_GRACE_S, lambda: self._signal_session(leader, kill))

    def _signal_session(self, leader: Process, number: int) -> None:
        for member in processes.members(leader):
            processes.send(member, number)

    def _put_all_back(self) -> None:
        for live in list(self._lives.values()):
            if live.number is not None:
                self._put_back_stopped(live)

    def _put_back_stopped(self, live: Live) -> None:
        """Stopped by the user: it comes back as it was when the run is resumed."""
        if live.told or live.number is None:
            return
        self._finisher.put_back(live.number, once_more(live.trial), "stopped by you")
        self._stop(live, "stopped by you")
        self._let_go(live)
