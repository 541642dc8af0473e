"""The record of what trials held: what is added is read again, whatever a kill has left."""

from __future__ import annotations

from pathlib import Path

from scheduler.machine import peaks
from scheduler.machine.peaks import Peak


def peak(n: int) -> Peak:
    return Peak(line=0, kind="host", params={"n": n, "lr": 0.5, "opt": "adam", "b": True}, bytes=n)


def test_peaks_come_back_as_they_were_and_only_their_user_can_read_them(tmp_path: Path) -> None:
    for n in (1, 2):
        peaks.append(tmp_path, peak(n))
    assert peaks.read(tmp_path) == [peak(1), peak(2)]
    assert type(peaks.read(tmp_path)[0].params["b"]) is bool
    assert (tmp_path / peaks.FILE).stat().st_mode & 0o077 == 0


def test_a_line_that_a_kill_has_torn_takes_no_other_along(tmp_path: Path) -> None:
    peaks.append(tmp_path, peak(1))
    with open(tmp_path / peaks.FILE, "ab") as file:
        file.write(b'{"line": 0, "params": {"n')
    assert peaks.read(tmp_path) == [peak(1)]
    peaks.append(tmp_path, peak(2))
    assert peaks.read(tmp_path) == [peak(1), peak(2)]


def test_a_record_that_has_grown_long_keeps_its_newest(tmp_path: Path) -> None:
    peaks.write(tmp_path, [peak(n) for n in range(peaks.MOST_LINES + 1)])
    kept = peaks.shorten(tmp_path, peaks.read(tmp_path))
    assert [len(kept), kept[-1]] == [peaks.KEPT_LINES, peak(peaks.MOST_LINES)]
    assert peaks.read(tmp_path) == kept
    assert peaks.read(tmp_path / "none") == []
