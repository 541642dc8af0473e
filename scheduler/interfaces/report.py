"""``scheduler report RUN``: one page of HTML that holds all of a run, to keep and to show."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import click
import msgspec

from scheduler.core.model import Change
from scheduler.interfaces.errors import BadInput, Failed
from scheduler.interfaces.known import begun_run
from scheduler.interfaces.overview import RunOverview, read_overview
from scheduler.machine.chronicle.timeline import Moment, read_moments
from scheduler.machine.runs import RunStatus
from scheduler.machine.state import StateFolder, find

BEST_SHOWN = 20
MISSING = "plotly is not installed; run: pip install 'optuna-gpu-trial-scheduler[report]'"


class BestTrial(msgspec.Struct, frozen=True, kw_only=True):
    number: int  #: Optuna's
    value: float
    duration_s: float | None
    params: dict[str, Any]


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """What ``scheduler report --json`` prints: the page without its pictures."""

    at_s: float
    run: RunOverview
    best: tuple[BestTrial, ...]  #: the best first; empty with several objectives
    importances: dict[str, float]  #: by parameter, the largest first; {}: not to be told yet
    changes: tuple[Change, ...]  #: oldest first
    memory: tuple[Moment, ...]  #: oldest first


@click.command()
@click.argument("run")
@click.option("--output", type=click.Path(path_type=Path), help="Default: RUN.html, here.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object instead of a page.")
def command(run: str, output: Path | None, as_json: bool) -> None:
    """Write one page of HTML with all of RUN: plots, best trials, memory, what was changed."""
    state = find()
    folder, spec, status = begun_run(state, run)
    from scheduler.study.reading.trials import Unreachable, open_study  # Optuna: most of a second

    try:
        with open_study(folder, spec, status) as study:
            report = _report(state, run, status, study)
            if as_json:
                click.echo(msgspec.json.encode(report, enc_hook=str))
                return
            page = _page(report, study)
    except Unreachable as error:
        raise Failed(f"run {run}: {error}") from None
    path = output or Path(f"{run}.html")
    try:
        _write(path, page)
    except OSError as error:
        raise BadInput(f"{path} cannot be written: {error.strerror}") from None
    click.echo(f"wrote {path} ({len(page) / 1e6:.1f} MB, needs no network)")


def _report(state: StateFolder, run: str, status: RunStatus, study: Any) -> Report:
    from scheduler.study.reading import plots

    (overview,) = read_overview(state, run).runs
    begun_s = overview.spec.created_at_s if overview.spec else 0.0
    ended_s = status.updated_at_s if overview.is_over else time.time()
    return Report(
        at_s=time.time(),
        run=overview,
        best=tuple(BestTrial(**one) for one in plots.best_trials(study, BEST_SHOWN)),
        importances=plots.importances(study),
        changes=status.changes,
        memory=tuple(read_moments(state.path, begun_s, ended_s)),
    )


def _page(report: Report, study: Any) -> str:
    try:
        import plotly  # noqa: F401 - to say in time that it is missing
    except ImportError:
        raise Failed(MISSING) from None
    from scheduler.interfaces.page import page
    from scheduler.study.reading import plots

    devices = sorted({one.device for one in report.memory})
    memory = (
        plots.memory_plot(device, [one for one in report.memory if one.device == device])
        for device in devices
    )
    return page(report, [*plots.plots(study, has_importances=bool(report.importances)), *memory])


def _write(path: Path, text: str) -> None:
    """Whole or not at all; readable as the user's umask has it. Raises OSError."""
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        partial.write_text(text, encoding="utf-8")
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)
