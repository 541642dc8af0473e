"""Whether a trial is pruned: by the script's own pruner, or by the strategy that was asked for.

A small share of the verdicts is not carried out: those trials run on to their end as controls, and
show whether the others were right (``scheduler.strategies.audit``). Where they were not, a milder
pruner takes over. What holds is kept in the study, so that a resume goes on with it:

    scheduler:pruning  of the study: a Standing
"""

from __future__ import annotations

import re
import zlib
from typing import get_args

import msgspec
import optuna
from optuna.trial import FrozenTrial

from scheduler.strategies.asked import PruningName
from scheduler.strategies.audit import Summary, audit, is_control
from scheduler.strategies.notches import next_notch
from scheduler.strategies.shown import PruningShown
from scheduler.study import inside
from scheduler.study.keeping.kept import keep, kept
from scheduler.study.strategies.history import CONTROL, VERDICT, History, marked
from scheduler.study.strategies.ladder import AutoPruner, Rung, ladder
from scheduler.study.strategies.scene import Scene

STANDING = "scheduler:pruning"
_SET = re.compile(r"(\w+)(?:, (\d+) notch(?:es)? milder)?")


class Standing(msgspec.Struct, frozen=True, kw_only=True):
    """Which pruner decides in *run*. ``notch``: on the ladder of *strategy*, 0 as asked for."""

    run: str
    strategy: PruningName
    notch: int = 0
    since: int = 0  #: trials with a lower number say nothing of this notch
    falls: int = 0  #: how often it was made milder by itself

    def __str__(self) -> str:
        if not self.notch:
            return self.strategy
        return f"{self.strategy}, {self.notch} notch{'es' * (self.notch > 1)} milder"


