"""The role of the host: the script's ``optimize`` calls are served here."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

import optuna
from optuna.trial import FrozenTrial

from scheduler import wire
from scheduler.core.events import Running
from scheduler.core.model import Budget, Run
from scheduler.machine.cores import usable_cores
from scheduler.machine.runs import RunSpec
from scheduler.machine.state import StateFolder
from scheduler.machine.summon import NoSupervisor, ensure_supervisor
from scheduler.study import inside
from scheduler.study.attempt.role import become_attempt
from scheduler.study.board import Board, best_of
from scheduler.study.channel import Line
from scheduler.study.forecasting.ahead import Ahead
from scheduler.study.forecasting.history import History
from scheduler.study.keeping import resume
from scheduler.study.keeping.in_turn import InTurn
from scheduler.study.keeping.memory import Memory
from scheduler.study.keeping.patient import Patient
from scheduler.study.keeping.record import Record
from scheduler.study.keeping.storage import take_in
from scheduler.study.serving import link
from scheduler.study.serving.desk import Call
from scheduler.study.serving.finish import Finisher
from scheduler.study.serving.queue import Queue
from scheduler.study.serving.quota import Quota
from scheduler.study.serving.saves import keep_only
from scheduler.study.serving.serve import Server
from scheduler.study.starting import canary, rerun, template
from scheduler.study.starting.launch import Forks, Launcher, Reruns
from scheduler.study.strategies.changes import Changes
from scheduler.study.strategies.scene import Scene
from scheduler.study.strategies.strategies import Strategies
from scheduler.study.takeover import Takeover, catch_of, name_of

Joining = tuple[link.Link, wire.Welcome, list[wire.ToHost]]
ADDED = "scheduler:added"  #: "RUN/N": the N-th trial that the run's script added itself


class Interrupted(KeyboardInterrupt):
    """Ctrl-C ended the run. ``put_back``: attempts were stopped; else they had finished."""

    def __init__(self, put_back: bool) -> None:
        super().__init__(put_back)
        self.put_back = put_back


class Host:
    """One run's host. *memory* is what earlier lives of the run left in its folder."""

    def __init__(
        self, state: StateFolder, folder: Path, spec: RunSpec, memory: Memory, board: Board
    ) -> None:
        self._state = state
        self._folder = folder
        self._spec = spec
        self._memory = memory
        self._board = board
        self._added = 0
        self.calls = 0
        self.halted: str | None = None  #: what would end every trial of the run
        self.refused = False  #: halted, because of what was asked for
        self.studies: list[optuna.Study] = []
        #: Of each study its pruner and its sampler where Optuna chose them and not the script.
        self._defaults: WeakKeyDictionary[optuna.Study, tuple[Any, Any]] = WeakKeyDictionary()
        self.takeover: Takeover | None = None
        self._limits: Callable[[Run], Run] = lambda run: run  #: with what its user has set since

    # -- the script's calls before and between optimize ------------------------------------------

    def create_study(self, original: Callable[..., optuna.Study], **kwargs: Any) -> optuna.Study:
        """On a resume the k-th call answers with the run's own k-th study, as it left it."""
        name = self._memory.study(len(self.studies))
        if name is not None and kwargs.get("storage") is not None:
            kwargs["study_name"] = name
            if "direction" in kwargs or "load_if_exists" in kwargs or _creates(original):
                kwargs["load_if_exists"] = True
        quietly = self._memory.resumed and kwargs.get("storage") is None
        with inside.quiet() if quietly else contextlib.nullcontext():
            study = original(**kwargs)
        in_memory = inside.is_in_memory(inside.storage_of(study))
        self._memory.remember(len(self.studies), None if in_memory else study)
        self._defaults[study] = (
            study.pruner if kwargs.get("pruner") is None else None,
            study.sampler if kwargs.get("sampler") is None else None,
        )
        self.studies.append(study)
        return study

    def delete_study(self, original: Callable[..., None], **kwargs: Any) -> None:
        """On a resume a script that starts by deleting its old study must not delete this one."""
        if self._memory.resumed and self._memory.is_ours(kwargs.get("study_name")):
            self._board.warn(f"resuming: study {kwargs.get('study_name')} is kept, not deleted")
            return
        original(**kwargs)

    def add_trial(self, original: Callable[..., None], study: optuna.Study, trial: Any) -> None:
        """``enqueue_trial`` ends here too. What an earlier life has added is not added twice."""
        stamp = f"{self._spec.run.id}/{self._added}"
        self._added += 1
        if self._memory.resumed and any(
            known.system_attrs.get(ADDED) == stamp for known in study.get_trials(deepcopy=False)
        ):
            return
        trial.system_attrs[ADDED] = stamp
        original(study, trial)

    def stop(self, original: Callable[..., None], study: optuna.Study) -> None:
        original(study)

    def may_remove(self, path: str) -> bool:
        if self._memory.resumed and path in self._memory.files():
            self._board.warn(f"resuming: {path} is kept, not deleted")
            return False
        return True

    # -- optimize --------------------------------------------------------------------------------

    def optimize(self, study: optuna.Study, call: dict[str, Any]) -> None:
        """Serve the call: returns when its budget is done, raises as ``optimize`` would."""
        assert self.takeover is not None
        if inside.in_optimize_loop(study):
            raise RuntimeError("Nested invocation of `Study.optimize` method isn't allowed.")
        if not any(known is study for known in self.studies):
            self.studies.append(study)
        line, self.calls = self.calls, self.calls + 1
        if call["n_jobs"] != 1:
            self._board.warn(f"n_jobs={call['n_jobs']} is not used: memory decides how many run")
        if self._spec.n_trials is not None:
            call["n_trials"] = self._spec.n_trials
        launcher = self._launcher(line, call)
        self.takeover.inside = True
        own_storage = self._bring_in(study)
        try:
            self._serve(study, line, call, launcher)
        finally:
            self.takeover.inside = False
            inside.set_in_optimize_loop(study, False)
            inside.put_on_storage(study, own_storage, inside.study_id_of(study))

    def _launcher(self, line: int, call: dict[str, Any]) -> Launcher:
        """Fork where that is safe. Called before anything of the host's own has started."""
        because = "asked for" if self._spec.start == "re-run" else None
        if self._spec.start == "auto":
            because = canary.why_not_fork()
        if because is not None:
            return self._reruns(line, because)
        takeover = self.takeover
        assert takeover is not None

        def begin(channel: Line) -> None:
            become_attempt(takeover, channel, line, call, self.studies)

        killed = "the template process was killed"
        return Forks(template.start(begin), lambda: self._reruns(line, killed))

    def _reruns(self, line: int, because: str) -> Reruns:
        def spawn(budget: Budget) -> rerun.Spare:
            log = self._folder / "logs" / "re-run.log"
            environment = dict(budget.device.environment)
            return rerun.spawn(self._folder, line, environment, self._threads(budget), log)

        return Reruns(because, spawn)

    def _bring_in(self, study: optuna.Study) -> Any:
        """Put the study on a storage that survives and takes one call at a time.

        Returns the storage that it keeps after the call.
        """
        if inside.is_in_memory(inside.storage_of(study)):
            index = next(i for i, known in enumerate(self.studies) if known is study)
            take_in(study, self._folder / f"study-{index}.db")
        own = inside.storage_of(study)
        inside.put_on_storage(study, Patient(own, self._folder), inside.study_id_of(study))
        self._memory.protect(own)
        return own

    def _serve(
        self, study: optuna.Study, line: int, call: dict[str, Any], launcher: Launcher
    ) -> None:
        run = self._spec.run
        record = Record(study, run.id, line)
        finisher = Finisher(record, call["callbacks"] or (), self._board)
        inside.set_in_optimize_loop(study, True)
        inside.set_stop_flag(study, False)
        back = resume.take_up(record, finisher, self._folder / "outcomes", self._memory.resumed)
        keep_only(self._folder, line, back)
        begun = resume.begun(record)
        if self._memory.resumed and begun:
            study.sampler.reseed_rng()  # a fixed seed would draw what an earlier life has drawn
        quota = Quota(call["n_trials"], call["timeout"], begun=len(begun))
        queue = Queue(
            run.id, quota, back, next_number=resume.next_number(record), left=record.candidates()
        )
        self._show(study, record, line, call, launcher)
        strategies = Strategies(self._scene(study, record, quota, earlier=bool(begun)))
        self._limits = strategies.applied_to
        ahead = Ahead(
            record,
            History(self._state, self._folder, self._spec, line),
            finisher,
            lambda: strategies.applied_to(run).keeps_promise,
        )

        def when_final(trial: FrozenTrial) -> None:
            ahead.finished(trial)
            strategies.finished(trial)

        finisher.when_final = when_final
        strategies.begin()
        server = Server(
            Call(
                run=run,
                line=line,
                objective=name_of(call["func"]),
                study_index=next(i for i, known in enumerate(self.studies) if known is study),
                studies=self.studies,
                folder=self._folder,
                threads=self._threads,
                stop_grace_s=self._spec.stop_grace_s,
                nice=self._spec.nice,
                io=self._spec.io,
                protected=self._memory.files(),
                strategies=strategies,
                ahead=ahead,
            ),
            record,
            queue,
            finisher,
            self._board,
            launcher,
            self._join,
            self._summon,
        )
        try:
            server.run()
        finally:
            self.halted, self.refused = server.halted, server.refused
            if strategies.wrong is not None and server.halted is None:  # by the last trial of all
                self._board.warn(strategies.wrong)
            strategies.end()
            self._board.set(running={}, live={}, hold=None)
            self._board.conclude()
        if finisher.error is not None:
            raise finisher.error
        if server.interrupts:
            raise Interrupted(put_back=server.interrupts > 1)

    def _scene(self, study: optuna.Study, record: Record, quota: Quota, *, earlier: bool) -> Scene:
        asked = self._spec.asked
        pruner, sampler = self._defaults.get(study, (None, None))
        return Scene(
            asked=asked,
            study=study,
            record=record,
            quota=quota,
            board=self._board,
            changes=Changes(self._spec.run.id, self._board, asked.fixed),
            folder=self._folder,
            has_own_pruner=study.pruner is not pruner,
            has_own_sampler=study.sampler is not sampler,
            earlier=earlier,
            max_attempts=self._spec.run.max_attempts,
        )

    def _join(self, running: tuple[Running, ...]) -> Joining:
        return link.join(self._state, self._limits(self._spec.run), running)

    def _summon(self) -> None:
        """Starts a supervisor where there is none: one that was killed or has left."""
        try:
            ensure_supervisor(self._state)
        except NoSupervisor as error:
            raise ConnectionError(str(error)) from error

    def _show(
        self,
        study: optuna.Study,
        record: Record,
        line: int,
        call: dict[str, Any],
        launcher: Launcher,
    ) -> None:
        catch_of(call["catch"])  # a wrong one is refused before anything runs
        counts = resume.counts(record)
        finished_at_s, durations_s = resume.paces(record)
        self._board.set(
            state="running",
            study_name=study.study_name,
            storage=describe(inside.storage_of(study)),
            way=launcher.way,
            n_trials=call["n_trials"],
            best=best_of(study),
            started_at_s=None,
            live={},
            finished_at_s=finished_at_s,
            durations_s=durations_s,
            done_before=sum(n for field, n in counts.items() if field != "retried"),
            **counts,
        )
        self._board.write()
        if line == 0:
            run = self._spec.run.id
            self._board.say(
                f"scheduler: run {run}, attempts start by {launcher.way}; "
                f"see: scheduler status, scheduler logs {run} TRIAL"
            )
        done = self._board.status.done_before
        if self._memory.resumed and done:
            self._board.say(f"scheduler: study {study.study_name} goes on after {done} trials")

    def _threads(self, budget: Budget) -> int:
        """As configured, else cores shared out among as many attempts as the memory would take."""
        if self._spec.threads is not None:
            return self._spec.threads
        run = self._spec.run
        total = budget.device.total_bytes or 0
        promise = run.promise_bytes or budget.promise_bytes
        reserve = budget.reserve_bytes if run.reserve_bytes is None else run.reserve_bytes
        limits = [(total - reserve) // promise, run.max_attempts or budget.max_attempts]
        company = max(1, min(limit for limit in limits if limit is not None))
        return max(1, usable_cores() // company)


def _creates(original: Callable[..., Any]) -> bool:
    return original.__name__ == "create_study"


def describe(storage: Any) -> str:
    """The storage for people: its URL without any password, else its class."""
    while isinstance(storage, InTurn):
        storage = storage.behind
    database = inside.database_of(storage)
    if database is None:
        return type(storage).__name__
    return str(database.engine.url.render_as_string(hide_password=True))
