"""What rocm-smi prints, in all its versions' spellings, is read exactly or not at all."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from probes.tools import rocm_smi
from probes.tools.command import ToolFailed
from probes.tools.rocm_smi import RocmSmi, parse_cards, parse_processes, parse_version
from probes.tools.tool import ToolCard, ToolProcess, in_vram

GIB = 1 << 30
TOTAL, USED = "VRAM Total Memory (B)", "VRAM Total Used Memory (B)"
ASLEEP = "WARNING: AMD GPU device(s) is/are in a low-power state. Check power control\n\n"
NO_DATA = "WARNING: No JSON data to report\n"

#: As 7.x says it of a card and of the integrated GPU beside it.
CARD = {
    "Unique ID": "0x2b7c9d1e3f4a60",
    "PCI Bus": "0000:0A:00.0",
    TOTAL: "17163091968",
    USED: "1622728704",
    "GTT Total Memory (B)": "16792432640",
    "GTT Total Used Memory (B)": "244150272",
    "Card Series": "Navi 31 [Radeon RX 7900 GRE]",
    "Card Model": "0x744c",
    "Node ID": "1",
    "GFX Version": "gfx1100",
}
IGPU = {"Unique ID": "0x0", "PCI Bus": "0000:0F:00.0", TOTAL: "536870912", USED: "52428800"}


def said(*cards: Mapping[str, object], **others: object) -> str:
    return json.dumps({f"card{number}": card for number, card in enumerate(cards)} | others) + "\n"


def only(*cards: Mapping[str, object]) -> ToolCard:
    (card,) = parse_cards(said(*cards))
    return card


def test_a_card_with_all_that_it_can_say() -> None:
    assert parse_cards(said(CARD, IGPU, system={"Driver version": "6.10.5"})) == (
        ToolCard(
            index="card0",
            address="0000:0a:00.0",
            name="Navi 31 [Radeon RX 7900 GRE]",
            uuid="GPU-002b7c9d1e3f4a60",
            total_bytes=17163091968,
            used_bytes=1622728704,
            gtt_total_bytes=16792432640,
            gtt_used_bytes=244150272,
            gfx="gfx1100",
        ),
        ToolCard(index="card1", address="0000:0f:00.0", total_bytes=536870912, used_bytes=52428800),
    )


def test_the_spelling_of_the_script_up_to_4_0() -> None:
    card = only({"vram Total Memory (B)": "8573157376", "vram Total Used Memory (B)": "17776640"})
    assert (card.total_bytes, card.used_bytes, card.problem) == (8573157376, 17776640, None)


@pytest.mark.parametrize(
    ("values", "name"),
    [
        ({"Card series": "Instinct MI210", "Card model": "0x0c34"}, "Instinct MI210"),
        ({"Card series": "0x1002", "Card model": "0x1002"}, None),
        ({"Card Series": "N/A", "Device Name": "Phoenix3", "Card Model": "0x1900"}, "Phoenix3"),
        ({"Card Series": "", "Device Name": "N/A", "Card Model": "NITRO+"}, "NITRO+"),
    ],
)
def test_a_name_is_no_number(values: dict[str, str], name: str | None) -> None:
    assert only(values).name == name


@pytest.mark.parametrize(
    ("unique_id", "uuid"),
    [
        ("0xe56b237e725ec427", "GPU-e56b237e725ec427"),
        ("0xE56B237E725EC427", "GPU-e56b237e725ec427"),
        ("5a", "GPU-000000000000005a"),
        ("N/A", None),
        ("0x0", None),
        ("0x9246____________", None),
        ("0x10000000000000000", None),
    ],
)
def test_unique_id_as_the_variable_takes_it(unique_id: str, uuid: str | None) -> None:
    assert only({"Unique ID": unique_id}).uuid == uuid


def test_an_id_of_two_names_neither() -> None:
    assert [card.uuid for card in parse_cards(said(CARD, CARD))] == [None, None]


@pytest.mark.parametrize(
    ("bus", "address"),
    [
        ("0000:C3:1F.7", "0000:c3:1f.7"),
        ("00000001:03:00.0", "0001:03:00.0"),
        ("03:00.0", None),
        ("N/A", None),
    ],
)
def test_addresses_are_written_as_the_kernel_does(bus: str, address: str | None) -> None:
    assert only({"PCI Bus": bus}).address == address


@pytest.mark.parametrize(
    "text",
    [
        "N/A",
        "None",
        "",
        "unknown",
        "-1",
        "1.5",
        "0x10",
        "1e9",
        "12 MB",
        "1_000",
        "\u0663",
        "9" * 21,
    ],
)
def test_what_is_no_number_is_unknown_with_a_reason(text: str) -> None:
    card = only({**CARD, USED: text})
    assert (card.total_bytes, card.used_bytes) == (17163091968, None)
    assert card.problem == f"rocm-smi says {text!r} for {USED}"


@pytest.mark.parametrize("value", [None, True, 1.5, [5], {"value": 5}])
def test_what_is_no_text_is_unknown(value: object) -> None:
    assert only({TOTAL: value, USED: value}).total_bytes is None


def test_a_counter_that_is_dropped() -> None:
    card = only({TOTAL: CARD[TOTAL]})
    assert card.used_bytes is None
    assert card.problem == f"rocm-smi says nothing for {USED}"
    with pytest.raises(ToolFailed, match="says nothing for VRAM Total Used"):
        in_vram(card, "rocm-smi")


def test_partitions_but_the_first_say_nothing_and_why() -> None:
    first, second = parse_cards(said(CARD, {**CARD, TOTAL: "N/A", USED: "N/A"}))
    assert (first.used_bytes, first.problem) == (1622728704, None)
    assert second.used_bytes is None
    assert "all partitions of a GPU (MI300) but the first" in str(second.problem)


def test_a_used_of_0_is_kept() -> None:
    assert only({**CARD, USED: "0"}).used_bytes == 0


def test_how_busy_the_memory_is_does_not_say_how_full() -> None:
    card = only({"GPU memory use (%)": "43", "GPU Memory Allocated (VRAM%)": "53"})
    assert (card.total_bytes, card.used_bytes) == (None, None)


@pytest.mark.parametrize("indent", [None, 2])
def test_noise_around_json(indent: int | None) -> None:
    text = json.dumps({"card0": CARD}, indent=indent)
    assert parse_cards(f"\n{ASLEEP}{text}\n{ASLEEP}") == parse_cards(text)


def test_csv_says_the_same_as_json() -> None:
    rows = [["device", *CARD], ["card0", *CARD.values()]]
    text = "".join(",".join(row) + "\n" for row in rows)
    assert parse_cards(f"{ASLEEP}{text}\n") == parse_cards(said(CARD))


def test_csv_fills_what_one_card_lacks() -> None:
    text = f"device,{TOTAL},{USED}\ncard0,17163091968,692142080\ncard1,N/A,N/A\n"
    first, second = parse_cards(text)
    assert (first.total_bytes, first.used_bytes) == (17163091968, 692142080)
    assert (second.total_bytes, second.index) == (None, "card1")


def test_a_csv_row_of_another_length_is_no_card() -> None:
    text = f"device,{TOTAL},{USED}\ncard0,1,2,3\ncard1,17163091968,692142080\ncard2,5\n"
    assert [card.index for card in parse_cards(text)] == ["card1"]


@pytest.mark.parametrize(
    ("stdout", "stderr", "reason"),
    [
        ("", "", "printed nothing"),
        ("", "ERROR:root:Driver not initialized (amdgpu not found)\n", "no amdgpu driver"),
        ("Unable to load the rocm_smi library.\n\x1b[33mPlease\x1b[0m", "", "not installed"),
        ("", f"WARNING: No AMD GPUs specified\n{NO_DATA}", "no AMD GPU .*'WARNING: No AMD GPUs sp"),
        ("", f'/usr/bin/rocm-smi:3820: Dep\n  logging.warn("No JSON")\n{NO_DATA}', "no AMD GPU"),
        ("", "usage: [-h]\nerror: unrecognized arguments: --showuniqueid\n", "--showuniqueid"),
        ("NOT_SUPPORTED: Cannot print JSON\n", "", "NOT_SUPPORTED: Cannot print JSON"),
        ("===== ROCm =====\nGPU  Temp   VRAM%\n0    41.0c  53%\n", "", "VRAM% 0 41.0c 53%"),
        ("{}", "", "lists no GPU"),
        ('{"system": {"PID1": "a, 1, 4096, 0, 0"}}', "", "lists no GPU, only 'system'"),
        ('{"card0": "text"}', "", "lists no GPU, only 'card0'"),
        ('{"card0": {"' + TOTAL + '": "17', "", "no whole JSON"),
        ('{"a":' * 100_000 + "}", "", "no whole JSON"),
        ("device,PID1\nsystem,python3, 1, 4096, 0, 0\n", "", "lists no GPU"),
        (f"device,{TOTAL}\ncard0,171", "", "lists no GPU"),
    ],
)
def test_what_is_not_understood_fails_with_what_was_seen(
    stdout: str, stderr: str, reason: str
) -> None:
    with pytest.raises(ToolFailed, match=f"^rocm-smi.*{reason}"):
        parse_cards(stdout, stderr)


def test_a_lock_left_behind_says_how_to_remove_it() -> None:
    stderr = (
        "pthread_mutex_timedlock() returned 110\nFailed to initialize RSMI device mutex after 5 "
        "seconds. Previous execution may not have shutdown cleanly.: Success\n"
        "ERROR:root:ROCm SMI returned 8 (the expected value is 0)\n"
    )
    with pytest.raises(
        ToolFailed,
        match=r"delete /dev/shm/rocm_smi\* \(it says 'Failed to .* cleanly.: Success'\)$",
    ):
        parse_cards("", stderr)


def test_processes() -> None:
    text = said(system={"PID26258": "python3, 1, 2789212160, 0, 0", "Driver version": "6.1"})
    assert parse_processes(ASLEEP + text) == (
        ToolProcess(pid=26258, held_bytes=2789212160, name="python3"),
    )


@pytest.mark.parametrize(
    ("words", "held", "name"),
    [
        ("my, prog:, x,, 2, 1, 8192, 4096, 7", 8192, "my, prog:, x,, 2"),
        ("unknown, 1, 6442450944, 0, unknown", 6442450944, None),
        ("python3, unknown, 6442450944, 0, 0", 6442450944, "python3"),
        ("python3, 1, unknown, unknown, unknown", None, "python3"),
        ("kfd_open, 0, 0, 0, 0", 0, "kfd_open"),
        ("python3, 2, 6442450944, 0, 0", None, "python3"),
        ("python3, 1, 6442450944, 0", None, "python3"),
        ("my, prog, 1, 6442450944, 0", None, "my"),
        ("my, 1, 1, 6442450944, 0", None, "my"),
        ("", None, None),
    ],
)
def test_a_process_by_its_words(words: str, held: int | None, name: str | None) -> None:
    """Blanks in a name shift the columns; a process on two GPUs, or a column less, is unknown."""
    (process,) = parse_processes(said(system={"PID7": words}))
    assert (process.held_bytes, len(process.name or "") > 0) == (held, name is not None)
    if held is not None:
        assert process.name == name


def test_no_process_is_an_empty_list_and_no_answer_is_a_failure() -> None:
    assert parse_processes("", NO_DATA) == ()
    assert parse_processes(ASLEEP, NO_DATA) == ()
    for stdout, stderr in [
        ("", ""),
        ("", f"Unable to open process directory: No such file or directory\n{NO_DATA}"),
        (said(CARD), ""),
        ("No KFD PIDs currently running\n", ""),
        ("Segmentation fault\n", ""),
    ]:
        with pytest.raises(ToolFailed, match=r"^rocm-smi"):
            parse_processes(stdout, stderr)


@pytest.mark.parametrize(
    ("text", "version"),
    [
        ("ROCM-SMI version: 4.0.0+1b1\nROCM-SMI-LIB version: 7.8.0\n", "4.0.0+1b1, library 7.8.0"),
        ("AMD ROCm | ROCM-SMI version: 1.4.1 | Kernel version: 6.1\n", "1.4.1"),
        ("usage: rocm-smi [-h]\n", None),
    ],
)
def test_versions(text: str, version: str | None) -> None:
    assert parse_version(text) == version


def test_without_the_program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(rocm_smi, "ROCM_FOLDER", str(tmp_path / "rocm"))
    assert "neither on PATH" in str(RocmSmi().missing())
    with pytest.raises(ToolFailed, match="neither on PATH"):
        RocmSmi().cards()
    (tmp_path / "rocm").mkdir()
    program = tmp_path / "rocm/rocm-smi"
    program.write_text("#!/bin/sh\n")
    os.chmod(program, 0o755)
    assert RocmSmi().missing() is None


values = st.sampled_from(["N/A", "None", ""]) | st.integers(0, 1 << 64).map(str) | st.text()
names = st.sampled_from([*CARD, "Card series", "vram Total Memory (B)"]) | st.text()
tables = st.lists(st.dictionaries(names, values), max_size=3)


def numbers(cards: tuple[ToolCard, ...]) -> dict[str, tuple[object, ...]]:
    return {
        card.index: (
            *(card.total_bytes, card.used_bytes, card.gtt_total_bytes, card.gtt_used_bytes),
            *(card.address, card.uuid),
        )
        for card in cards
    }


def agrees(part: str, whole: str) -> None:
    """*part* fails, or says nothing that *whole* does not say."""
    try:
        seen = numbers(parse_cards(part))
    except ToolFailed:
        return
    meant = numbers(parse_cards(whole))
    for index, values in seen.items():
        for value, true in zip(values, meant[index], strict=True):
            assert value is None or value == true


@given(tables, st.integers(0, 2000), st.sampled_from([None, 1]))
def test_json_that_is_cut_never_says_a_wrong_number(
    cards: list[dict[str, str]], length: int, indent: int | None
) -> None:
    whole = json.dumps({"card9": CARD} | dict(zip("ab", cards, strict=False)), indent=indent)
    agrees(whole[: length % len(whole)], whole)


@given(st.lists(st.lists(st.integers(0, 1 << 64), min_size=2, max_size=2)), st.integers(0, 2000))
def test_csv_that_is_cut_never_says_a_wrong_number(rows: list[list[int]], length: int) -> None:
    lines = [f"card{number},{total},{used}" for number, (total, used) in enumerate(rows)]
    whole = "\n".join([f"device,{TOTAL},{USED}", "card99,1000,500", *lines, ""])
    agrees(whole[: length % len(whole)], whole)


@given(st.text() | st.text(alphabet='{}":,card0 device\n1'), st.text())
def test_no_text_breaks_it(stdout: str, stderr: str) -> None:
    for parse in (parse_cards, parse_processes):
        with contextlib.suppress(ToolFailed):
            parse(stdout, stderr)


@given(tables, st.dictionaries(st.integers(1, 9).map("PID{}".format) | st.text(), st.text()))
def test_no_table_breaks_it(cards: list[dict[str, str]], processes: dict[str, str]) -> None:
    text = said(*cards, CARD, system=processes)
    assert len(parse_cards(text)) == len(cards) + 1
    assert all(process.pid < 10 for process in parse_processes(text) if process.held_bytes)
