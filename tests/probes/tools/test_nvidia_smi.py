"""What nvidia-smi prints, read: never a number that it did not print, nor None without why."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from probes.tools.command import ToolFailed
from probes.tools.nvidia_csv import (
    APP_COLUMNS,
    GPU_COLUMNS,
    MIG_ON,
    UNIFIED,
    parse_address,
    parse_apps,
    parse_gpus,
)
from probes.tools.nvidia_smi import NvidiaSmi, find, memory, parse_model
from probes.tools.tool import MIB, ToolCard, ToolProcess
from tests.probes.samples import Write, card_files

A = "GPU-11111111-2222-3333-4444-555555555555"
B = "GPU-99999999-2222-3333-4444-555555555555"
GPUS = f"""\
0, {A}, 00000000:3B:00.0, 16376, 1011, 15014, [N/A], NVIDIA GeForce RTX 4080 SUPER
1, {B}, 00000000:5E:00.0, 24564, 0, 24138, Disabled, NVIDIA RTX A5000, Rev, 2
"""
APPS = f"{A}, 4711, 512\n{A}, 4712, [N/A]\n{B}, 99, 12000\n"


def problem_of(text: str) -> str | None:
    (card,) = parse_gpus(text)
    return card.problem


def test_a_row_a_gpu_in_bytes_and_with_the_kernels_address() -> None:
    first, second = parse_gpus(GPUS)
    assert first == ToolCard(
        index="0",
        address="0000:3b:00.0",
        name="NVIDIA GeForce RTX 4080 SUPER",
        uuid=A,
        total_bytes=16376 * MIB,
        used_bytes=1011 * MIB,
        free_bytes=15014 * MIB,
    )
    assert (second.name, second.used_bytes, second.problem) == ("NVIDIA RTX A5000, Rev, 2", 0, None)


def test_the_drivers_reserve_counts_as_used() -> None:
    assert memory(parse_gpus(GPUS)[0]) == (16376 * MIB, (16376 - 15014) * MIB)


def test_a_header_tells_the_columns_and_units_may_stand_there() -> None:
    text = (
        "$ nvidia-smi --query-gpu=name,memory.used,memory.total --format=csv\n"
        "name, memory.used [MiB], memory.total [MiB]\r\n"
        "Tesla T4, or so, 103 MiB, 15360 MiB\r\n"
    )
    (card,) = parse_gpus(text)
    assert (card.index, card.name) == ("0", "Tesla T4, or so")
    assert (card.used_bytes, card.total_bytes, card.free_bytes) == (103 * MIB, 15360 * MIB, None)


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("00000000:3B:00.0", "0000:3b:00.0"),
        ("0000:AF:1F.7", "0000:af:1f.7"),
        ("00010000:E1:00.0", "10000:e1:00.0"),
        ("[N/A]", None),
        ("3B:00.0", None),
    ],
)
def test_addresses_are_those_of_the_kernel(text: str, address: str | None) -> None:
    assert parse_address(text) == address


def test_states_without_numbers_are_none_with_the_reason() -> None:
    row = f"0, {A}, 00000000:3B:00.0, {{}}, {{}}, {{}}, {{}}, NVIDIA A100\n"
    refused = "[Insufficient Permissions]"
    assert problem_of(row.format(*["[N/A]"] * 4)) == UNIFIED
    assert problem_of(row.format(*[refused] * 3, "Enabled")) == MIG_ON
    assert problem_of(row.format(40960, 14366, 26000, "Enabled")) == MIG_ON
    assert problem_of(row.format(40960, refused, refused, "Disabled")) == (
        f"nvidia-smi: memory.used is {refused}"
    )
    lost = "[GPU requires reset]"
    assert problem_of(row.format(lost, lost, lost, "[N/A]")) == (
        f"nvidia-smi: memory.total is {lost}, memory.used is {lost}"
    )
    (card,) = parse_gpus(row.format("[Unknown Error]", "-5", "1e3", "Disabled"))
    assert (card.total_bytes, card.used_bytes, card.free_bytes) == (None, None, None)
    with pytest.raises(ToolFailed, match=r"memory.total is \[Unknown Error\], memory.used is -5"):
        memory(card)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("No devices were found\n", "it says: No devices were found"),
        ("No devices were found", "it says: No devices were found"),
        ("NVIDIA-SMI has failed because it couldn't communicate\n", "it couldn't communicate"),
        ("Failed to initialize NVML: Driver/library version mismatch\n", "mismatch; reboot"),
        ("Unable to determine the device handle for GPU1: GPU is lost.\n", "GPU is lost"),
        ("", "it says: nothing"),
        ("+-----+\n| MIG devices:      |\n|  1    3   0   0  |\n", "it says: MIG devices:"),
        (GPUS[:-1], "is cut off"),
    ],
)
def test_an_answer_without_gpus_fails_with_what_it_says(text: str, reason: str) -> None:
    with pytest.raises(ToolFailed, match=reason):
        parse_gpus(text)


def test_a_lost_gpu_does_not_cost_the_others() -> None:
    line = "Unable to determine the device handle for GPU0: 0000:AF:00.0: Unknown Error"
    *others, lost = parse_gpus(f"{line}\nWARNING: infoROM is corrupted at gpu 0000:3B:00.0\n{GPUS}")
    assert tuple(others) == parse_gpus(GPUS)
    assert (lost.address, lost.total_bytes) == ("0000:af:00.0", None)
    with pytest.raises(ToolFailed, match=r"AF:00\.0: Unknown Error"):
        memory(lost)


def test_processes_by_gpu() -> None:
    assert parse_apps(APPS) == {
        A: (
            ToolProcess(pid=4711, held_bytes=512 * MIB),
            ToolProcess(pid=4712, held_bytes=None),
        ),
        B: (ToolProcess(pid=99, held_bytes=12000 * MIB),),
    }
    assert parse_apps("") == parse_apps("gpu_uuid, pid, used_gpu_memory [MiB]\n") == {}


def test_a_process_name_may_hold_commas() -> None:
    text = "pid, process_name, used_gpu_memory [MiB]\n7, /opt/a, b/python, 5 MiB\n"
    process = ToolProcess(pid=7, held_bytes=5 * MIB, name="/opt/a, b/python")
    assert parse_apps(text) == {"": (process,)}


@pytest.mark.parametrize(
    "odd",
    [
        "[Not Supported]",
        f"{A}, 12",
        f"{A}, [N/A], 5",
        f"{A}, 0, 5",
        "[N/A], 12, 5",
        "oops, 1, 2, 3",
    ],
)
def test_a_process_that_cannot_be_read_fails_the_list(odd: str) -> None:
    """Left out it would seem to hold nothing."""
    with pytest.raises(ToolFailed, match="lists a process that cannot be read"):
        parse_apps(f"{APPS}{odd}\n")


#: Pieces that answers are made of, so that fuzzing gets past the first comma.
PIECES = st.sampled_from(
    (
        *(
            ", ",
            ",",
            "\n",
            "0",
            "7",
            "16376",
            " MiB",
            "[N/A]",
            "Enabled",
            "|",
            "$ ",
            "GPU-",
            "-",
            A,
        ),
        *(*GPU_COLUMNS, *APP_COLUMNS, "process_name", " [MiB]", "00000000:3B:00.0"),
        *("²", "\x85", "\u2028"),
    )
)
TEXTS = st.one_of(st.text(), st.lists(PIECES, max_size=40).map("".join))


@given(TEXTS)
def test_any_text_is_gpus_or_a_failure(text: str) -> None:
    try:
        cards = parse_gpus(text)
    except ToolFailed:
        return
    assert cards
    for card in cards:
        told = card.total_bytes is not None and card.used_bytes is not None
        assert told or card.problem


@given(TEXTS)
def test_any_text_is_processes_or_a_failure(text: str) -> None:
    try:
        found = parse_apps(text)
    except ToolFailed:
        return
    assert all(process.pid > 0 for processes in found.values() for process in processes)


@given(st.integers(0, len(GPUS)))
def test_a_cut_answer_never_gives_a_wrong_number(length: int) -> None:
    try:
        cards = parse_gpus(GPUS[:length])
    except ToolFailed:
        return
    assert cards == parse_gpus(GPUS)[: len(cards)]


@given(st.integers(0, len(APPS)))
def test_a_cut_list_of_processes_never_gives_a_wrong_number(length: int) -> None:
    """One that ends between rows looks whole: there the exit code tells."""
    try:
        found = parse_apps(APPS[:length])
    except ToolFailed:
        assert not APPS[:length].endswith("\n")
        return
    whole = parse_apps(APPS)
    assert all(whole[uuid][: len(processes)] == processes for uuid, processes in found.items())


def test_a_model_line_is_found_or_none() -> None:
    assert parse_model("IRQ: 1\nModel:  Tesla V100 \n") == "Tesla V100"
    assert parse_model("Model:\n") is None


def test_without_nvidias_driver_its_cards_are_named_and_nothing_is_started(write: Write) -> None:
    root = write(card_files(address="0000:01:00.0", vendor="0x10de", driver="nouveau"))
    gpus, (out,) = find(root, root / "proc", NeverAsked(dev=root / "dev"))
    assert (gpus, out.key) == ((), "0000:01:00.0")
    assert out.because == "driven by nouveau, not by nvidia"


def test_a_machine_without_nvidia_says_nothing(tmp_path: Path) -> None:
    assert find(tmp_path, tmp_path, NeverAsked(dev=tmp_path)) == ((), ())


def test_wsl_without_the_program_says_nothing(tmp_path: Path) -> None:
    """/dev/dxg is there for a GPU of any maker."""
    (tmp_path / "dxg").touch()
    tool = NvidiaSmi(dev=tmp_path, places=("no-such-smi",))
    assert find(tmp_path, tmp_path, tool) == ((), ())


def test_without_the_program_each_gpu_of_the_kernel_is_left_out_once(write: Write) -> None:
    gpus = "proc/driver/nvidia/gpus"
    root = write(
        {
            **card_files(address="0000:01:00.0", vendor="0x10de", driver="nvidia"),
            **card_files("class/drm/card7/device", address="0000:09:00.0"),
            f"{gpus}/0000:01:00.0/information": "Model: \t NVIDIA RTX 4090\nIRQ: 5",
            f"{gpus}/0000:02:00.0/information": "",
        }
    )
    tool = NvidiaSmi(dev=root / "dev", places=("no-such-smi", "/no/such/place"))
    gpus, left_out = find(root, root / "proc", tool)
    assert gpus == ()
    assert [(out.key, out.name) for out in left_out] == [
        ("0000:01:00.0", "NVIDIA RTX 4090"),
        ("0000:02:00.0", "NVIDIA GPU"),
    ]
    assert {out.because for out in left_out} == {
        f"{tool.missing()}; install the driver's utilities"
    }
    assert tool.missing() == "nvidia-smi is not on PATH and there is no /no/such/place"


class NeverAsked(NvidiaSmi):
    """On PATH, as with a driver installed for a GPU that is gone; fails the test that asks it."""

    def missing(self) -> str | None:
        return None

    def cards(self) -> tuple[ToolCard, ...]:
        raise AssertionError("nvidia-smi was started")
