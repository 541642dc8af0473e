"""What AMD's amd-smi prints as JSON, as values; and sizes and addresses as its library says them.

Covers ``list``, ``metric``, ``process`` and ``static`` as JSON, from ROCm 5.7 to 7.2. Formats:
ROCm/amdsmi, amdsmi_cli (amdsmi_commands.py, amdsmi_logger.py). What it calls MB is MiB: the
driver's bytes divided by 1024 * 1024, cut off. Tables for people are in ``amd_smi_text``.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, TypeGuard

import msgspec

from probes.tools import tool
from probes.tools.command import ToolFailed
from probes.tools.tool import MIB, ToolCard, ToolProcess

#: What a driver says in place of a size that it does not know: 32 and 64 bits of ones.
_NO_SIZE = (1 << 32) - 1
_MOST_BYTES = 1 << 50

_UNITS = {"B": 1, "MB": MIB, "MiB": MIB}
_UUID = re.compile(r"GPU-[0-9a-f]{16}")
_NOBODY = ("No running processes detected", "Not Found")


class Identity(msgspec.Struct, frozen=True, kw_only=True):
    """What does not change about a GPU while its driver is loaded. None: not said."""

    address: str | None = None
    uuid: str | None = None
    name: str | None = None
    gfx: str | None = None


def parse_json(text: str) -> list[dict[str, Any]]:
    """One object for each GPU; what has no GPU's number (CPUs) is left out.

    The root is a list (to 6.x), ``{"gpu_data": [...]}`` (7.x), or a lone GPU's object. Lines before
    it are warnings: a group that is missing, Python's own. Raises ToolFailed for everything else.
    """
    root = _root(text)
    if isinstance(root, dict):
        if "error" in root:
            raise ToolFailed(f"amd-smi says: {str(root['error'])[:200]}")
        root = root.get("gpu_data", [root])
    listed = root if isinstance(root, list) else []
    gpus = [one for one in listed if isinstance(one, dict) and _is_number(one.get("gpu"))]
    if not gpus:
        raise ToolFailed("amd-smi lists no GPU")
    if len({one["gpu"] for one in gpus}) != len(gpus):
        raise ToolFailed("amd-smi lists a GPU twice")
    return gpus


def _root(text: str) -> Any:
    """The first whole list or object that begins a line: what is inside of one is indented."""
    seen = "there is none"
    decoder = json.JSONDecoder(object_pairs_hook=_all_pairs)
    for start in re.finditer(r"^[\[{]", text, re.MULTILINE):
        try:
            return decoder.raw_decode(text, start.start())[0]
        except (ValueError, RecursionError) as error:
            seen = str(error)[:100]
    raise ToolFailed(f"amd-smi's JSON cannot be read ({seen}): {text[:200]!r}")


def _all_pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Before 6.2 a second process stood under the same key as the first, which would be lost."""
    if len(dict(pairs)) != len(pairs):
        raise ValueError("a key stands twice in an object")
    return dict(pairs)


def parse_list(text: str) -> dict[int, Identity]:
    """``list --json`` by the tool's number; with ``-e`` it says ``hip_uuid``.

    ``uuid`` is another: the one that ROCR_VISIBLE_DEVICES takes is not in it.
    """
    return {
        one["gpu"]: Identity(
            address=parse_address(one.get("bdf")), uuid=parse_uuid(one.get("hip_uuid"))
        )
        for one in parse_json(text)
    }


def parse_names(text: str) -> dict[int, Identity]:
    """``static -a -b --json``: the market's name or else the board's, and the gfx version.

    The market's name of an unknown card is its device id: 0x744c.
    """
    found: dict[int, Identity] = {}
    for one in parse_json(text):
        asic, board = _inside(one, "asic"), _inside(one, "board")
        names = (parse_name(asic.get("market_name")), parse_name(board.get("product_name")))
        found[one["gpu"]] = Identity(
            name=next((name for name in names if name and not name.startswith("0x")), None),
            gfx=parse_gfx(asic.get("target_graphics_version")),
        )
    return found


def parse_metric(text: str) -> tuple[ToolCard, ...]:
    """``metric -m --json``, or ``monitor -v --json``: memory, by the tool's number."""
    return tuple(_parse_memory(one) for one in parse_json(text))


def _parse_memory(one: Mapping[str, Any]) -> ToolCard:
    sections = (_inside(one, name) for name in ("mem_usage", "vram", "fb_memory_usage"))
    memory = next((section for section in sections if section), one)

    def read(*names: str) -> int | None:
        """The first of *names* that is there; before 6.1 a bare number of MiB."""
        return next((parse_size(memory[name], MIB) for name in names if name in memory), None)

    total = read("total_vram", "vram_total", "total")
    used = read("used_vram", "vram_used", "used")
    return ToolCard(
        index=str(one["gpu"]),
        total_bytes=total,
        used_bytes=used,
        free_bytes=read("free_vram", "vram_free", "free"),
        gtt_total_bytes=read("total_gtt"),
        gtt_used_bytes=read("used_gtt"),
        problem=not_said(one["gpu"]) if total is None or used is None else None,
    )


