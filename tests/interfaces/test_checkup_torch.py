"""The doctor on torch: which build, what it sees, and in what order; with torch played by files."""

from __future__ import annotations

import importlib.util
import os
import sys
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from probes.tools.command import ToolFailed
from scheduler.interfaces.checkup import torch_build, variables
from scheduler.interfaces.checkup.torch_build import Facts
from scheduler.interfaces.checkup.torch_facts import (
    Build,
    Sight,
    TorchDevice,
    ask,
    parse_build,
    parse_sight,
)
from tests.interfaces.checkup_samples import CARD, GIB, HOST, IGPU, NVIDIA_CARD, machine, only

ROCM = Build(version="2.9.0+rocm6.4", hip="6.4.43484")
CUDA = Build(version="2.9.0+cu128", cuda="12.8")
CPU = Build(version="2.9.0+cpu")

#: The text of unique_id e56b237e725ec427, as torch writes HIP's bytes.
HIP_UUID = "65353662-3233-3765-3732-356563343237"

ONE = TorchDevice(
    name="AMD Radeon RX 7900 GRE", total_bytes=16 * GIB, place=(0, 3, 0), uuid=HIP_UUID
)
OTHER = TorchDevice(name="iGPU", total_bytes=8 * GIB, place=(0, 12, 0))


def facts(*devices: object, build: Build | None = ROCM, **changes: object) -> Facts:
    given = Facts(build=build, devices=devices or (CARD,), python="/venv/bin/python")
    return msgspec.structs.replace(given, **changes)


def seen_by(*devices: TorchDevice, **changes: object) -> Sight:
    return Sight(available=True, devices=devices, **changes)


@pytest.mark.parametrize(
    ("device", "build", "state", "todo"),
    [
        (CARD, CPU, "problem", "--index-url https://download.pytorch.org/whl/rocmX.Y"),
        (CARD, CUDA, "problem", "/venv/bin/python -m pip install torch"),
        (NVIDIA_CARD, ROCM, "problem", "https://download.pytorch.org/whl/cuXYZ"),
        (NVIDIA_CARD, CPU, "problem", "https://download.pytorch.org/whl/cuXYZ"),
        (HOST, CPU, "ok", ""),
        (HOST, CUDA, "ok", ""),
        (CARD, None, "skipped", ""),
        (NVIDIA_CARD, None, "skipped", ""),
    ],
)
def test_the_build_must_be_the_cards(
    device: object, build: Build | None, state: str, todo: str
) -> None:
    check = only(torch_build.judge(facts(device, build=build)))
    assert check.state == state
    assert todo in (check.todo or "")


def test_a_build_for_one_of_two_makers_says_which_device_to_name() -> None:
    mixed = facts(CARD, NVIDIA_CARD, sight=seen_by(ONE))
    seen, other = torch_build.judge(mixed)
    assert (seen.state, other.state) == ("ok", "warning")
    assert "--device 0000:03:00.0" in (other.todo or "")


def test_a_torch_that_sees_the_card_is_fine() -> None:
    sight = seen_by(ONE, built_for=("gfx90a", "gfx1100"))
    check = only(torch_build.judge(facts(sight=sight)))
    assert (check.state, check.todo) == ("ok", None)
    assert check.seen.endswith("it sees 0: AMD Radeon RX 7900 GRE")


@pytest.mark.parametrize("sight", [Sight(available=False), Sight(available=True)])
def test_a_torch_that_sees_no_gpu_is_a_problem(sight: Sight) -> None:
    check = only(torch_build.judge(facts(sight=sight)))
    assert (check.state, "it sees no GPU" in check.seen) == ("problem", True)


@pytest.mark.parametrize(
    ("gfx", "built_for", "state"),
    [
        ("gfx1103", ("gfx1100",), "warning"),
        ("gfx1103", ("gfx11-generic",), "ok"),
        ("gfx1030", ("gfx11-generic",), "warning"),
        ("gfx90a:sramecc+:xnack-", ("gfx90a:xnack-",), "ok"),
        ("gfx1103", (), "ok"),
        ("", ("gfx1100",), "ok"),
    ],
)
def test_a_card_that_torch_has_no_code_for_is_told(
    gfx: str, built_for: tuple[str, ...], state: str
) -> None:
    one = msgspec.structs.replace(ONE, gfx=gfx)
    check = only(torch_build.judge(facts(sight=seen_by(one, built_for=built_for))))
    assert check.state == state
    assert ("HSA_OVERRIDE_GFX_VERSION" in (check.todo or "")) == (state == "warning")


@pytest.mark.parametrize(
    ("ours", "theirs", "differs"),
    [
        ((CARD, IGPU), (ONE, OTHER), False),
        ((CARD, IGPU), (OTHER, ONE), True),
        ((CARD,), (OTHER, ONE), True),  # the first is one that we leave out
        ((CARD,), (ONE, OTHER), False),
        ((CARD,), (msgspec.structs.replace(ONE, place=(None, None, None)),), False),  # by its UUID
        ((IGPU,), (msgspec.structs.replace(OTHER, place=(None, None, None)),), False),
    ],
)
def test_another_order_than_ours_is_told_and_stops_nothing(
    ours: tuple[object, ...], theirs: tuple[TorchDevice, ...], differs: bool
) -> None:
    check = only(torch_build.judge(facts(*ours, sight=seen_by(*theirs))))
    assert check.state == "ok"
    assert ("a script must use cuda:0" in check.seen) == differs
    assert ("its device 0 is 0000:0c:00.0, ours 0000:03:00.0" in check.seen) == differs


