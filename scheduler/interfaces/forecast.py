"""``scheduler forecast RUN``: what is believed of its trials' memory, how wrong that has been."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import median_low
from typing import TYPE_CHECKING

import click
import msgspec

from scheduler.core.forecast import Driver
from scheduler.interfaces.errors import BadInput, Failed
from scheduler.interfaces.known import known_run
from scheduler.interfaces.paint import PLAIN, Paint, for_stdout, printable
from scheduler.interfaces.run_table import row
from scheduler.machine import peaks
from scheduler.machine.peaks import Peak
from scheduler.machine.runs import RunSpec, RunStatus, read_whole
from scheduler.machine.sizes import format_size
from scheduler.machine.state import find

if TYPE_CHECKING:
    from scheduler.core.forecast import Forecaster

DRIVERS_SHOWN = 6
_LEAST_SHARE = 0.01


class CallForecast(msgspec.Struct, frozen=True, kw_only=True):
    """Of one ``optimize`` call of the run, on one kind of device."""

    line: int
    kind: str
    level: str
    count: int
    taken: int
    taken_from: str | None
    ran_out: int
    unknown_promise_bytes: int | None
    typical_promise_bytes: int | None
    typical_peak_bytes: int | None
    typical_params: dict[str, float | int | str | bool | None]
    judged: int
    coverage: float | None
    over_promise: float | None
    model_error: float | None
    quantile_error: float | None
    drivers: tuple[Driver, ...]
    drifts: tuple[str, ...]


class ForecastReport(msgspec.Struct, frozen=True, kw_only=True):
    """What a run's forecaster believes, made again from what it has seen."""

    run: str
    overrun_share: float
    keeps_promise: bool
    unrun: int
    calls: tuple[CallForecast, ...]


@click.command()
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
@click.argument("run")
def command(run: str, as_json: bool) -> None:
    """Show what is forecast of the memory of RUN's trials, how wrong that has been, and which
    parameters drive it.
    """
    folder = known_run(find(), run)
    report = read_report(run, folder)
    if as_json:
        click.echo(msgspec.json.encode(report))
        return
    for line in forecast_lines(report, shutil.get_terminal_size().columns, for_stdout()):
        click.echo(line)


def read_report(run: str, folder: Path) -> ForecastReport:
    """Raises BadInput where the run was never begun, Failed where its record cannot be read."""
    spec, status = None, None
    with contextlib.suppress(msgspec.MsgspecError, ValueError, OSError):
        spec = read_whole(folder / "run.json", RunSpec)
        status = read_whole(folder / "status.json", RunStatus)
    if spec is None:
        raise BadInput(f"run {run} was never begun: {folder} has no run.json")
    try:
        seen = peaks.read(folder)
    except OSError as error:
        raise Failed(f"what run {run} has seen cannot be read: {error}") from None
    calls = sorted({(peak.line, peak.kind) for peak in seen})
    return ForecastReport(
        run=run,
        overrun_share=spec.run.overrun_share,
        keeps_promise="promise" in spec.asked.fixed,
        unrun=0 if status is None else status.unrun,
        calls=tuple(
            _call(spec, [peak for peak in seen if (peak.line, peak.kind) == call]) for call in calls
        ),
    )


def _call(spec: RunSpec, seen: Sequence[Peak]) -> CallForecast:
    """All peaks of one call, taken in again in their order."""
    from scheduler.core.forecast import Forecaster  # numpy

    forecaster = Forecaster(
        promise_bytes=spec.run.promise_bytes,
        overrun_share=spec.run.overrun_share,
        version=seen[-1].version or None,
    )
    for peak in seen:
        forecaster.add(peak)
    belief, typical = forecaster.belief(), _typical(seen)
    taken = [peak.taken_from for peak in seen if peak.taken_from is not None]
    return CallForecast(
        line=seen[0].line,
        kind=seen[0].kind,
        level=belief.level,
        count=belief.count,
        taken=len(taken),
        taken_from=taken[-1] if taken else None,
        ran_out=belief.ran_out,
        unknown_promise_bytes=_promise(forecaster, None),
        typical_promise_bytes=None if typical is None else _promise(forecaster, typical),
        typical_peak_bytes=None if typical is None else typical.bytes,
        typical_params={} if typical is None else typical.params,
        judged=belief.judged,
        coverage=belief.coverage,
        over_promise=belief.over_promise,
        model_error=belief.model_error,
        quantile_error=belief.quantile_error,
        drivers=belief.drivers,
        drifts=belief.drifts,
    )


