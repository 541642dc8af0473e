"""AMD's amd-smi: what it prints in its versions, and the calls that make one answer."""

from __future__ import annotations

import contextlib
import json
import os
import stat
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from probes.tools.amd_smi import AmdSmi
from probes.tools.amd_smi_parse import (
    held_bytes,
    parse_address,
    parse_json,
    parse_list,
    parse_metric,
    parse_names,
    parse_processes,
    parse_size,
    parse_uuid,
    without_doubt,
)
from probes.tools.amd_smi_text import parse_list_text, parse_monitor, parse_table
from probes.tools.command import ToolFailed
from probes.tools.tool import MIB, ToolCard, ToolProcess

LIST: list[Any] = [
    {"gpu": 0, "bdf": "0000:03:00.0", "uuid": "5aff744c-0000-1000-802b-7c9d1e3f4a60"},
    {"gpu": 1, "bdf": "0000:0C:00.0", "uuid": "00ff164e-0000-1000-8000-000000000000"},
]


def megabytes(value: object) -> dict[str, object]:
    return {"value": value, "unit": "MB"}


def memory(gpu: int, total: object, used: object) -> dict[str, Any]:
    sizes = {"total_vram": total, "used_vram": used, "total_gtt": 15360, "used_gtt": 32}
    return {"gpu": gpu, "mem_usage": {name: megabytes(value) for name, value in sizes.items()}}


def process(pid: int, vram: object, whole: object, gtt: object = 0) -> dict[str, Any]:
    pools = {"gtt_mem": gtt, "cpu_mem": 0, "vram_mem": vram}
    sizes = {name: {"value": value, "unit": "B"} for name, value in pools.items()}
    info = {"name": "python3", "pid": pid, "memory_usage": sizes}
    return {"process_info": {**info, "mem_usage": {"value": whole, "unit": "B"}}}


METRIC = [memory(0, 16368, 8732), memory(1, 512, 118)]
PROCESSES = [
    {"gpu": 0, "process_list": [process(10, 6 << 30, 0, 2 << 20), process(11, 5, 5)]},
    {"gpu": 1, "process_list": [{"process_info": "No running processes detected"}]},
]
TABLE = """\
+------------------------------------------------------------------------------+
| AMD-SMI 26.2.2+abc           amdgpu version: 6.16.13  ROCm version: 7.2.1    |
|-------------------------------------+----------------------------------------|
| BDF                        GPU-Name | Mem-Uti   Temp   UEC       Power-Usage |
| GPU  HIP-ID  OAM-ID  Partition-Mode | GFX-Uti    Fan               Mem-Usage |
|=====================================+========================================|
| 0000:03:00.0     AMD Radeon RX 6800 | 1 %      50 °C   0            44/227 W |
|   0       0     N/A             N/A | 0 %     25.49           14592/16368 MB |
|-------------------------------------+----------------------------------------|
| 0000:26:00.0    AMD Instinct MI355X | N/A        N/A   0          N/A/1400 W |
|   1       3       5        SPX/NPS1 | N/A        N/A           283/294896 MB |
+-------------------------------------+----------------------------------------+
"""
MONITOR = """\
GPU  POWER  GPU_TEMP  VRAM_USED  VRAM_TOTAL   PCIE_BW
  0  199 W    103 °C    1235 MB    16335 MB  N/A Mb/s
  1    N/A       N/A        N/A    16335 MB  N/A Mb/s

PROCESS INFO:
GPU                  NAME      PID  GTT_MEM
  0                   rvs  1564865    0.0 B
"""
GROUPS = "WARNING: User is missing the following required groups: render, video.\n"


def text(value: object) -> str:
    return json.dumps(value, indent=4)


def sizes(cards: tuple[ToolCard, ...]) -> list[tuple[int | None, int | None]]:
    return [(card.total_bytes, card.used_bytes) for card in cards]


# Memory


@pytest.mark.parametrize(
    "printed",
    [
        text(METRIC),
        text({"gpu_data": METRIC}),
        GROUPS + text(METRIC),
        "x.py:7: SyntaxWarning: invalid escape sequence '\\['\n[noise, no JSON\n" + text(METRIC),
        text([*METRIC, {"cpu": 0}, "?"]),
    ],
    ids=["list", "gpu_data", "warning", "noise", "cpu"],
)
def test_memory_is_read_in_all_forms_of_the_root(printed):
    first, second = parse_metric(printed)
    assert (first.index, first.total_bytes, first.used_bytes) == ("0", 17163091968, 9156165632)
    assert (first.gtt_total_bytes, first.gtt_used_bytes) == (15360 * MIB, 32 * MIB)
    assert (second.index, second.total_bytes, second.used_bytes) == ("1", 512 * MIB, 118 * MIB)


