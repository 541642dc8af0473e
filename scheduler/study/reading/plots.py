"""Pictures of a study, by Optuna's own visualisation. Reads; changes nothing."""

from __future__ import annotations

import datetime
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import optuna
from optuna import visualization
from optuna.trial import TrialState

from scheduler.machine.chronicle.timeline import Moment

CURVES = 100  #: of intermediate values in one picture: more are a carpet and make a page slow
TRIALS = 2000  #: in pictures that show each of them
MOMENTS = 2000  #: of a device's memory
_GIB = 1 << 30


class Plot(NamedTuple):
    """``figure`` is plotly's; None where there is nothing to show, for the reason given."""

    title: str
    figure: Any | None
    because: str = ""


def importances(study: optuna.Study) -> dict[str, float]:
    """How much of the value each parameter explains, the largest first; {}: not to be told yet.

    By PED-ANOVA (arxiv.org/abs/2304.10255), which needs no further package.
    """
    if len(study.directions) != 1 or len(study.get_trials(False, (TrialState.COMPLETE,))) < 4:
        return {}
    try:
        return dict(
            optuna.importance.get_param_importances(
                study, evaluator=optuna.importance.PedAnovaImportanceEvaluator()
            )
        )
    except (ValueError, RuntimeError):  # one value only, no parameter that all have
        return {}


def best_trials(study: optuna.Study, most: int) -> list[dict[str, Any]]:
    """The best first: their number, value, duration_s and params. [] with several objectives."""
    if len(study.directions) != 1:
        return []
    is_max = study.direction == optuna.study.StudyDirection.MAXIMIZE
    trials = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    trials.sort(key=lambda one: one.value or 0.0, reverse=is_max)
    return [
        {
            "number": one.number,
            "value": one.value,
            "duration_s": one.duration.total_seconds() if one.duration else None,
            "params": one.params,
        }
        for one in trials[:most]
    ]


def plots(study: optuna.Study, *, has_importances: bool) -> Iterator[Plot]:
    """Those that suit it, each by itself: one that cannot be drawn costs the others nothing.

    *has_importances*: whether ``importances`` has found any.
    """
    if len(study.directions) > 1:
        yield _drawn("Pareto front", lambda: visualization.plot_pareto_front(study))
        return
    yield _drawn("History", lambda: visualization.plot_optimization_history(study))
    yield _drawn("Intermediate values", lambda: _intermediate(study))
    drawn = _importances if has_importances else _nothing
    yield _drawn("Importance of the parameters", lambda: drawn(study))
    yield _drawn("Value by parameter", lambda: visualization.plot_slice(_last(study)))
    yield _drawn(
        "Parameters together", lambda: visualization.plot_parallel_coordinate(_last(study))
    )


def _drawn(title: str, draw: Callable[[], Any]) -> Plot:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            figure = draw()
    except Exception as error:  # whatever Optuna and plotly make of an odd study
        return Plot(title, None, f"cannot be drawn: {error or type(error).__name__}")
    if figure is None:
        return Plot(title, None, "nothing to show yet")
    figure.update_layout(title=None, margin={"l": 60, "r": 20, "t": 20, "b": 50})
    return Plot(title, figure)


def _nothing(study: optuna.Study) -> None:
    return None


def _importances(study: optuna.Study) -> Any:
    return visualization.plot_param_importances(
        study, evaluator=optuna.importance.PedAnovaImportanceEvaluator()
    )


def _intermediate(study: optuna.Study) -> Any:
    """The last trials that have reported anything."""
    reported = [one for one in study.get_trials(False) if one.intermediate_values]
    if not reported:
        return None
    return visualization.plot_intermediate_values(_with(study, reported[-CURVES:]))


def _last(study: optuna.Study) -> optuna.Study:
    trials = study.get_trials(False, (TrialState.COMPLETE, TrialState.PRUNED))
    return study if len(trials) <= TRIALS else _with(study, trials[-TRIALS:])


def _with(study: optuna.Study, trials: list[optuna.trial.FrozenTrial]) -> optuna.Study:
    """A study in memory of *trials* only."""
    few = optuna.create_study(directions=study.directions)
    few.add_trials(trials)
    return few


def memory_plot(device: str, moments: Sequence[Moment]) -> Plot:
    """One device's memory over time, in GiB: what trials held upon what strangers held, and what
    was promised. Of many moments every so manieth."""
    title = f"Memory of {device}"
    shown = moments[:: 1 + len(moments) // MOMENTS]
    if not shown:
        return Plot(title, None, "nothing was noted while this run was going on")
    import plotly.graph_objects as go

    at = [datetime.datetime.fromtimestamp(one.at_s) for one in shown]
    figure = go.Figure()
    for name, values, stacked in (
        ("strangers", [_gib(one.strangers_bytes) for one in shown], True),
        ("trials", [_gib(_held(one)) for one in shown], True),
        ("promised and strangers", [_gib(_promised(one)) for one in shown], False),
        ("total", [_gib(one.total_bytes) for one in shown], False),
    ):
        how = {"stackgroup": "held", "line": {"width": 0}} if stacked else {"mode": "lines"}
        figure.add_scatter(x=at, y=values, name=name, **how)
    figure.update_layout(margin={"l": 60, "r": 20, "t": 20, "b": 50}, yaxis_title="GiB")
    figure.update_yaxes(rangemode="tozero")
    return Plot(title, figure)


def _gib(size_bytes: int | None) -> float | None:
    return None if size_bytes is None else round(size_bytes / _GIB, 3)


def _held(moment: Moment) -> int | None:
    """None where one attempt's part is not known."""
    parts = [one.held_bytes for one in moment.attempts]
    return None if None in parts else sum(part for part in parts if part is not None)


def _promised(moment: Moment) -> int | None:
    if moment.strangers_bytes is None:
        return None
    return moment.strangers_bytes + sum(
        max(one.promise_bytes, one.held_bytes or 0) for one in moment.attempts
    )
