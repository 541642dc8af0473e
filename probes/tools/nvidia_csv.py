"""What nvidia-smi prints with ``--format=csv``: GPUs and processes, in the form of ``tool``.

Format: ``nvidia-smi --help-query-gpu`` and ``--help-query-compute-apps``; a row a GPU or process,
cells between ", ", sizes in MiB; ``[N/A]``, ``[Unknown Error]`` and the like instead of a value.
Errors and warnings stand among the rows, on stdout.

Pure. Its tables for people are not read: their columns change between versions.
"""

from __future__ import annotations

import re

from probes.tools.command import ToolFailed
from probes.tools.tool import ADDRESS, MIB, ToolCard, ToolProcess, parse_address

NAME = "nvidia-smi"

#: Drivers before MIG do not know it; an unknown field fails the whole query.
MIG_MODE = "mig.mode.current"

#: The name is last: it is free text, and may hold a comma.
GPU_COLUMNS: tuple[str, ...] = (
    *("index", "uuid", "pci.bus_id", "memory.total", "memory.used", "memory.free"),
    *(MIG_MODE, "name"),
)
#: process_name is not asked for: a path may hold anything.
APP_COLUMNS: tuple[str, ...] = ("gpu_uuid", "pid", "used_memory")

MIG_ON = "MIG is on: its instances' memory cannot be told by nvidia-smi's CSV"
UNIFIED = "its memory is the machine's RAM"

_FREE_TEXT = frozenset({"name", "process_name"})
_KNOWN = frozenset({*GPU_COLUMNS, *APP_COLUMNS})
_ALIASES = {"used_gpu_memory": "used_memory"}  # asked for by one name, headed by the other

_COLUMN = re.compile(r"([a-z][a-z0-9_.]*)(?: \[.*\])?")
_NUMBER = re.compile(r"[0-9]{1,9}")
_SIZE = re.compile(r"([0-9]{1,9})(?: MiB)?")
_LOST = "Unable to determine the device handle"
_NOISE = ("$ ", "# ", "WARNING")

Row = dict[str, str]


def parse_gpus(text: str, columns: tuple[str, ...] = GPU_COLUMNS) -> tuple[ToolCard, ...]:
    """The GPUs in an answer to ``--query-gpu``, with or without a header, with or without units.

    *columns* were asked for; a header in *text* overrules them. A GPU that the driver has lost is
    a card without sizes and with the problem. Raises ToolFailed where no GPU is listed, or the text
    is cut: its last row could end within a number.
    """
    rows, others = _parse_rows(text, columns)
    cards = [
        _card(row, place)
        for place, row in enumerate(rows)
        if "pid" not in row and _NUMBER.fullmatch(row.get("index", "0"))
    ]
    if not cards:
        raise ToolFailed(f"{NAME} lists no GPU in CSV{it_says(text)}")
    return (*cards, *(card for line in others if (card := _lost(line)) is not None))


def parse_apps(
    text: str, columns: tuple[str, ...] = APP_COLUMNS
) -> dict[str, tuple[ToolProcess, ...]]:
    """Processes by the GPU's UUID, of an answer to ``--query-compute-apps``; "" where not asked.

    A GPU without processes is not in it. Raises ToolFailed for anything but whole rows: a process
    left out here would seem to hold nothing.
    """
    rows, others = _parse_rows(text, columns)
    odd = [row for row in rows if not _is_app(row)]
    if others or odd:
        seen = others[0] if others else ", ".join(odd[0].values())
        raise ToolFailed(f"{NAME} lists a process that cannot be read: {seen[:80]!r}")
    found: dict[str, list[ToolProcess]] = {}
    for row in rows:
        process = ToolProcess(
            pid=int(row["pid"]),
            held_bytes=_size(row.get("used_memory", "")),
            name=row.get("process_name"),
        )
        found.setdefault(row.get("gpu_uuid", ""), []).append(process)
    return {uuid: tuple(processes) for uuid, processes in found.items()}


def _parse_rows(text: str, columns: tuple[str, ...]) -> tuple[list[Row], list[str]]:
    """(rows by column, lines that are neither row nor header nor known noise)."""
    *lines, rest = text.split("\n")
    if rest:
        raise ToolFailed(f"{NAME}'s answer is cut off{it_says(text)}")
    rows: list[Row] = []
    others: list[str] = []
    for line in filter(None, (line.strip() for line in lines)):
        if line.startswith(_NOISE):
            continue
        if header := _parse_header(line):
            columns = header
        elif row := _parse_row(line, columns):
            rows.append(row)
        else:
            others.append(line)
    return rows, others


def _parse_header(line: str) -> tuple[str, ...] | None:
    found = [_COLUMN.fullmatch(cell.strip()) for cell in line.split(",")]
    names = tuple(_ALIASES.get(cell[1], cell[1]) for cell in found if cell)
    return names if len(names) == len(found) and not _KNOWN.isdisjoint(names) else None


def _parse_row(line: str, columns: tuple[str, ...]) -> Row | None:
    """None where the cells are not as many as the columns; commas in the free text are its own."""
    cells = [cell.strip() for cell in line.split(",")]
    over = len(cells) - len(columns)
    at = next((place for place, name in enumerate(columns) if name in _FREE_TEXT), None)
    if over < 0 or (over > 0 and at is None):
        return None
    if at is not None:
        cells[at : at + over + 1] = [", ".join(cells[at : at + over + 1])]
    return dict(zip(columns, cells, strict=True))


def _card(row: Row, place: int) -> ToolCard:
    uuid = row.get("uuid", "")
    return ToolCard(
        index=row.get("index", str(place)),
        address=parse_address(row.get("pci.bus_id", "")),
        name=row.get("name") or None,
        uuid=uuid if uuid.startswith("GPU-") else None,
        total_bytes=_size(row.get("memory.total", "")),
        used_bytes=_size(row.get("memory.used", "")),
        free_bytes=_size(row.get("memory.free", "")),
        problem=_problem(row),
    )


def _problem(row: Row) -> str | None:
    if row.get(MIG_MODE) == "Enabled":
        return MIG_ON
    cells = {name: row.get(name, "missing") for name in ("memory.total", "memory.used")}
    # A GB10 says so of both; a GPU that fails or hides says "[Unknown Error]" and the like.
    if set(cells.values()) <= {"[N/A]", "[Not Supported]", "N/A"}:
        return UNIFIED
    unsaid = [f"{name} is {cell}" for name, cell in cells.items() if _size(cell) is None]
    return f"{NAME}: {', '.join(unsaid)}" if unsaid else None


def _lost(line: str) -> ToolCard | None:
    """A GPU that fell off the bus: newer drivers list the others all the same."""
    found = ADDRESS.search(line) if line.startswith(_LOST) else None
    if found is None:
        return None
    return ToolCard(index="lost", address=parse_address(found[0]), problem=f"{NAME}: {line}")


def _is_app(row: Row) -> bool:
    return (
        _NUMBER.fullmatch(row.get("pid", "")) is not None
        and int(row["pid"]) > 0
        and row.get("gpu_uuid", "GPU-").startswith(("GPU-", "MIG-"))
    )


def _size(cell: str) -> int | None:
    found = _SIZE.fullmatch(cell)
    return int(found[1]) * MIB if found else None


def it_says(text: str) -> str:
    """The first line with a word in it, for people."""
    lines = (line.strip(" |+-=") for line in text.splitlines())
    words = next((line for line in lines if any(map(str.isalpha, line))), "nothing")
    after = "; reboot to load the driver that was installed" if "version mismatch" in words else ""
    return f"; it says: {words[:120]}{after}"
