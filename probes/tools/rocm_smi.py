"""AMD GPUs through ``rocm-smi``: one call for the memory of all of them.

Covers what versions 3 to 7 print as JSON or CSV, and running it. Each call starts a Python that
opens every card, 0.15 s here, and may wake a sleeping one: for machines whose sysfs does not tell.

What it says is judged by its words only. It exits 0 without a driver, without its library and with
every query failed, and 255 beside an integrated GPU although all numbers are right. Its card
numbers are its own: 5.x counts as DRM does, 6.2 and later by PCI address. Formats: rocm_smi.py of
rocm_smi_lib. ``GPU memory use (%)`` is how busy the memory is, not how full; it is not read.

Sizes are said of VRAM and GTT; of processes the VRAM on all GPUs together, so it is asked only
where there is one GPU.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from probes.tools.command import ROCM_FOLDER, ToolFailed, find, missing, run
from probes.tools.tool import ToolCard, ToolProcess, parse_address

NAME = "rocm-smi"


#: It waits 5 s for a lock of its own before it says so.
LIMIT_S = 10.0

#: --showmeminfo takes all words up to the next option, so it stands last.
_MEMORY = ("--showbus", "--showuniqueid", "--showproductname", "--showmeminfo", "vram", "gtt")

#: From here on a list of processes that fails is not asked for any more: a hanging one would make
#: every answer old.
_FAILURES = 3

_PAGE_BYTES = 4096

_TOTAL = "{} Total Memory (B)"
_USED = "{} Total Used Memory (B)"

_UNIQUE_ID = re.compile(r"(?:0x)?([0-9a-f]{1,16})")
_GFX = re.compile(r"gfx[0-9a-f]+")
_HEX = re.compile(r"-?0x[0-9a-f]*", re.IGNORECASE)
_CARD = re.compile(r"card[0-9]+", re.IGNORECASE)
_PID = re.compile(r"PID([0-9]{1,9})", re.IGNORECASE)
_VERSION = re.compile(r"ROCM-SMI(-LIB)? version: *([0-9][^\s|]*)")

_NOTHING = "WARNING: No JSON data to report"
_TROUBLE = re.compile(r"\b(Unable to|Exception|ERROR)\b")

#: What it prints instead of data, and what that means.
_REASONS = {
    "device mutex": "a rocm-smi that was killed has left its lock; "
    "end all rocm-smi, then delete /dev/shm/rocm_smi*",
    "Driver not initialized": "it finds no amdgpu driver",
    "Unable to load the rocm_smi library": "its library is not installed",
    "unrecognized arguments": "this version does not know all options; update ROCm",
    "No AMD GPUs specified": "it finds no AMD GPU",
    _NOTHING: "it finds no AMD GPU",
}

#: Words for people with which it says that a value is not there.
_UNSAID = frozenset({"", "n/a", "none", "unknown", "unsupported", "not supported"})


class RocmSmi:
    """AMD's rocm-smi of this machine. See probes.tools.tool.Tool."""

    name = NAME

    def __init__(self) -> None:
        self._failures = 0

    def missing(self) -> str | None:
        """See probes.tools.tool.Tool."""
        return missing(NAME, ROCM_FOLDER)

    def version(self) -> str | None:
        """See probes.tools.tool.Tool."""
        return parse_version(self._ask("--version")) or parse_version(self._ask("--help"))

    def cards(self) -> tuple[ToolCard, ...]:
        """See probes.tools.tool.Tool."""
        said = run([find(NAME, ROCM_FOLDER), "--json", *_MEMORY], limit_s=LIMIT_S)
        cards = parse_cards(said.stdout, said.stderr)
        if len(cards) != 1:
            return cards
        return (msgspec.structs.replace(cards[0], processes=self._processes()),)

    def _processes(self) -> tuple[ToolProcess, ...] | None:
        """None where it cannot say: 5.2 was seen to crash over a process on a GPU that it does not
        list, and the memory counts all the same."""
        if self._failures >= _FAILURES:
            return None
        try:
            said = run([find(NAME, ROCM_FOLDER), "--json", "--showpids"], limit_s=LIMIT_S)
            processes = parse_processes(said.stdout, said.stderr)
        except ToolFailed:
            self._failures += 1
            return None
        self._failures = 0
        return processes

    def _ask(self, option: str) -> str:
        return run([find(NAME, ROCM_FOLDER), option], limit_s=LIMIT_S).stdout


def parse_cards(stdout: str, stderr: str = "") -> tuple[ToolCard, ...]:
    """The GPUs in what it printed, with --json or --csv; warnings may stand around it.

    Sizes in bytes; one that is not said is None, with a problem for VRAM's. Raises ToolFailed for
    everything else: tables, usage, errors, and output that is cut.
    """
    table = _read_csv(stdout)
    if table is None:
        table = _read_json(stdout, stderr)
    cards = [
        _card(index, values)
        for index, values in table.items()
        if _CARD.fullmatch(index) and isinstance(values, dict)
    ]
    if not cards:
        raise ToolFailed(f"{NAME} lists no GPU, only {_quoted(', '.join(table) or '{}')}")
    ids = Counter(card.uuid for card in cards)
    return tuple(
        # All partitions of one MI300 have one id, so it chooses none of them.
        msgspec.structs.replace(card, uuid=None) if ids[card.uuid] > 1 else card
        for card in cards
    )