def not_said(gpu: object) -> str:
    """For people: no memory of the GPU with this number of the tool's."""
    return f"amd-smi does not say the memory of its GPU {gpu}"


def parse_processes(text: str) -> dict[int, tuple[ToolProcess, ...] | None]:
    """``process --json``: each GPU's processes; None where one of them cannot be told."""
    return {one["gpu"]: _parse_processes(one) for one in parse_json(text)}


def _parse_processes(one: Mapping[str, Any]) -> tuple[ToolProcess, ...] | None:
    """Before 6.2: ``values`` for a list, or the one process alone, or each with a number."""
    if isinstance(listed := one.get("process_list", one.get("values")), list):
        found = [_inside(inner, "process_info") or inner for inner in listed]
    else:
        found = [one[key] for key in one if re.fullmatch(r"process_info(_\d+)?", key)]
        if not found:
            return None
    told = [_parse_process(each) for each in found if not _is_nobody(each)]
    return tuple(each for each in told if each is not None) if None not in told else None


def _is_nobody(each: object) -> bool:
    text = each.get("process_info") if isinstance(each, dict) else each
    return text in _NOBODY


def _parse_process(info: object) -> ToolProcess | None:
    if not isinstance(info, dict) or not _is_number(pid := info.get("pid")):
        return None
    memory = _inside(info, "memory_usage")
    return ToolProcess(
        pid=pid,
        held_bytes=held_bytes(
            vram=parse_size(memory.get("vram_mem"), 1),
            others=[parse_size(memory.get(f"{pool}_mem"), 1) for pool in ("gtt", "cpu")],
            whole=parse_size(info.get("mem_usage"), 1),
        ),
        name=parse_name(info.get("name")),
    )


def held_bytes(*, vram: int | None, others: Sequence[int | None], whole: int | None) -> int | None:
    """VRAM that a process holds, of its *vram*, its *others* (pools) and their *whole*.

    *whole* may be 0 while its parts are right (amdsmi#130). Nothing but zeros is said of a process
    that could not be looked into (another user's, another namespace's), so it is None.
    """
    if vram is None:
        return whole or None
    return vram if any((vram, whole, *others)) else None


def without_doubt(cards: Sequence[ToolCard]) -> tuple[ToolCard, ...]:
    """The cards, less the addresses and uuids that two of them share.

    Where the library cannot open the DRM nodes it gives all GPUs one address, and memory as ever.
    """
    addresses = Counter(card.address for card in cards)
    uuids = Counter(card.uuid for card in cards)
    return tuple(
        msgspec.structs.replace(
            card,
            address=card.address if addresses[card.address] == 1 else None,
            uuid=card.uuid if uuids[card.uuid] == 1 else None,
            problem=card.problem or _doubt(card, addresses),
        )
        for card in cards
    )


def _doubt(card: ToolCard, addresses: Mapping[str | None, int]) -> str | None:
    if card.address is None:
        return f"GPU {card.index} has no PCI address"
    shared = addresses[card.address] > 1
    return f"GPU {card.index} shares the PCI address {card.address}" if shared else None


def parse_size(value: object, unit_bytes: int) -> int | None:
    """Bytes of ``{"value": 16368, "unit": "MB"}``, of ``"16368 MB"``, or of a bare number of
    *unit_bytes*. None for N/A, for what is no size, and for a driver's "not known"."""
    number: object = value
    if isinstance(value, dict):
        number, unit_bytes = value.get("value"), _UNITS.get(str(value.get("unit")), 0)
    elif isinstance(value, str):
        words = re.fullmatch(r"([0-9]{1,20}) (B|MB|MiB)", value)
        number, unit_bytes = (int(words[1]), _UNITS[words[2]]) if words else (None, 0)
    if not _is_number(number) or not unit_bytes or number == _NO_SIZE:
        return None
    return number * unit_bytes if number * unit_bytes < _MOST_BYTES else None


def parse_address(value: object) -> str | None:
    """A PCI address as the kernel writes it; None: it is none.

    0000:00:00.0 is the host bridge of every PC; here it is a field that was never filled in.
    """
    address = tool.parse_address(value.strip()) if isinstance(value, str) else None
    return None if address is None or address.endswith(":00:00.0") else address


def parse_uuid(value: object) -> str | None:
    """``GPU-`` and 16 hex digits, as ROCR_VISIBLE_DEVICES takes it; a GPU without one has zeros."""
    if isinstance(value, str) and _UUID.fullmatch(value) and int(value[4:], 16):
        return value
    return None


def parse_gfx(value: object) -> str | None:
    return value if isinstance(value, str) and re.fullmatch(r"gfx[0-9a-f]{3,5}", value) else None


def parse_name(value: object) -> str | None:
    return value if isinstance(value, str) and value not in ("", "N/A") else None


def _is_number(value: object) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _inside(value: object, key: str) -> dict[str, Any]:
    inner = value.get(key) if isinstance(value, dict) else None
    return inner if isinstance(inner, dict) else {}
