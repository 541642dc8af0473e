"""The configuration in force, key by key, without its secrets. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from scheduler.machine.config.loading import Loaded
from scheduler.machine.config.settings import SECTIONS, Described, keys_of


class Value(msgspec.Struct, frozen=True, kw_only=True):
    """One key as it holds. ``value`` is as TOML would have it, without secrets; None: not set,
    and ``unset`` says what holds instead."""

    key: str
    value: Any
    origin: str
    unset: str | None = None


def values_of(loaded: Loaded) -> Iterator[Value]:
    """In the order of docs/config.md. Pure."""
    config = loaded.config
    for section, kind in SECTIONS.items():
        described = list(keys_of(kind))
        there = getattr(config, section)
        if section == "devices":
            tables = [(f'devices."{key}"', table) for key, table in there.items()]
        elif section == "windows":
            tables = [(f"windows.{number}", table) for number, table in enumerate(there, 1)]
        else:
            tables = [(section, there)]
        for name, table in tables:
            for one in described:
                yield _value(name, one, table, loaded.origins)


def _value(name: str, one: Described, table: msgspec.Struct, origins: dict[str, str]) -> Value:
    key = f"{name}.{one.name}"
    value = one.write(getattr(table, one.attribute))
    unset = one.key.unset if value is None else None
    return Value(key=key, value=value, origin=origins[key], unset=unset)
