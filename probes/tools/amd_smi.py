"""AMD's command amd-smi: asking it, and joining its answers.

What it prints is in ``amd_smi_parse`` and ``amd_smi_text``. Its number of a GPU is neither HIP's
nor the kernel's (on an MI355X node GPU 0 is HIP 1 and GPU 1 is HIP 3), so it joins answers of this
tool only.

Not covered: ``-w``, which is broken in 7.1.1 (amdsmi#168); every answer is a process of its own.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import msgspec

from probes.tools.amd_smi_parse import (
    Identity,
    parse_list,
    parse_metric,
    parse_names,
    parse_processes,
    without_doubt,
)
from probes.tools.amd_smi_text import parse_list_text, parse_monitor, parse_table
from probes.tools.command import ROCM_FOLDER, Said, ToolFailed, find, missing, run
from probes.tools.tool import ToolCard, ToolProcess

#: It is a Python program that usually takes less than 2 s (unsloth's measurement).
LIMIT_S = 10.0

_REFUSALS = ("unrecognized argument", "is invalid", "not recognized")


class AmdSmi:
    """See probes.tools.tool.Tool.

    An answer takes two calls, up to three more the first time, after a failure, and when other
    GPUs are listed than before: what does not change is remembered in between. One caller at a
    time: see probes.tools.command.Shared.
    """

    name = "amd-smi"

    def __init__(self, program: str = "amd-smi", limit_s: float = LIMIT_S) -> None:
        self._program = program
        self._limit_s = limit_s
        self._known: dict[int, Identity] = {}
        self._known_for = frozenset[str]()

    def missing(self) -> str | None:
        """See probes.tools.tool.Tool."""
        return missing(self._program, ROCM_FOLDER)

    def version(self) -> str | None:
        """The tool's, the library's and ROCm's in one line."""
        found = re.search(r"AMD-?SMI Tool:[^\n]*", self._run("version").stdout)
        return " ".join(found[0].split()) if found else None

    def cards(self) -> tuple[ToolCard, ...]:
        """The GPUs, in its own order. Raises ToolFailed."""
        try:
            return self._cards()
        except ToolFailed:
            self._known_for = frozenset()
            raise

    def _cards(self) -> tuple[ToolCard, ...]:
        said = self._run("metric", "-m", "--json")
        try:
            cards = parse_metric(_text(said))
        except ToolFailed:
            if not _refuses_json(said):
                raise
            return self._cards_from_text()
        numbers = frozenset(card.index for card in cards)
        if numbers != self._known_for:
            self._known = self._identities()
            self._known_for = numbers
        return joined(cards, self._known, self._processes())

    def _identities(self) -> dict[int, Identity]:
        try:  # -e came with 6.4
            found = parse_list(_text(self._run("list", "-e", "--json")))
        except ToolFailed:
            found = parse_list(_text(self._run("list", "--json")))
        try:
            names = parse_names(_text(self._run("static", "-a", "-b", "--json")))
        except ToolFailed:  # they are for people only
            names = {}
        return {gpu: _named(one, names.get(gpu, Identity())) for gpu, one in found.items()}

    def _processes(self) -> dict[int, tuple[ToolProcess, ...] | None]:
        try:
            return parse_processes(_text(self._run("process", "--json")))
        except ToolFailed:  # the memory is right all the same
            return {}

    def _cards_from_text(self) -> tuple[ToolCard, ...]:
        try:
            return parse_table(_text(self._run()))
        except ToolFailed:  # before 7.0 it shows its help
            known = parse_list_text(_text(self._run("list")))
            return joined(parse_monitor(_text(self._run("monitor", "-v"))), known, {})

    def _run(self, *arguments: str) -> Said:
        program = find(self._program, ROCM_FOLDER)
        return run([program, *arguments], limit_s=self._limit_s)


def _refuses_json(said: Said) -> bool:
    words = f"{said.stdout}\n{said.stderr}".lower()
    return "--json" in words and any(word in words for word in _REFUSALS)


def _text(said: Said) -> str:
    """What is to be parsed. Raises ToolFailed where there is nothing: no driver gives 255.

    The exit code is no judge: answers with a warning come with another one than 0.
    """
    if said.stdout.strip():
        return said.stdout
    words = " ".join(said.stderr.split())[-200:] or "nothing"
    raise ToolFailed(f"amd-smi ended with {said.exit_code} and said: {words}")


def _named(one: Identity, names: Identity) -> Identity:
    return msgspec.structs.replace(one, name=names.name, gfx=names.gfx)


def joined(
    cards: Sequence[ToolCard],
    known: Mapping[int, Identity],
    processes: Mapping[int, tuple[ToolProcess, ...] | None],
) -> tuple[ToolCard, ...]:
    """The cards with what other calls said of the same numbers."""
    whole: list[ToolCard] = []
    for card in cards:
        number = int(card.index)
        one = known.get(number, Identity())
        whole.append(
            msgspec.structs.replace(
                card,
                address=one.address,
                uuid=one.uuid,
                name=one.name,
                gfx=one.gfx,
                processes=processes.get(number),
            )
        )
    return without_doubt(whole)
