"""The host's loop: between the supervisor, the attempts and the study.

The supervisor says start, stop and how an end is to be taken. One thread does all of it but the
sampler's work (``asking``) and starting a supervisor in the place of one that was killed: that
takes a second, and meanwhile attempts go on reporting. Not here: the attempts' own lives
(``attempts``), what they ask (``desk``), and what is written in the study (``record``).
"""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from functools import partial

import msgspec

from scheduler import wire
from scheduler.core.actions import Halt, Hold, Note, Refuse, Settle, Start, Stop
from scheduler.core.events import Left, Limited, Offered, Running, Withdrawn
from scheduler.core.model import Attempt, Change, Trial
from scheduler.study import inside
from scheduler.study.board import Board
from scheduler.study.forecasting.ahead import Asked
from scheduler.study.keeping.record import Record
from scheduler.study.serving.asking import Asking
from scheduler.study.serving.attempts import Attempts
from scheduler.study.serving.desk import Call
from scheduler.study.serving.finish import Finisher
from scheduler.study.serving.link import Link
from scheduler.study.serving.queue import Queue
from scheduler.study.serving.reactor import Reactor, ending_signals
from scheduler.study.starting.launch import Launcher

REJOIN_EVERY_S = 0.5
PATIENCE_S = 1.0

Join = Callable[[tuple[Running, ...]], tuple[Link, wire.Welcome, list[wire.ToHost]]]
Summon = Callable[[], None]