def test_a_lone_gpu_needs_no_list():
    assert sizes(parse_metric(text(METRIC[0]))) == [(16368 * MIB, 8732 * MIB)]


@pytest.mark.parametrize(
    "said",
    [
        {"mem_usage": {"total_vram": 16368, "used_vram": 8732}},
        {"mem_usage": {"total_vram": "16368 MB", "used_vram": "8732 MB"}},
        {"vram": {"total": megabytes(16368), "used": megabytes(8732)}},
        {"fb_memory_usage": {"total": megabytes(16368), "used": megabytes(8732)}},
        {"vram_total": megabytes(16368), "vram_used": megabytes(8732)},
    ],
    ids=["bare", "words", "vram", "fb", "monitor"],
)
def test_memory_is_read_under_other_names(said):
    assert sizes(parse_metric(text([{"gpu": 0, **said}]))) == [(16368 * MIB, 8732 * MIB)]


@pytest.mark.parametrize("used", ["N/A", None, -1, 1.5, True, [], (1 << 64) - 1, (1 << 32) - 1])
def test_what_is_no_size_is_unknown_and_said_so(used):
    (card,) = parse_metric(text([memory(3, 16368, used)]))
    assert (card.total_bytes, card.used_bytes) == (16368 * MIB, None)
    assert card.problem == "amd-smi does not say the memory of its GPU 3"


@pytest.mark.parametrize("said", ["N/A", {}, None, [], 7])
def test_no_memory_at_all_is_unknown(said):
    assert sizes(parse_metric(text([{"gpu": 0, "mem_usage": said}]))) == [(None, None)]


def test_a_unit_that_is_not_known_is_no_number():
    said = {"value": 16, "unit": "GB"}
    assert parse_size(said, 1) is None
    assert parse_size("16 GB", 1) is None
    assert parse_size({"value": 16}, 1) is None


@pytest.mark.parametrize(
    ("printed", "words"),
    [
        ("", "cannot be read"),
        ("[]", "lists no GPU"),
        ("7", "cannot be read"),
        ('{"gpu_data": 7}', "lists no GPU"),
        ('{"error": "Device not found", "code": -3}', "Device not found"),
        (text([METRIC[0], METRIC[0]]), "twice"),
        ("[" * 100_000, "cannot be read"),
        ("[" + "9" * 5_000 + "]", "cannot be read"),
    ],
    ids=["nothing", "none", "number", "odd", "error", "twice", "deep", "long"],
)
def test_what_is_no_answer_fails_with_words(printed, words):
    with pytest.raises(ToolFailed, match=words):
        parse_json(printed)


# Processes


def test_processes_are_told_by_gpu():
    told = parse_processes(text(PROCESSES))
    assert told[0] == (
        ToolProcess(pid=10, held_bytes=6 << 30, name="python3"),  # while the whole is 0
        ToolProcess(pid=11, held_bytes=5, name="python3"),
    )
    assert told[1] == ()


ONE = process(10, 7, 7)


@pytest.mark.parametrize(
    ("said", "pids"),
    [
        ({"values": [ONE, process(11, 7, 7)]}, [10, 11]),
        (ONE, [10]),
        ({"process_info_0": ONE["process_info"]}, [10]),
        ({"process_info": "Not Found"}, []),
        ({"process_list": []}, []),
        ({"process_info": "N/A"}, None),
        ({"process_list": [ONE, {"process_info": "N/A"}]}, None),
        ({"process_list": [ONE, {"process_info": {"pid": "?"}}]}, None),
        ({"process_list": "N/A"}, None),
        ({}, None),
    ],
    ids=["values", "alone", "numbered", "old none", "none", "N/A", "one N/A", "pid", "odd", "?"],
)
def test_processes_of_other_versions(said, pids):
    told = parse_processes(text([{"gpu": 0, **said}]))[0]
    assert (None if told is None else [one.pid for one in told]) == pids


