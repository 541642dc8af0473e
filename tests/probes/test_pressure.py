"""How long tasks wait for memory: the kernel's lines, and the worst of machine and cgroups."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from probes import cgroup
from probes.host import HostRam
from probes.pressure import Pressure, parse, read_waiting_share
from tests.probes.samples import Write, meminfo_files


def lines(some: object, full: object = "0.00") -> str:
    rest = "avg60=99.00 avg300=98.00 total=123456"
    return f"some avg10={some} {rest}\nfull avg10={full} {rest}"


def own(write: Write, files: dict[str, object]) -> float | None:
    root = write({"proc/self/cgroup": "0::/a/b", "cg/a/b/memory.max": "max", **files})
    return read_waiting_share(root / "proc", cgroup.find_levels(root / "proc", root / "cg"))


def test_the_last_ten_seconds_count_as_shares() -> None:
    assert parse(lines("12.34", "1.50")) == Pressure(some_share=0.1234, full_share=0.015)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "some avg10=1.00 avg60=0.00 avg300=0.00 total=0",
        lines("nan"),
        lines("-1.00"),
        lines("100.01"),
        lines(""),
        lines("1.00").replace("avg10", "avg30"),
    ],
)
def test_an_odd_text_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="does not say"):
        parse(text)


@given(st.text(max_size=200) | st.builds(lines, st.floats(), st.floats()))
def test_any_text_is_a_share_or_refused(text: str) -> None:
    try:
        pressure = parse(text)
    except ValueError:
        return
    assert 0 <= pressure.some_share <= 1
    assert 0 <= pressure.full_share <= 1


@pytest.mark.parametrize(
    ("machine", "inner", "outer", "share"),
    [
        ("5.00", "40.00", "20.00", 0.4),
        ("50.00", "4.00", "20.00", 0.5),
        ("5.00", "4.00", "20.00", 0.2),
        ("5.00", "", "x", 0.05),
    ],
)
def test_the_worst_of_machine_and_own_cgroups(
    write: Write, machine: str, inner: str, outer: str, share: float
) -> None:
    files: dict[str, object] = {
        "proc/pressure/memory": lines(machine),
        "cg/a/b/memory.pressure": lines(inner),
        "cg/a/memory.pressure": lines(outer),
    }
    assert own(write, files) == pytest.approx(share)


def test_a_kernel_that_does_not_say_is_unknown_not_calm(write: Write) -> None:
    assert own(write, {}) is None
    assert own(write, {"proc/pressure/memory": ""}) is None


def test_a_file_that_opens_and_refuses_to_be_read_is_unknown(tmp_path: Path) -> None:
    """As with psi=0, where reading says "not supported": a folder opens and cannot be read."""
    (tmp_path / "pressure/memory").mkdir(parents=True)
    assert read_waiting_share(tmp_path, ()) is None


def test_host_ram_says_it_with_four_digits(write: Write) -> None:
    root = write({**meminfo_files(), "proc/pressure/memory": lines("10.04")})
    probe = HostRam(because="test", proc=root / "proc", groups=root / "cg")
    assert probe.read(()).waiting_share == 0.1004
    (root / "proc/pressure/memory").unlink()
    assert probe.read(()).waiting_share is None


@pytest.mark.skipif(not os.path.exists("/proc/pressure/memory"), reason="a kernel without PSI")
def test_this_machine_says_it() -> None:
    share = HostRam(because="test").read(()).waiting_share
    assert share is not None
    assert 0 <= share <= 1