class Server:
    """Serves one call until its budget is done or something ends it.

    *join* takes a moment; *summon* returns when there is a supervisor to join. Both raise OSError.
    """

    def __init__(
        self,
        call: Call,
        record: Record,
        queue: Queue,
        finisher: Finisher,
        board: Board,
        launcher: Launcher,
        join: Join,
        summon: Summon,
    ) -> None:
        self._call = call
        self._queue = queue
        self._finisher = finisher
        self._board = board
        self._join = join
        self._summon = summon
        self._summoning = Asking()
        self._link: Link | None = None
        self._reactor = Reactor()
        self._reactor.watch(self._summoning.bell.fileno(), self._summoning.finished)
        self._attempts = Attempts(
            call, record, finisher, board, launcher, self._reactor, self._send
        )
        self._run = call.strategies.applied_to(call.run)  #: as the supervisor knows it
        self.interrupts = 0
        self.halted: str | None = None  #: what would end every trial of the run
        self.refused = False  #: halted, because of what was asked for

    # -- the loop ------------------------------------------------------------------------------

    def run(self) -> None:
        """Serve. What ends the call early is left in ``interrupts`` and in the finisher's error."""
        with ending_signals(self._attempts.bell, self._on_signal):
            try:
                self._rejoin()
                self._board.live = self._attempts.live
                self._attempts.look_after_them()
                while not self._is_over():
                    self._offer()
                    self._board.set(running=self._attempts.running())
                    self._board.refresh()
                    self._attempts.attend_launcher()
                    self._look_at_strategies()
                    self._call.strategies.work()
                    self._reactor.turn(self._patience_s())
            finally:
                self._close()

    def _is_over(self) -> bool:
        if self._attempts.any:
            return False
        is_done = self._queue.is_done(time.monotonic()) and not self._call.strategies.is_at_work
        return self._is_ending() or is_done

    def _patience_s(self) -> float:
        if self._call.strategies.is_at_work:
            return 0.0
        return self._queue.patience_s(time.monotonic(), PATIENCE_S)

    def _is_ending(self) -> bool:
        return bool(self.interrupts) or self._finisher.error is not None

    def _close(self) -> None:
        self._attempts.close()
        self._board.live = None
        self._send(Left(at_s=0.0, run=self._call.run.id))
        if self._link is not None:
            self._link.close()
        self._summoning.close()
        self._reactor.close()
        self._call.ahead.give_back(resumable=self._is_ending())

    def _on_signal(self, number: int) -> None:
        """Once: what runs may finish. Twice, or SIGTERM: what runs is stopped and put back.

        Whoever then asks again does not want to wait for what is being saved.
        """
        stopping = self.interrupts > 1
        self.interrupts += 2 if number == signal.SIGTERM else 1
        if stopping:
            self._reactor.after(0.0, self._attempts.kill_all)
        elif self.interrupts == 1:
            self._board.say(
                f"scheduler: no new attempts; {len(self._attempts.running())} running may finish "
                "(Ctrl-C again stops them and puts them back)"
            )
            self._board.set(state="finishing")
        else:
            self._put_all_back("stopped by you")

    def _put_all_back(self, because: str) -> None:
        self._reactor.after(0.0, lambda: self._attempts.put_all_back(because))

    # -- the supervisor ------------------------------------------------------------------------

    def _rejoin(self, *, summoned: bool = False) -> None:
        """Join with all whose end is not settled; then offer what waits.

        Where there is no supervisor, it is *summoned*, and joined when it is there.
        """
        try:
            self._link, welcome, messages = self._join(self._attempts.unsettled())
        except OSError as error:
            if summoned:
                self._rejoin_later(error)
            else:
                joined = lambda _: self._rejoin(summoned=True)  # noqa: E731
                self._summoning.later(self._summon, joined, self._rejoin_later)
            return
        self._board.set(hold=None)
        self._attempts.budgets = {budget.device.key: budget for budget in welcome.budgets}
        self._call.ahead.begin(self._attempts.budgets)
        self._reactor.watch(self._link.fileno(), self._hear_supervisor)
        for trial in self._queue.offered():
            self._send(Offered(at_s=0.0, trial=trial))
        self._attempts.report_again()
        for message in messages:
            self._obey(message)

    def _rejoin_later(self, error: BaseException) -> None:
        if not isinstance(error, OSError):
            raise error
        self._board.set(hold=f"waits for the supervisor: {error}")
        self._reactor.after(REJOIN_EVERY_S, self._rejoin)

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
                self._attempts.stop(attempt, because)
            case Settle():
                self._settle(message)
            case Refuse():
                self._refused(message)
            case Halt(because=because):
                self._halt(because)
            case Hold(because=because):
                self._board.set(hold=because)
            case Note(change=change):
                self._note(change)

    def _halt(self, because: str) -> None:
        """What runs is stopped and put back, as after a second Ctrl-C."""
        self.halted = because
        self._finisher.halt(because)
        self._board.say(f"scheduler: every trial would end so, and the run stops: {because}")
        self._board.set(state="finishing")
        self._put_all_back("the run stops")

    def _look_at_strategies(self) -> None:
        self._call.strategies.look()
        self._tell_limits()
        wrong = self._call.strategies.wrong or self._call.ahead.stops
        if wrong is not None and self.halted is None:
            self._refuse(wrong)

    def _refuse(self, because: str) -> None:
        """What was asked for does not suit the objective. Before anything has finished little is
        lost by stopping what runs; after that it may finish."""
        self.halted, self.refused = because, True
        self._finisher.refuse(because)
        self._board.set(state="finishing")
        if self._finisher.has_finished_well and self._attempts.any:
            self._board.say(f"scheduler: nothing new starts: {because}")
        else:
            self._put_all_back("the run stops")

    def _tell_limits(self) -> None:
        """What the user has set of them since the supervisor was last told."""
        run = self._call.strategies.applied_to(self._call.run)
        if run != self._run:
            self._run = run
            self._send(
                Limited(at_s=0.0, run=run.id, max_attempts=run.max_attempts, fixed=run.fixed)
            )

    def _note(self, change: Change) -> None:
        """With the number that the user knows the trial by: Optuna's, of its last attempt."""
        number = self._attempts.numbers.get(change.trial) if change.trial is not None else None
        self._board.note(msgspec.structs.replace(change, trial=number))

    def _offer(self) -> None:
        if inside.stop_flag(self._call.study):
            self._queue.quota.stop("study.stop() was called")
        ahead = self._call.ahead
        turn = self._queue.turn(
            time.monotonic(),
            ending=self._is_ending(),
            room=ahead.room,
            ahead=ahead.asks_first,
            want_bytes=ahead.want_bytes(),
        )
        for trial in turn.ask:
            self._ask(trial)
        for trial in turn.offer:
            self._send(Offered(at_s=0.0, trial=trial))
        for number in turn.withdraw:
            self._send(Withdrawn(at_s=0.0, run=self._call.run.id, trial=number))

    def _ask(self, trial: Trial) -> None:
        """Before *trial* is offered: what it wants depends on its parameters."""

        def took(asked: Asked) -> None:
            self._queue.asked(self._call.ahead.took(trial, asked))

        ask = partial(self._call.ahead.ask, trial)
        self._attempts.asking.later(ask, took, self._finisher.end_with)

    def _refused(self, refuse: Refuse) -> None:
        """A new trial that no device could hold: it is answered without being run."""
        trial = next((one for one in self._queue.new() if one.number == refuse.trial), None)
        if trial is None or self._is_ending():
            return
        again = self._call.ahead.refused(trial, refuse)
        if again is None:
            self._queue.drop(trial.number)
        elif self._queue.renew(again):
            self._send(Offered(at_s=0.0, trial=again))

    def _start(self, attempt: Attempt) -> None:
        taken = None
        if not self._is_ending():
            taken = self._queue.take(attempt.trial.number, time.monotonic())
        if taken is None:  # it is withdrawn; the supervisor's word was on its way
            number = attempt.trial.number
            self._send(Withdrawn(at_s=0.0, run=self._call.run.id, trial=number))
            return
        trial, returned = taken
        self._attempts.start(attempt, *self._call.ahead.start(trial, returned=returned))

    def _settle(self, settle: Settle) -> None:
        shown = self._attempts.shown(settle.attempt)
        for trial in self._call.ahead.learn(settle, shown, self._queue.offered()):
            if self._queue.renew(trial):
                self._send(Offered(at_s=0.0, trial=trial))
        again = self._attempts.settle(settle)
        if again is not None:
            again = self._call.ahead.returned(again, shown)
            self._queue.put_back(again)
            self._send(Offered(at_s=0.0, trial=again))