def test_uuids_are_those_of_the_visibility_variables() -> None:
    assert ONE.gpu_uuid == CARD.uuid
    nvidia = "ffc79498-8ff3-c2dc-3b0d-fafd804516ae"
    assert msgspec.structs.replace(ONE, uuid=nvidia).gpu_uuid == f"GPU-{nvidia}"
    none = "58580000-0000-0000-0000-000000000000"
    assert msgspec.structs.replace(ONE, uuid=none).gpu_uuid is None
    assert OTHER.gpu_uuid is None


def test_version_files_of_torch_are_read() -> None:
    text = "from typing import Optional\n__version__ = '2.9.0+rocm6.4'\ndebug = False\n"
    text += "cuda: Optional[str] = None\nhip: Optional[str] = '6.4.43484'\n"
    assert parse_build(text) == ROCM
    assert parse_build("__version__ = '2.2.0'\ncuda = '12.1'\nhip = None").cuda == "12.1"
    assert parse_build("x = = 1").version == "of unknown version"


@settings(deadline=None)  # the first parse of a process is slow
@given(st.text())
def test_any_version_file_gives_a_build(text: str) -> None:
    assert isinstance(parse_build(text), Build)


@settings(deadline=None)  # the first parse of a process is slow
@given(st.text())
def test_any_answer_is_a_sight_or_a_failure(text: str) -> None:
    with pytest.raises(ToolFailed):
        parse_sight(f"scheduler-doctor:{text}", "", 0)


def test_the_last_words_of_a_torch_that_cannot_be_imported_are_told() -> None:
    with pytest.raises(ToolFailed, match=r"torch cannot be used: OSError: libamdhip64\.so"):
        parse_sight("noise", "Traceback\nOSError: libamdhip64.so: cannot open\n", 1)
    with pytest.raises(ToolFailed, match="exit code -11"):
        parse_sight("", "", -11)


TORCH = """
import os, sys
print("noise from a library")
assert "HIP_VISIBLE_DEVICES" not in os.environ
class Properties:
    name, total_memory, gcnArchName = "RX", 17163091968, "gfx1100"
    pci_domain_id, pci_bus_id, pci_device_id = 0, 3, 0
class cuda:
    is_available = staticmethod(lambda: True)
    device_count = staticmethod(lambda: 1)
    get_arch_list = staticmethod(lambda: ["gfx1100"])
    get_device_properties = staticmethod(lambda number: Properties)
"""


@pytest.mark.processes
def test_torch_is_asked_in_a_child_without_the_variables(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "torch.py").write_text(TORCH)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setenv("HIP_VISIBLE_DEVICES", "1")
    sight = ask(sys.executable)
    assert sight.built_for == ("gfx1100",)
    (one,) = sight.devices
    assert (one.address, one.total_bytes, one.gpu_uuid) == ("0000:03:00.0", 17163091968, None)


@pytest.mark.processes
def test_a_torch_that_hangs_costs_its_time_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    os.mkfifo(tmp_path / "wait")
    (tmp_path / "torch.py").write_text(f"open({str(tmp_path / 'wait')!r})")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with pytest.raises(ToolFailed, match=r"did not answer in 1 s"):
        ask(sys.executable, limit_s=1.0)
    check = only(torch_build.judge(facts(failed="python did not answer in 45 s")))
    assert (check.state, "did not answer" in check.seen) == ("problem", True)


def test_torch_is_not_asked_where_it_has_nothing_to_say(tmp_path: Path) -> None:
    if importlib.util.find_spec("torch") is None:
        pytest.skip("torch is not installed")
    where = machine(tmp_path, HOST, python="/nowhere/python")
    assert torch_build.read(where).failed is None
    assert only(torch_build.check(where)).state == "ok"


@pytest.mark.parametrize(
    ("environment", "uses_gpu", "state", "seen"),
    [
        ({}, True, "ok", "none"),
        ({"PATH": "/bin"}, True, "ok", "none"),
        ({"CUDA_VISIBLE_DEVICES": "1"}, True, "warning", "CUDA_VISIBLE_DEVICES=1: attempts get"),
        ({"CUDA_VISIBLE_DEVICES": ""}, False, "ok", "CUDA_VISIBLE_DEVICES="),
        ({"HSA_OVERRIDE_GFX_VERSION": "11.0.0"}, True, "ok", "HSA_OVERRIDE_GFX_VERSION=11.0.0"),
        (
            {"ROCR_VISIBLE_DEVICES": "1", "HIP_VISIBLE_DEVICES": "1"},
            True,
            "warning",
            "they add up; HIP_VISIBLE_DEVICES counts what ROCR_VISIBLE_DEVICES leaves",
        ),
    ],
)
def test_variables_that_choose_gpus_are_told(
    environment: dict[str, str], uses_gpu: bool, state: str, seen: str
) -> None:
    check = only(variables.judge(environment, uses_gpu=uses_gpu))
    assert (check.state, seen in check.seen) == (state, True)
    assert (check.todo is None) == (state == "ok")