def test_a_process_that_overwrites_another_fails():
    """Before 6.2 both stood under one key: the first one's memory would be a stranger's."""
    with pytest.raises(ToolFailed, match="twice"):
        parse_processes('[{"gpu": 0, "process_info": {"pid": 1}, "process_info": {"pid": 2}}]')


@pytest.mark.parametrize(
    ("vram", "gtt", "whole", "held"),
    [
        (6, 0, 0, 6),
        (6, 2, 8, 6),
        (0, 2, 2, 0),
        (None, None, 8, 8),
        (None, None, 0, None),
        (None, None, None, None),
        (0, 0, 0, None),
    ],
)
def test_what_a_process_holds(vram, gtt, whole, held):
    assert held_bytes(vram=vram, others=[gtt, None], whole=whole) == held


# Who is who


def test_identities():
    enumerated = [{**LIST[0], "hip_uuid": "GPU-5a2b7c9d1e3f4a60"}, LIST[1]]
    first, second = parse_list(text(enumerated)).values()
    assert (first.address, first.uuid) == ("0000:03:00.0", "GPU-5a2b7c9d1e3f4a60")
    assert (second.address, second.uuid) == ("0000:0c:00.0", None)


@pytest.mark.parametrize(
    ("said", "address"),
    [
        ("0000:0C:00.1", "0000:0c:00.1"),
        ("00000000:03:00.0", "0000:03:00.0"),
        ("10000:03:00.0", "10000:03:00.0"),
        ("0000:00:00.0", None),
        ("N/A", None),
        ("03:00.0", None),
        (3, None),
    ],
)
def test_addresses(said, address):
    assert parse_address(said) == address


@pytest.mark.parametrize(
    "said", ["GPU-0000000000000000", "GPU-XX", "N/A", None, "GPU-0x5a2b7c9d1e3f"]
)
def test_what_rocm_would_not_take_is_no_uuid(said):
    assert parse_uuid(said) is None


def test_an_address_of_two_gpus_is_nobodys():
    cards = [ToolCard(index=str(n), address=f"0000:0{n // 2}:00.1", uuid="U") for n in range(3)]
    first, second, third = without_doubt(cards)
    assert first.address is second.address is None
    assert first.problem == "GPU 0 shares the PCI address 0000:00:00.1"
    assert (third.address, third.problem) == ("0000:01:00.1", None)
    assert third.uuid is None


def test_names():
    said = [
        {"gpu": 0, "asic": {"market_name": "Navi 31", "target_graphics_version": "gfx1100"}},
        {"gpu": 1, "asic": {"market_name": "0x744c"}, "board": {"product_name": "W7900"}},
        {"gpu": 2, "asic": "N/A", "board": {"product_name": "N/A"}},
    ]
    told = [(one.name, one.gfx) for one in parse_names(text(said)).values()]
    assert told == [("Navi 31", "gfx1100"), ("W7900", None), (None, None)]


# Tables


def test_the_table():
    first, second = parse_table(TABLE)
    assert first == ToolCard(
        index="0",
        address="0000:03:00.0",
        name="AMD Radeon RX 6800",
        total_bytes=17163091968,
        used_bytes=15300820992,
    )
    assert (second.index, second.address, second.total_bytes) == (
        "1",
        "0000:26:00.0",
        294896 * MIB,
    )


def test_a_table_in_another_unit_is_none():
    with pytest.raises(ToolFailed, match="no GPU with its memory"):
        parse_table(TABLE.replace(" MB |", " GB |"))


def test_monitor():
    first, second = parse_monitor(GROUPS + MONITOR)
    assert (first.index, first.total_bytes, first.used_bytes) == ("0", 16335 * MIB, 1235 * MIB)
    assert (second.total_bytes, second.used_bytes) == (16335 * MIB, None)
    assert second.problem == "amd-smi does not say the memory of its GPU 1, or only in GB"


def test_a_monitor_that_rounds_says_no_number():
    (card,) = parse_monitor("GPU  POWER   VRAM_USAGE\n  0   17 W   8.5/ 16.0 GB\n")
    assert (card.total_bytes, card.used_bytes) == (None, None)
    assert card.problem is not None


# Anything may come


WHOLE = [
    (parse_metric, text(METRIC)),
    (parse_list, text(LIST)),
    (parse_names, text([{"gpu": 0, "asic": {"market_name": "Navi 31"}}])),
    (parse_processes, text(PROCESSES)),
    (parse_table, TABLE),
    (parse_monitor, MONITOR),
]
PARSERS = [parse for parse, _ in WHOLE]


