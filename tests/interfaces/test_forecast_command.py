"""What `scheduler forecast` says of a run, from the record in its folder."""

from __future__ import annotations

from pathlib import Path

import pytest

from scheduler.core.model import Run
from scheduler.interfaces.errors import BadInput
from scheduler.interfaces.forecast import forecast_lines, read_report
from scheduler.machine import peaks
from scheduler.machine.peaks import Peak
from scheduler.machine.runs import RunSpec, write_whole
from scheduler.strategies.asked import Asked

MIB = 1 << 20


def begun(folder: Path, *, fixed: bool = False) -> Path:
    asked = Asked(fixed=("promise",) if fixed else ())
    spec = RunSpec(
        run=Run(id="r"), kind="script", target="t.py", folder="/", created_at_s=0.0, asked=asked
    )
    write_whole(folder / "run.json", spec)
    return folder


def said(folder: Path) -> str:
    return "\n".join(forecast_lines(read_report("r", folder), 100))


def test_a_run_that_has_seen_nothing_says_so_in_a_sentence(tmp_path: Path) -> None:
    assert "nothing is known yet" in said(begun(tmp_path))


def test_what_drives_memory_and_how_wrong_it_was(tmp_path: Path) -> None:
    begun(tmp_path)
    for n in range(40):
        batch, rate = 8 << (n % 4), (0.61 * n) % 1
        held = (200 + 10 * batch + n % 3) * MIB
        params = {"batch": batch, "rate": rate}
        taken = "earlier-1" if n < 5 else None
        peaks.append(
            tmp_path, Peak(line=0, kind="host", params=params, bytes=held, taken_from=taken)
        )
    (call,) = read_report("r", tmp_path).calls
    assert (call.level, call.count, call.taken, call.taken_from) == ("model", 40, 5, "earlier-1")
    assert call.drivers[0].name == "batch"
    assert call.typical_promise_bytes is not None
    assert call.typical_peak_bytes is not None
    assert 1 <= call.typical_promise_bytes / call.typical_peak_bytes < 1.3
    text = said(tmp_path)
    for word in ("a trial's parameters", "5 are run earlier-1's", "98 % are wanted", "by batch"):
        assert word in text


def test_a_fixed_promise_is_shown_as_such_and_calls_apart(tmp_path: Path) -> None:
    begun(tmp_path, fixed=True)
    for line in (0, 1):
        peaks.append(tmp_path, Peak(line=line, kind="host", params={}, bytes=MIB))
    text = said(tmp_path)
    assert text.count("as you have fixed it") == 2
    assert "optimize call 1" in text


def test_a_run_that_was_never_begun_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="never begun"):
        read_report("r", tmp_path)
