"""``docs/json.md`` describes what ``--json`` prints: every field of every object, and no other."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from msgspec import inspect

from scheduler.interfaces import doctor, report
from scheduler.interfaces.device_report import DevicesReport
from scheduler.interfaces.forecast import ForecastReport
from scheduler.interfaces.overview import Overview
from scheduler.interfaces.ranges import RangesReport
from scheduler.interfaces.simulate import Simulated
from scheduler.machine.api.answers import Runs
from scheduler.machine.changes import Rollback
from scheduler.machine.chronicle.entries import Entry
from scheduler.study.reading.trials import TrialRow

PAGE = Path(__file__).parents[2] / "docs" / "json.md"
ROOTS = (
    Rollback,
    Overview,
    DevicesReport,
    doctor.Report,
    report.Report,
    Runs,
    Entry,
    TrialRow,
    RangesReport,
    Simulated,
    ForecastReport,
)
#: Where two have the same name, and where an object is put together by the command itself.
NAMES: dict[type, str] = {doctor.Report: "Checkup"}
BY_HAND = {"Rollbacks", "Trials"}


def structs(found: Any, seen: dict[type, inspect.StructType]) -> dict[type, inspect.StructType]:
    """All that can be met inside a type."""
    if isinstance(found, inspect.StructType):
        if found.cls in seen:
            return seen
        seen[found.cls] = found
        inner = [field.type for field in found.fields]
    else:
        inner = [
            part
            for name in ("types", "item_types", "item_type", "key_type", "value_type")
            for part in _listed(getattr(found, name, None))
        ]
    for part in inner:
        structs(part, seen)
    return seen


def _listed(part: Any) -> tuple[Any, ...]:
    return () if part is None else part if isinstance(part, tuple) else (part,)


def all_structs() -> dict[type, inspect.StructType]:
    seen: dict[type, inspect.StructType] = {}
    for root in ROOTS:
        structs(inspect.type_info(root), seen)
    return seen


def parse(text: str) -> dict[str, dict[str, tuple[str, str]]]:
    """By heading, by field: its type and its meaning."""
    sections: dict[str, dict[str, tuple[str, str]]] = {}
    fields: dict[str, tuple[str, str]] = {}
    for line in text.splitlines():
        if line.startswith("### "):
            fields = sections.setdefault(line[4:], {})
        elif row := re.fullmatch(r"\| `(\w+)` \| (.+?) \| (.+?) \|", line):
            assert row[1] not in fields, f"{row[1]} is there twice"
            fields[row[1]] = (row[2], row[3])
    return sections


SECTIONS = parse(PAGE.read_text(encoding="utf-8"))
STRUCTS = all_structs()


def name_of(kind: type) -> str:
    return NAMES.get(kind, kind.__name__)


def own_fields(kind: type) -> Iterator[inspect.Field]:
    """Without those of a struct that it builds on, which has a section of its own."""
    bases = [base for base in kind.__mro__[1:] if base in STRUCTS]
    known = {field.name for base in bases for field in STRUCTS[base].fields}
    return (field for field in STRUCTS[kind].fields if field.name not in known)


@pytest.mark.parametrize("kind", STRUCTS, ids=name_of)
def test_every_field_is_described(kind: type) -> None:
    fields = {field.encode_name for field in own_fields(kind)}
    assert fields == set(SECTIONS.get(name_of(kind), {}))


@pytest.mark.parametrize("kind", STRUCTS, ids=name_of)
def test_where_a_field_can_be_null_it_says_what_that_means(kind: type) -> None:
    for field in own_fields(kind):
        said, meaning = SECTIONS[name_of(kind)][field.encode_name]
        assert said.endswith(" or null") == _can_be_null(field.type), field.name
        assert ("null" in meaning) >= _can_be_null(field.type), field.name


def _can_be_null(found: inspect.Type) -> bool:
    return isinstance(found, inspect.UnionType) and found.includes_none


@pytest.mark.parametrize("kind", STRUCTS, ids=name_of)
def test_the_unit_in_a_name_is_the_unit_in_the_table(kind: type) -> None:
    for field in own_fields(kind):
        said = SECTIONS[name_of(kind)][field.encode_name][0]
        if field.name.endswith("_bytes"):
            assert said.startswith("integer")
        if field.name.endswith(("_s", "_share")):
            assert said.startswith(("number", "list of number"))


def test_nothing_is_described_that_is_not_there() -> None:
    assert set(SECTIONS) == {name_of(kind) for kind in STRUCTS} | BY_HAND


def test_a_missing_field_is_found() -> None:
    class New(msgspec.Struct):
        found: Overview
        more: tuple[int | None, ...]

    assert {New, Overview} <= set(structs(inspect.type_info(New), {}))
    assert parse("### A\n| `b` | integer | it |\n")["A"] == {"b": ("integer", "it")}