@given(st.sampled_from(PARSERS), st.text() | st.text('[]{}"gpu:0123,GPU |MB\n'))
def test_any_text_is_an_answer_or_a_failure(parse, said):
    with contextlib.suppress(ToolFailed):
        parse(said)


KEYS = [
    "gpu",
    "gpu_data",
    "error",
    "bdf",
    "asic",
    "mem_usage",
    "total_vram",
    "used_vram",
    "value",
    "unit",
    "process_list",
    "process_info",
    "values",
    "pid",
    "memory_usage",
    "vram_mem",
]
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=4)
    ),
    max_leaves=6,
)


@given(st.sampled_from(PARSERS[:4]), JSON, st.dictionaries(st.sampled_from(KEYS), JSON))
def test_any_json_is_an_answer_or_a_failure(parse, root, gpu):
    for said in (root, [{**gpu, "gpu": 0}]):
        with contextlib.suppress(ToolFailed):
            parse(json.dumps(said))


@pytest.mark.parametrize(("parse", "whole"), WHOLE, ids=[parse.__name__ for parse in PARSERS])
def test_what_is_cut_off_says_nothing_wrong(parse, whole):
    """Each GPU that a cut text tells of is told of as in the whole one, or is unknown."""
    right = {getattr(card, "index", card): card for card in parse(whole)}
    for length in range(len(whole)):
        with contextlib.suppress(ToolFailed):
            told = parse(whole[:length])
            if isinstance(told, dict):
                assert told == parse(whole)
                continue
            for card in told:
                assert card.total_bytes in (None, right[card.index].total_bytes)
                assert card.used_bytes in (None, right[card.index].used_bytes)
                assert card.address in (None, right[card.index].address)


# The calls


