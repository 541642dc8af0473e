"""The supervisor hears how often attempts have reported, seldom and exactly."""

from __future__ import annotations

import pytest
from script_runs import Runner

from scheduler.core.events import Event, Exited, Progressed
from scheduler.core.model import Attempt, Trial
from scheduler.machine.journal import replay
from scheduler.study.serving.live import Live
from scheduler.study.serving.strides import TELL_EVERY_S, Strides


def test_reports_are_told_as_they_come_but_not_too_often(monkeypatch: pytest.MonkeyPatch) -> None:
    """What came in between is told later, the last before the end, and all to a new supervisor."""
    now_s = 100.0
    monkeypatch.setattr("scheduler.study.serving.strides.time.monotonic", lambda: now_s)
    told: list[int] = []
    telling = Strides(lambda event: told.append(event.reports))
    trial = Trial(run="r", number=0)
    attempt = Attempt(
        id="r/0.1",
        trial=trial,
        device="host",
        promise_bytes=1,
        cap_bytes=None,
        started_at_s=0.0,
    )
    live = Live(attempt=attempt)

    def report() -> None:
        live.reported(live.reports, 0.0)
        telling.reported(live)

    telling.tell(live)
    telling.look([live])
    assert told == []
    report()
    report()
    telling.look([live])
    assert told == [1]
    now_s += TELL_EVERY_S
    telling.look([live])
    telling.look([live])
    assert told == [1, 2]
    now_s += 10 * TELL_EVERY_S
    report()
    assert told == [1, 2, 3]
    for _ in range(100):
        report()
    telling.tell_last(live)
    telling.tell_last(live)
    assert told == [1, 2, 3, 103]
    telling.tell(live)
    assert told == [1, 2, 3, 103, 103]


@pytest.mark.processes
@pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")
def test_the_supervisor_knows_how_often_each_attempt_has_reported(scripts: Runner) -> None:
    result = scripts(
        """
        import optuna

        def objective(trial):
            for step in range(7):
                trial.report(1.0, step)
            return 1.0

        optuna.create_study().optimize(objective, n_trials=2)
        """,
        "--start",
        "fork",
    ).ok()
    assert result.status.complete == 2
    events: list[Event] = []
    for path in sorted(scripts.state.glob("journal*.jsonl")):
        events += replay(path)
    counts: dict[str, list[int]] = {}
    for event in events:
        if isinstance(event, Progressed):
            counts.setdefault(event.attempt, []).append(event.reports)
    assert [told[0] >= 1 and told[-1] == 7 for told in counts.values()] == [True, True]
    assert all(len(told) <= 2 for told in counts.values())
    order = [event.attempt for event in events if isinstance(event, Progressed | Exited)]
    assert all(order[-1 - order[::-1].index(id)] == id for id in counts)
