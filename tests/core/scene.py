"""A core that is checked after each event, and short words for what happens to it."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from probes.reading import Device, Held, Reading
from scheduler.core.actions import Action, Start
from scheduler.core.core import Core
from scheduler.core.events import (
    Event,
    Exited,
    Found,
    Joined,
    Left,
    Offered,
    Prioritised,
    Ruled,
    Running,
    Sampled,
    Saved,
    Served,
    Started,
    Vanished,
)
from scheduler.core.model import Attempt, Budget, Evidence, Process, Rule, Run, Trial

GIB = 1 << 30
MIB = 1 << 20
CARD = "0000:03:00.0"

DONE = Evidence(outcome="complete", exit_code=0)
OOM = Evidence(
    outcome="failed",
    exit_code=1,
    exception=("torch.OutOfMemoryError", "RuntimeError", "Exception"),
    message="HIP out of memory. Tried to allocate 256.00 MiB.",
)
OWN_CAP = msgspec.structs.replace(
    OOM,
    message="HIP out of memory. Tried to allocate 256.00 MiB."
    " 6.00 GiB allowed; 5.90 GiB is allocated by PyTorch.",
)
KILLED = Evidence(signal=9)
STOPPED = Evidence(signal=15)
CRASHED = Evidence(signal=11)
FAULTED = Evidence(
    signal=6, stderr_tail="Memory access fault by GPU node-1 on address 0x7f00. Page not present.\n"
)
UNSET = Evidence(
    outcome="failed",
    exit_code=1,
    exception=("RuntimeError", "Exception"),
    message="No HIP GPUs are available",
)
RAISED = Evidence(outcome="failed", exit_code=1, exception=("ValueError",), message="x")


def budget(
    key: str = CARD,
    *,
    total: int | None = 16 * GIB,
    reserve: int = 2 * GIB,
    promise: int = 6 * GIB,
    max_attempts: int | None = None,
    kind: str = "amd",
) -> Budget:
    device = Device(key=key, kind=kind, name=key, total_bytes=total, source="test", because="")
    return Budget(
        device=device, reserve_bytes=reserve, promise_bytes=promise, max_attempts=max_attempts
    )


def reading(
    used: int | None = 0,
    held: Mapping[int, int | None] | None = {},
    *,
    key: str = CARD,
    total: int | None = 16 * GIB,
    oom_kills: int | None = None,
    waiting_share: float | None = None,
) -> Reading:
    trees = None if held is None else tuple(Held(pid=p, held_bytes=h) for p, h in held.items())
    problem = "mem_info_vram_used is empty" if used is None else None
    return Reading(
        device=key,
        total_bytes=total,
        used_bytes=used,
        held=trees,
        oom_kills=oom_kills,
        problem=problem,
        waiting_share=waiting_share,
    )


def trial(number: int = 0, run: str = "r", **fields: object) -> Trial:
    return Trial(run=run, number=number, **fields)


class CheckedCore(Core):
    """Its invariants are asserted after each event; what it took and said is kept."""

    def __init__(self) -> None:
        super().__init__()
        self.events: list[Event] = []
        self.said: list[tuple[Action, ...]] = []

    def handle(self, event: Event) -> tuple[Action, ...]:
        self.events.append(event)
        actions = super().handle(event)
        self.check()
        self.view()
        self.said.append(actions)
        return actions


def assert_replays(core: CheckedCore) -> None:
    """The same events, written down and read again, give the same actions."""
    lines = [msgspec.json.encode(event) for event in core.events]
    again = Core()
    for line, said in zip(lines, core.said, strict=True):
        assert again.handle(msgspec.json.decode(line, type=Event)) == said
    assert again.view() == core.view()


class Scene:
    """A machine with one card of 16 GiB, 2 of them kept free, and a run "r", unless told else."""

    def __init__(self, *budgets: Budget, runs: tuple[Run, ...] = (Run(id="r"),)) -> None:
        self.core = CheckedCore()
        self.now_s = 1000.0
        self.budgets = budgets or (budget(),)
        self.handle(Found(at_s=self.now_s, budgets=self.budgets))
        for run in runs:
            self.handle(Joined(at_s=self.now_s, run=run))

    def handle(self, event: Event) -> tuple[Action, ...]:
        return self.core.handle(event)

    def sample(
        self,
        used: int | None = 0,
        held: Mapping[int, int | None] | None = {},
        *,
        after_s: float = 1.0,
        **more: object,
    ) -> tuple[Action, ...]:
        return self.poll(reading(used, held, **more), after_s=after_s)

    def poll(self, *readings: Reading, after_s: float = 1.0) -> tuple[Action, ...]:
        self.now_s += after_s
        return self.handle(Sampled(at_s=self.now_s, readings=readings))

    def offer(self, number: int = 0, run: str = "r", **fields: object) -> tuple[Action, ...]:
        offered = trial(number, run, **fields)
        return self.handle(Offered(at_s=self.now_s, trial=offered))

    def again(self, offered: Trial) -> tuple[Action, ...]:
        return self.handle(Offered(at_s=self.now_s, trial=offered))

    def started(self, attempt: str, pid: int) -> tuple[Action, ...]:
        process = Process(pid=pid, started_ticks=pid)
        return self.handle(Started(at_s=self.now_s, attempt=attempt, process=process))

    def exited(self, attempt: str, evidence: Evidence = DONE) -> tuple[Action, ...]:
        return self.handle(Exited(at_s=self.now_s, attempt=attempt, evidence=evidence))

    def vanished(self, attempt: str) -> tuple[Action, ...]:
        return self.handle(Vanished(at_s=self.now_s, attempt=attempt))

    def joined(self, run: Run | None = None, *running: Running) -> tuple[Action, ...]:
        return self.handle(Joined(at_s=self.now_s, run=run or Run(id="r"), running=running))

    def leave(self, run: str = "r") -> tuple[Action, ...]:
        return self.handle(Left(at_s=self.now_s, run=run))

    def running(self, attempt: Attempt, process: Process | None) -> Running:
        return Running(attempt=attempt, process=process)

    def found(self, *budgets: Budget, boot_id: str = "") -> tuple[Action, ...]:
        here = budgets or self.budgets
        return self.handle(Found(at_s=self.now_s, budgets=here, boot_id=boot_id))

    def rule(self, *rules: Rule) -> tuple[Action, ...]:
        return self.handle(Ruled(at_s=self.now_s, rules=rules))

    def saved(self, attempt: str, ago_s: float = 0.0) -> tuple[Action, ...]:
        saved_at_s = self.now_s - ago_s
        return self.handle(Saved(at_s=self.now_s, attempt=attempt, saved_at_s=saved_at_s))

    def prioritise(self, run: str, priority: int) -> tuple[Action, ...]:
        return self.handle(Prioritised(at_s=self.now_s, run=run, priority=priority))

    def serve(self, device: str = CARD) -> tuple[Action, ...]:
        return self.handle(Served(at_s=self.now_s, device=device))

    def runs(self, number: int, pid: int, used: int = 0, **fields: object) -> Attempt:
        """Offer a trial that must start, and say that its process is there."""
        attempts = [a.attempt for a in self.offer(number, **fields) if isinstance(a, Start)]
        (attempt,) = attempts
        self.started(attempt.id, pid)
        return attempt


def names(actions: tuple[Action, ...]) -> list[str]:
    """The kinds of *actions*, in order."""
    return [type(action).__name__ for action in actions]


def starts(actions: tuple[Action, ...]) -> list[Attempt]:
    return [action.attempt for action in actions if isinstance(action, Start)]