def parse_processes(stdout: str, stderr: str = "") -> tuple[ToolProcess, ...]:
    """The processes in what --showpids --json printed; their bytes are of all GPUs together.

    Empty where there is none: then it prints a warning and no JSON. Raises ToolFailed.
    """
    text = f"{stdout}\n{stderr}"
    if "{" not in stdout and _NOTHING in text and not _TROUBLE.search(text):
        return ()
    listed = _read_json(stdout, stderr).get("system")
    if not isinstance(listed, dict):
        raise ToolFailed(f"{NAME} lists no processes: {_quoted(stdout)}")
    return tuple(
        _process(int(found[1]), str(words))
        for name, words in listed.items()
        if (found := _PID.fullmatch(name))
    )


def parse_version(text: str) -> str | None:
    """Of the tool and of its library, from --version or, up to 5.x, from the head of --help."""
    versions = [
        f"library {version}" if library else version for library, version in _VERSION.findall(text)
    ]
    return ", ".join(versions) or None


def _read_json(stdout: str, stderr: str) -> dict[str, Any]:
    """From the first brace to the last, whatever warnings stand before and after."""
    begin, end = stdout.find("{"), stdout.rfind("}")
    if begin < 0:
        raise ToolFailed(_why(stdout, stderr))
    try:
        table = json.loads(stdout[begin : end + 1])
    except (ValueError, RecursionError):
        raise ToolFailed(f"{NAME} printed no whole JSON: {_quoted(stdout[begin:])}") from None
    assert isinstance(table, dict)  # it begins with a brace
    return table


def _read_csv(stdout: str) -> dict[str, dict[str, str]] | None:
    """Rows by their first column; None where there is no header. A row is whole with its newline:
    without it, its last number may be the head of a longer one."""
    lines = _whole_lines(stdout)
    header = next((line for line in lines if line.startswith("device,")), None)
    if header is None:
        return None
    names = header.split(",")
    rows = [line.split(",") for line in lines]
    return {
        row[0]: dict(zip(names[1:], row[1:], strict=True))
        for row in rows
        if len(row) == len(names) and row != names
    }


def _whole_lines(text: str) -> Iterator[str]:
    return (line[:-1].rstrip("\r") for line in text.splitlines(True) if line.endswith("\n"))


def _card(index: str, values: Mapping[str, Any]) -> ToolCard:
    # 4.0 and earlier write "vram Total Memory (B)", 6.1 changed "Card series" to "Card Series".
    said = {name.lower(): str(value).strip() for name, value in values.items()}
    numbers = {
        key: _number(said.get(key.lower()))
        for kind in ("VRAM", "GTT")
        for key in (_TOTAL.format(kind), _USED.format(kind))
    }
    unknown = [
        f"{_quoted(said[key.lower()]) if key.lower() in said else 'nothing'} for {key}"
        for key, number in numbers.items()
        if number is None and key.startswith("VRAM")
    ]
    total, used, gtt_total, gtt_used = numbers.values()
    return ToolCard(
        index=index,
        address=parse_address(said.get("pci bus", "")),
        name=_name(said),
        uuid=_uuid(said.get("unique id", "")),
        total_bytes=total,
        used_bytes=used,
        gtt_total_bytes=gtt_total,
        gtt_used_bytes=gtt_used,
        gfx=gfx if _GFX.fullmatch(gfx := said.get("gfx version", "")) else None,
        problem=_problem(unknown, said) if unknown else None,
    )


def _problem(unknown: list[str], said: Mapping[str, str]) -> str:
    because = ""
    if said.get(_TOTAL.format("VRAM").lower(), "").lower() == "n/a":
        because = "; so it says of all partitions of a GPU (MI300) but the first"
    return f"{NAME} says {' and '.join(unknown)}{because}"


def _number(text: str | None) -> int | None:
    """A size as it prints them: up to 20 digits of 64 bits, nothing else."""
    if text is None or not (text.isascii() and text.isdigit() and len(text) <= 20):
        return None
    return int(text)


def _uuid(text: str) -> str | None:
    found = _UNIQUE_ID.fullmatch(text.lower())
    number = int(found[1], 16) if found else 0
    return f"GPU-{number:016x}" if number else None


def _name(said: Mapping[str, str]) -> str | None:
    """The first that is a name: a card that pci.ids does not know has ids in place of names."""
    for key in ("card series", "device name", "card model"):
        name = said.get(key, "")
        if name.lower() not in _UNSAID and not _HEX.fullmatch(name):
            return name
    return None


def _process(pid: int, words: str) -> ToolProcess:
    """*words*: name, GPUs, VRAM, SDMA, occupancy, split at blanks and joined by commas, so that a
    name with blanks has more of them; what follows the name is counted from the end."""
    parts = words.rsplit(", ", 4)
    name = None if parts[0].lower() in _UNSAID else parts[0]
    held = None
    # A process on two GPUs, where one is listed: the sum is not that one's.
    if len(parts) == 5 and parts[1].lower() in ("0", "1", "unknown"):
        held = _number(parts[2])
    if held is not None and 0 < held < _PAGE_BYTES:
        held = None  # the driver counts pages: this is another column
    return ToolProcess(pid=pid, held_bytes=held, name=name)


def _why(stdout: str, stderr: str) -> str:
    """Why there is no data, as far as its words tell."""
    text = f"{stdout}\n{stderr}"
    for words, meaning in _REASONS.items():
        if words in text:
            line = next(line for line in text.splitlines() if words in line)
            return f"{NAME}: {meaning} (it says {_quoted(line)})"
    if not text.strip():
        return f"{NAME} printed nothing"
    return f"{NAME} printed no data: {_quoted(stdout if stdout.strip() else stderr)}"


def _quoted(text: str, most: int = 120) -> str:
    """One line of it, without its rulers, for a message."""
    shown = " ".join(text.replace("==", "").split())
    return repr(shown if len(shown) <= most else f"{shown[:most]}...")