def _typical(seen: Sequence[Peak]) -> Peak | None:
    """Of those that did not run out of memory, the one in the middle."""
    whole = [peak for peak in seen if not peak.ran_out]
    if not whole:
        return None
    middle = median_low(peak.bytes for peak in whole)
    return next(peak for peak in reversed(whole) if peak.bytes == middle)


def _promise(forecaster: Forecaster, peak: Peak | None) -> int | None:
    found = forecaster.forecast(None if peak is None else peak.params)
    return None if found is None else found.bytes


def forecast_lines(report: ForecastReport, width: int, paint: Paint = PLAIN) -> Iterator[str]:
    """Pure."""
    if not report.calls:
        yield (
            f"{report.run}: nothing is known yet; each trial is promised the default until one"
            " has ended whose peak was seen"
        )
        return
    for call in report.calls:
        several = f", optimize call {call.line}" if len(report.calls) > 1 else ""
        yield f"{paint('bold', report.run)}  memory of a trial on {call.kind}{several}"
        yield from _call_lines(call, report, width)


def _call_lines(call: CallForecast, report: ForecastReport, width: int) -> Iterator[str]:
    yield from row("by", _by(call), width)
    yield from row("seen", _seen(call), width)
    if report.keeps_promise:
        yield from row("promise", "as you have fixed it, whatever is forecast", width)
    else:
        yield from row("promise", _promised(call), width)
    if call.coverage is not None:
        yield from row("right", _right(call, report.overrun_share), width)
    if call.model_error is not None and call.quantile_error is not None:
        off = f"{_percent(call.model_error)} by the parameters"
        yield from row("off", f"{off}, {_percent(call.quantile_error)} without them", width)
    drivers = [one for one in call.drivers if one.share >= _LEAST_SHARE][:DRIVERS_SHOWN]
    if drivers:
        said = ", ".join(f"{printable(one.name)} {_percent(one.share)}" for one in drivers)
        yield from row("driven", f"by {said}", width)
    for drift in call.drifts:
        yield from row("drift", drift, width)
    if report.unrun:
        told = f"{report.unrun} candidates that no device could hold: the sampler was told"
        yield from row("not run", told, width)


def _by(call: CallForecast) -> str:
    return {
        "promise": "the promise that it began with: too few peaks were seen",
        "quantile": "what nearly all trials have needed, whatever their parameters",
        "model": "a trial's parameters",
    }.get(call.level, call.level)


def _seen(call: CallForecast) -> str:
    said = f"{call.count} attempts"
    if call.ran_out:
        said += f", {call.ran_out} of them out of memory"
    if call.taken:
        said += f"; {call.taken} are run {call.taken_from}'s"
    return said


def _promised(call: CallForecast) -> str:
    said = f"{format_size(call.unknown_promise_bytes)} where the parameters are not known"
    if call.typical_promise_bytes is None:
        return said
    params = ", ".join(f"{printable(name)} {_short(v)}" for name, v in call.typical_params.items())
    typical = f"{format_size(call.typical_promise_bytes)} for one like the typical trial"
    needed = f"which held {format_size(call.typical_peak_bytes)}"
    return f"{typical} ({params}), {needed}; {said}"


def _right(call: CallForecast, overrun_share: float) -> str:
    enough = f"{_percent(call.coverage)} of {call.judged} forecasts were enough"
    wanted = f"{_percent(1 - overrun_share)} are wanted"
    if call.over_promise is None:
        return f"{enough}, {wanted}"
    return f"{enough}, {wanted}; in the middle {_percent(call.over_promise)} more than was needed"


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{100 * share:.0f} %"


def _short(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else printable(str(value))