class StandIn:
    """A program in amd-smi's place: it prints what was put for its arguments, or refuses them."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._calls = folder / "calls"
        self.program = folder / "amd-smi"
        self.program.write_text(
            f'#!/bin/sh\ncd "{folder}"\necho "$*" >> calls\n'
            'name="said$(echo "$*" | tr " " _)"\n'
            '[ -e "$name.code" ] && . "./$name.code"\n'
            '[ -e "$name" ] && { cat "$name"; exit; }\n'
            'echo "amd-smi: error: unrecognized arguments: $*" >&2; exit 2\n'
        )
        self.program.chmod(self.program.stat().st_mode | stat.S_IXUSR)

    def say(self, arguments: str, said: object) -> None:
        printed = said if isinstance(said, str) else text(said)
        (self._folder / f"said{arguments.replace(' ', '_')}").write_text(printed)

    def do(self, arguments: str, code: str) -> None:
        (self._folder / f"said{arguments.replace(' ', '_')}.code").write_text(code)

    def calls(self) -> list[str]:
        """Since last asked."""
        made = self._calls.read_text().splitlines() if self._calls.exists() else []
        self._calls.unlink(missing_ok=True)
        return made


@pytest.fixture
def stand_in(tmp_path: Path) -> StandIn:
    made = StandIn(tmp_path)
    made.say("metric -m --json", METRIC)
    made.say("list --json", LIST)
    made.say("process --json", PROCESSES)
    return made


@pytest.mark.processes
def test_three_calls_make_an_answer(stand_in):
    first, second = AmdSmi(str(stand_in.program)).cards()
    assert (first.address, first.total_bytes, first.used_bytes) == (
        "0000:03:00.0",
        16368 * MIB,
        8732 * MIB,
    )
    assert first.processes is not None
    assert [one.pid for one in first.processes] == [10, 11]
    assert (second.address, second.total_bytes, second.processes) == (
        "0000:0c:00.0",
        512 * MIB,
        (),
    )


@pytest.mark.processes
def test_who_is_who_is_remembered_until_a_failure(stand_in):
    stand_in.say("static -a -b --json", [{"gpu": 0, "asic": {"market_name": "Navi 31"}}])
    smi = AmdSmi(str(stand_in.program))
    first = smi.cards()
    assert first[0].name == "Navi 31"
    assert stand_in.calls() == [
        "metric -m --json",
        "list -e --json",
        "list --json",
        "static -a -b --json",
        "process --json",
    ]
    assert smi.cards() == first
    assert stand_in.calls() == ["metric -m --json", "process --json"]
    stand_in.say("metric -m --json", "")
    with pytest.raises(ToolFailed, match="ended with 0"):
        smi.cards()
    stand_in.say("metric -m --json", METRIC)
    swapped = [{**LIST[0], "gpu": 1}, {**LIST[1], "gpu": 0}]
    stand_in.say("list --json", swapped)
    assert [card.address for card in smi.cards()] == ["0000:0c:00.0", "0000:03:00.0"]


@pytest.mark.processes
def test_other_gpus_than_before_are_asked_for(stand_in):
    smi = AmdSmi(str(stand_in.program))
    smi.cards()
    stand_in.say("metric -m --json", METRIC[1:])
    stand_in.say("list --json", [{"gpu": 1, "bdf": "0000:99:00.0"}])
    assert [card.address for card in smi.cards()] == ["0000:99:00.0"]


@pytest.mark.processes
def test_without_processes_there_is_memory(stand_in):
    stand_in.say("process --json", text(PROCESSES)[:100])
    first, second = AmdSmi(str(stand_in.program)).cards()
    assert first.processes is second.processes is None
    assert first.used_bytes == 8732 * MIB


@pytest.mark.processes
def test_a_version_without_json_shows_a_table(stand_in):
    stand_in.do("metric -m --json", "echo \"Parameter '--json' is invalid.\"; exit 1")
    stand_in.say("", TABLE)
    assert AmdSmi(str(stand_in.program)).cards() == parse_table(TABLE)


@pytest.mark.processes
def test_an_answer_beside_a_complaint_is_an_answer(stand_in):
    stand_in.do("metric -m --json", "echo \"warning: '--json' is invalid\" >&2")
    assert AmdSmi(str(stand_in.program)).cards()[0].used_bytes == 8732 * MIB


@pytest.mark.processes
def test_a_version_without_json_and_table_has_its_monitor(stand_in):
    stand_in.do("metric -m --json", "echo \"Parameter '--json' is invalid.\"; exit 1")
    stand_in.say("", "usage: amd-smi [-h]\n")
    stand_in.say("list", "GPU: 0\n    BDF: 0000:03:00.0\n    UUID: x\n\nGPU: 1\n    BDF: N/A\n")
    stand_in.say("monitor -v", MONITOR)
    first, second = AmdSmi(str(stand_in.program)).cards()
    assert (first.address, first.used_bytes) == ("0000:03:00.0", 1235 * MIB)
    assert (second.address, second.used_bytes) == (None, None)


@pytest.mark.processes
def test_no_driver_is_a_failure_with_its_words(stand_in):
    stand_in.do("metric -m --json", "echo driver not loaded >&2; exit 255")
    with pytest.raises(ToolFailed, match="ended with 255 and said: driver not loaded"):
        AmdSmi(str(stand_in.program)).cards()


@pytest.mark.processes
def test_one_that_hangs_is_not_waited_for(stand_in):
    stand_in.do("metric -m --json", "exec sleep 60")
    with pytest.raises(ToolFailed, match="amd-smi did not answer"):
        AmdSmi(str(stand_in.program), limit_s=0.2).cards()


@pytest.mark.processes
def test_its_version(stand_in):
    stand_in.say("version", GROUPS + "AMDSMI Tool: 25.3.0 | ROCm version: 6.4.0 \n")
    smi = AmdSmi(str(stand_in.program))
    assert smi.version() == "AMDSMI Tool: 25.3.0 | ROCm version: 6.4.0"
    stand_in.say("version", "?")
    assert smi.version() is None


def test_a_missing_program_is_said_without_starting_anything(stand_in, monkeypatch):
    monkeypatch.setenv("PATH", os.path.dirname(stand_in.program))
    assert AmdSmi().missing() is None
    monkeypatch.setenv("PATH", "/nowhere")
    assert AmdSmi().missing() == "amd-smi is neither on PATH nor in /opt/rocm/bin"
    with pytest.raises(ToolFailed, match="amd-smi is neither on PATH nor in"):
        AmdSmi().cards()
    assert stand_in.calls() == []


def test_list_for_people():
    told = parse_list_text("GPU: 0\n    BDF: 0000:65:00.0\n    UUID: x\n\nGPU: 1\n    BDF: N/A\n")
    assert [one.address for one in told.values()] == ["0000:65:00.0", None]