class Pruning:
    def __init__(self, scene: Scene) -> None:
        self._scene = scene
        self._own = scene.study.pruner
        self._history: History | None = None  #: None: nobody prunes, there are several objectives
        self._rungs: tuple[Rung, ...] = ()
        self._standing = Standing(run=scene.record.run, strategy=scene.asked.pruning.strategy)
        self._controls: set[int] = set()  #: running, by number
        self._told: set[int] = set()  #: running, whose verdict is written down
        self._is_behind = False  #: the study has trials that the history has not
        self._said = False  #: that it would change, were it not fixed
        self._newest = -1  #: number of the newest trial that was heard of

    def begin(self) -> None:
        """The call begins: what its trials have shown in earlier lives is taken up."""
        if not self._scene.is_single:
            if (name := self._standing.strategy) not in ("default", "none"):
                self._scene.board.warn(f"pruning {name} needs a study with one objective")
            return
        self._history = History(self._scene.study, self._scene.record.run)
        self._newest = max((one.trial for one in self._history.all), default=-1)
        self._stand(self._kept(self._standing.strategy) or self._standing)

    def set(self, value: str) -> None:
        """The user wants the strategy *value*, or what a change says that was before. Raises
        ValueError with a sentence."""
        found = _SET.fullmatch(value)
        if found is None or found[1] not in get_args(PruningName):
            raise ValueError(f"{value!r} is no pruning; one of {', '.join(get_args(PruningName))}")
        if self._history is None:
            raise ValueError("pruning needs a study with one objective")
        before, strategy = self._standing, found[1]
        standing = self._new(strategy, int(found[2] or 0))
        again = self._scene.changes.is_again
        self._stand((self._kept(strategy) if again else None) or standing)
        if str(before) != str(self._standing):
            keep(self._scene.study, STANDING, self._standing)
            self._scene.changes.record("pruning", str(before), str(self._standing), "")

    def should_prune(self, asked: optuna.Trial) -> bool:
        """An attempt asks, after its reports so far."""
        record = inside.live_record(asked)
        self._newest = max(self._newest, asked.number)
        if asked.number in self._controls or CONTROL in record.system_attrs:
            return False
        if not asked.should_prune():  # raises where there are several objectives
            return False
        step = record.last_step
        if step is None or asked.number in self._told:
            return True
        return not self._is_control(asked, step, record.intermediate_values[step])

    def others_were_added(self) -> None:
        """Finished trials have come into the study by another way than ``finished``."""
        self._is_behind = True

    def finished(self, trial: FrozenTrial) -> None:
        """A trial has come to its final state."""
        if self._history is None:
            return
        self._controls.discard(trial.number)
        self._told.discard(trial.number)
        if self._is_behind:
            self._history.read()
        else:
            self._history.add(trial)
        self._is_behind = False
        if isinstance(pruner := self._scene.study.pruner, AutoPruner):
            pruner.finished(trial.number)
        self._judge()
        self._show()

    def end(self) -> None:
        """The call ends: the study has its own pruner back."""
        self._scene.study.pruner = self._own

    # -- the audit ---------------------------------------------------------------------------------

    def _is_control(self, asked: optuna.Trial, step: int, value: float) -> bool:
        """A verdict has fallen; it is written down before it is told."""
        share = self._scene.asked.pruning.controls
        seed = zlib.crc32(self._standing.run.encode())
        chosen = share > 0 and is_control(seed, asked.number, share, before=self._verdicts())
        (self._controls if chosen else self._told).add(asked.number)
        inside.storage_of(self._scene.study).set_trial_system_attr(
            inside.trial_id_of(asked), CONTROL if chosen else VERDICT, marked(step, value)
        )
        return chosen

    def _verdicts(self) -> int | None:
        """How many fell before; None where the first ones are carried out as the others are: the
        script's user, or whoever named a pruner, knows it to be right for this study."""
        if self._history is None or not isinstance(self._scene.study.pruner, AutoPruner):
            return None
        ended = sum(one.verdict_at is not None for one in self._history.ours)
        return ended + len(self._controls) + len(self._told)

    def _judge(self) -> None:
        """What the controls of this notch say of it."""
        now = self._audit(self._standing.since)
        step = next_notch(
            now,
            self._standing.notch,
            last=len(self._rungs) - 1,
            falls=self._standing.falls,
            limit=self._scene.asked.pruning.limit,
        )
        if step is None:
            return
        if self._scene.changes.is_fixed("pruning"):
            if not self._said:
                self._scene.board.warn(f"{step.because}; pruning is kept as it is, as you asked")
            self._said = True
            return
        before = self._standing
        self._stand(self._new(before.strategy, step.notch, falls=step.falls))
        keep(self._scene.study, STANDING, self._standing)
        self._scene.changes.record(
            "pruning",
            str(before),
            str(self._standing),
            step.because,
            evidence=f"{step.evidence}; now: {self._rungs[self._standing.notch].words}",
        )

    def _audit(self, since: int) -> Summary:
        assert self._history is not None
        return audit(self._history.ours, self._history.direction, since=since)

    def _show(self) -> None:
        so_far = self._audit(0)
        has_begun = bool(so_far.pruned or so_far.controls)
        self._scene.board.set(
            pruning=PruningShown(
                strategy=self._rungs[self._standing.notch].words,
                notch=self._standing.notch,
                pruned=so_far.pruned,
                controls=so_far.controls,
                false=so_far.false,
                most_false_share=so_far.at_most if so_far.controls else None,
                confidence=so_far.confidence,
                saved_share=so_far.saved_share,
                saved_of=so_far.saved_of,
                sentence=so_far.sentence() if has_begun else None,
            )
        )

    # -- which pruner ------------------------------------------------------------------------------

    def _new(self, strategy: str, notch: int, falls: int = 0) -> Standing:
        fields = {"strategy": strategy, "notch": notch, "since": self._newest + 1, "falls": falls}
        return msgspec.convert({"run": self._standing.run, **fields}, Standing)

    def _stand(self, standing: Standing) -> None:
        """*standing* decides from here on, its notch at most the last that there is."""
        assert self._history is not None
        asked = self._scene.asked.pruning
        given = asked.arguments if standing.strategy == asked.strategy else {}
        own = self._own if self._scene.has_own_pruner else None
        self._rungs = ladder(standing.strategy, given, own, self._history)
        notch = min(standing.notch, len(self._rungs) - 1)
        self._standing = msgspec.structs.replace(standing, notch=notch)
        self._scene.study.pruner = self._rungs[notch].make()
        self._show()

    def _kept(self, strategy: str) -> Standing | None:
        """What an earlier life or call of this run has left of that strategy."""
        try:
            found = kept(self._scene.study, STANDING, Standing)
        except msgspec.ValidationError:
            return None
        wanted = (self._standing.run, strategy)
        return found if found is not None and (found.run, found.strategy) == wanted else None
